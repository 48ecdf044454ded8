"""The names of the runtimes. A file of its own: settings are read before PyTorch is wanted."""

from typing import Literal

RuntimeName = Literal[
    "torch-fp32",
    "torch-bf16",
    "torch-fp16",
    "torch-compile-fp32",
    "torch-compile-bf16",
    "onnx-fp32",
    "openvino-fp32",
    "openvino-bf16",
]
