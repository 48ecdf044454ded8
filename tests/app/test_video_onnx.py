"""Detectors as ONNX files, with tiny models that are built here: each layout is read, what does not fit is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from app.errors import DetectorError
from app.video.footage import Frame
from app.video.onnx import OnnxDetector

ROWS, COLUMNS = 64, 64


def model(path: Path, outputs: dict[str, NDArray[np.float32]], **spec: Any) -> Path:  # noqa: ANN401  JSON
    """A network that answers the same whatever it sees: the mean of the input times zero is added."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    nodes += [helper.make_node("Add", [f"{name}_", "nothing"], [name]) for name in outputs]
    values = [numpy_helper.from_array(value.astype(np.float32), f"{name}_") for name, value in outputs.items()]
    values.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, ROWS, COLUMNS])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in outputs.items()],
        values,
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(built, str(path))
    path.with_suffix(".json").write_text(json.dumps({"input": [ROWS, COLUMNS], **spec}))
    return path


def frame(height: int = 120, width: int = 240) -> Frame:
    return Frame(0.0, 0, np.full((height, width, 3), 90, np.uint8))


# One person in the middle of the input, a worse copy of it, and a car; 240 x 120 fits 64 x 64 as 64 x 32, 16 rows down.
CX, CY, W, H = 32.0, 32.0, 8.0, 16.0
WANTED = (32 * 3.75 - 15, 60 - 30, 32 * 3.75 + 15, 60 + 30)
PEOPLE = [(CX, CY, W, H), (CX + 1, CY, W, H), (10.0, 32.0, 8.0, 8.0)]
CLASSES = [(0.1, 0.9), (0.05, 0.8), (0.95, 0.1)]


def yolov5() -> dict[str, NDArray[np.float32]]:
    return {"out": np.array([[(*box, 1.0, *scores) for box, scores in zip(PEOPLE, CLASSES, strict=True)]], np.float32)}


def yolov8() -> dict[str, NDArray[np.float32]]:
    rows = np.array([(*box, *scores) for box, scores in zip(PEOPLE, CLASSES, strict=True)], np.float32)
    return {"out": rows.T[None]}


def yolov10() -> dict[str, NDArray[np.float32]]:
    corners = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in PEOPLE]
    rows = [(*corners[0], 0.9, 1.0), (*corners[2], 0.95, 0.0)]
    return {"out": np.array([rows], np.float32)}


def detr() -> dict[str, NDArray[np.float32]]:
    boxes = np.array([[(x / 64, y / 64, w / 64, h / 64) for x, y, w, h in PEOPLE]], np.float32)
    scores = np.clip(np.array([CLASSES]), 1e-3, 0.999)
    return {"logits": np.log(scores / (1 - scores)), "boxes": boxes}


@pytest.mark.parametrize("layout", [yolov5, yolov8, yolov10, detr], ids=lambda make: make.__name__)
def test_each_layout_is_read(tmp_path: Path, layout: Any) -> None:  # noqa: ANN401
    path = model(tmp_path / "d.onnx", layout(), layout=layout.__name__, person=1, score=0.5)
    found = OnnxDetector(path, device="cpu").detect(frame())
    assert found.boxes == pytest.approx(np.array([WANTED]), abs=0.5)
    assert found.scores == pytest.approx(np.array([0.9]), abs=1e-3)


def test_a_stretched_input_is_turned_back_too(tmp_path: Path) -> None:
    path = model(tmp_path / "d.onnx", yolov8(), layout="yolov8", person=1, letterbox=False)
    found = OnnxDetector(path, device="cpu").detect(frame())
    assert found.boxes == pytest.approx(np.array([(105.0, 45.0, 135.0, 75.0)]), abs=0.5)


def test_softmax_scores(tmp_path: Path) -> None:
    outputs = detr() | {"logits": np.array([[(0.0, 4.0, 0.0), (0.0, 0.0, 4.0), (0.0, 0.0, 4.0)]], np.float32)}
    path = model(tmp_path / "d.onnx", outputs, layout="detr", person=1, softmax=True)
    assert OnnxDetector(path, device="cpu").detect(frame()).scores == pytest.approx(
        np.array([np.exp(4) / (np.exp(4) + 2)]), abs=1e-5
    )


@pytest.mark.parametrize(
    ("spec", "told"),
    [({"layout": "yolov9000"}, "layout"), ({}, "layout"), ({"layout": "yolov8", "scor": 0.5}, "scor"),
     ({"layout": "yolov8", "score": 2}, "score")],
)  # fmt: skip
def test_a_description_that_does_not_fit_is_told(tmp_path: Path, spec: dict[str, Any], told: str) -> None:
    with pytest.raises(DetectorError, match=told):
        OnnxDetector(model(tmp_path / "d.onnx", yolov8(), **spec))


def test_other_files_and_other_outputs_are_told(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(DetectorError, match="cannot be read"):
        OnnxDetector(tmp_path / "text.onnx")
    (tmp_path / "text.json").write_text('{"layout": "yolov8"}')
    with pytest.raises(DetectorError, match="cannot be loaded"):
        OnnxDetector(tmp_path / "text.onnx")
    path = model(tmp_path / "d.onnx", yolov8(), layout="yolov8", person=7)
    with pytest.raises(DetectorError, match="not yolov8"):
        OnnxDetector(path, device="cpu").detect(frame())
    path = model(tmp_path / "e.onnx", yolov8(), layout="yolov8", input=[32, 32])
    with pytest.raises(DetectorError, match="fails"):
        OnnxDetector(path, device="cpu").detect(frame())
