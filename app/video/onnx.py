"""Detectors as ONNX files: `model.onnx` with a `model.json` beside it that says how to feed and to read it.

    {"layout": "yolov8", "input": [640, 640], "person": 0, "score": 0.35, "overlap": 0.5,
     "scale": 0.00392156862745098, "mean": [0, 0, 0], "std": [1, 1, 1], "letterbox": true}

Layouts of the output, for one frame:

* `yolov5` (v5, v6, v7): (1, N, 5 + classes) of cx, cy, w, h in pixels of the input, objectness, class scores
* `yolov8` (v8, v9, v11): (1, 4 + classes, N) of cx, cy, w, h in pixels of the input, class scores
* `yolov10` (and others that suppress by themselves): (1, N, 6) of left, top, right, bottom in pixels, score, class
* `detr` (DETR, RT-DETR and kin): logits (1, N, classes or classes + 1) and boxes (1, N, 4) of cx, cy, w, h in 0..1;
  scores are the logits' sigmoid, or with `"softmax": true` their softmax

An ONNX file is data, not code; what it computes is bounded by the machine alone, so take it from whom you trust.
"""

import json
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import DetectorError, VideoNotInstalledError
from app.video.boxes import Detections, Floats, suppress
from app.video.detection import PersonDetector
from app.video.footage import Frame, Pixels


class DetectorSpec(BaseModel):
    """What the .json says. Pixels go in as (value * scale - mean) / std, RGB, (1, 3, H, W) float32."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Literal["yolov5", "yolov8", "yolov10", "detr"]
    input: tuple[int, int] = (640, 640)
    """Height and width."""
    person: int = Field(default=0, ge=0)
    """Number of the class."""
    score: float = Field(default=0.35, gt=0, lt=1)
    """Least score of a person."""
    overlap: float = Field(default=0.5, gt=0, le=1)
    """Boxes that overlap a surer one by more are left out; `yolov10` and `detr` do that by themselves."""
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    letterbox: bool = True
    """Keep the frame's shape and fill the rest with grey; else stretch it."""
    softmax: bool = False


class OnnxDetector(PersonDetector):
    """People as an ONNX model finds them.

    Raises:
        VideoNotInstalledError: onnxruntime is not installed.
        DetectorError: the file or its description cannot be used.
    """

    def __init__(self, path: Path, *, device: str = "auto") -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise VideoNotInstalledError("ONNX detectors need onnxruntime: install the extra `onnx`") from error
        self.spec = _read_spec(path.with_suffix(".json"))
        self.name = path.stem
        wanted = ["CUDAExecutionProvider"] if device != "cpu" else []
        providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=[*providers, "CPUExecutionProvider"])
        except Exception as error:  # its errors have no common type
            raise DetectorError(f"{path} cannot be loaded: {error}") from error
        self._input = self._session.get_inputs()[0].name

    def detect(self, frame: Frame) -> Detections:
        """See `PersonDetector`.

        Raises:
            DetectorError: the model's output has not the shape of its layout.
        """
        height, width = frame.pixels.shape[:2]
        fed, scale, shift = self._fed(frame.pixels)
        try:
            outputs = [np.asarray(one, np.float64) for one in self._session.run(None, {self._input: fed})]
        except Exception as error:  # its errors have no common type
            raise DetectorError(f"the detector {self.name} fails: {error}") from error
        boxes, scores = self._read(outputs)
        sure = scores >= self.spec.score
        boxes = (boxes[sure] - np.tile(shift, 2)) / np.tile(scale, 2)
        found = Detections.of([tuple(row) for row in boxes.tolist()], scores[sure].tolist())
        return suppress(found, self.spec.overlap).clipped(width, height)

    def _fed(self, pixels: Pixels) -> tuple[NDArray[np.float32], Floats, Floats]:
        """The network's input, and by which factor (x, y) and shift (x, y) frame pixels became its pixels."""
        rows, columns = self.spec.input
        height, width = pixels.shape[:2]
        factor = np.array([columns / width, rows / height])
        if self.spec.letterbox:
            factor = np.full(2, factor.min())
        size = (max(1, round(width * factor[0])), max(1, round(height * factor[1])))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
        shift = np.array([(columns - size[0]) // 2, (rows - size[1]) // 2], np.float64)
        canvas = np.full((rows, columns, 3), 114, np.uint8)
        canvas[int(shift[1]) : int(shift[1]) + size[1], int(shift[0]) : int(shift[0]) + size[0]] = small
        values = (canvas.astype(np.float32) * self.spec.scale - self.spec.mean) / self.spec.std
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32), factor, shift

    def _read(self, outputs: list[Floats]) -> tuple[Floats, Floats]:
        """Boxes (N, 4) left, top, right, bottom in input pixels, and scores (N,)."""
        person, layout = self.spec.person, self.spec.layout
        try:
            if layout == "detr":
                logits, boxes = sorted((one[0] for one in outputs[:2]), key=lambda one: bool(one.shape[-1] == 4))
                rows, columns = self.spec.input
                scores = _probabilities(logits, softmax=self.spec.softmax)[:, person]
                return _corners(boxes * [columns, rows, columns, rows]), scores
            table = outputs[0][0]
            if layout == "yolov10":
                return table[:, :4], np.where(table[:, 5] == person, table[:, 4], 0.0)
            if layout == "yolov8":
                return _corners(table[:4].T), table[4 + person]
            return _corners(table[:, :4]), table[:, 4] * table[:, 5 + person]
        except (IndexError, ValueError) as error:
            shapes = ", ".join(str(one.shape) for one in outputs)
            raise DetectorError(f"the detector {self.name} gives {shapes}, which is not {layout}: {error}") from error


def _read_spec(path: Path) -> DetectorSpec:
    try:
        value: Any = json.loads(path.read_text())
        return DetectorSpec.model_validate(value)
    except OSError as error:
        raise DetectorError(f"{path}, which must describe the detector, cannot be read: {error.strerror}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise DetectorError(f"{path} does not describe a detector: {wrong}") from None
    except ValueError as error:
        raise DetectorError(f"{path} is no JSON: {error}") from None


def _corners(boxes: Floats) -> Floats:
    found: Floats = np.concatenate([boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2], axis=1)
    return found


def _probabilities(logits: Floats, *, softmax: bool) -> Floats:
    if not softmax:
        found: Floats = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
        return found
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return shares
