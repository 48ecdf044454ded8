"""What runs an encoder: PyTorch in several precisions, ONNX Runtime, OpenVINO; and how one of them is chosen."""
