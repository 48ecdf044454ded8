"""An encoder as two ONNX files, and ONNX Runtime to run them."""

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.embedding.runtimes.graphs import (
    IMAGE_INPUT,
    TEXT_INPUT,
    ImageGraph,
    TextGraph,
    example_ids,
    example_pixels,
    recording,
)
from models.encoder import EncoderSpec, PersonEncoder, Space
from models.truncation import cut_texts

_TEXT, _IMAGE = "text.onnx", "image.onnx"


def write_onnx(encoder: PersonEncoder, folder: Path) -> None:
    """Export both towers, with any batch and any length of text."""
    ids, pixels = example_ids(encoder), example_pixels(encoder)
    for talkative in ("onnxscript", "onnx_ir"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    batch = torch.export.Dim("batch", min=1, max=65536)
    length = torch.export.Dim("length", min=1, max=encoder.spec.tokenizer.length)
    with recording():
        torch.onnx.export(
            TextGraph(encoder).eval(),
            (ids,),
            folder / _TEXT,
            input_names=[TEXT_INPUT],
            dynamic_shapes=({0: batch, 1: length},),
            dynamo=True,
            verbose=False,
        )
        torch.onnx.export(
            ImageGraph(encoder).eval(),
            (pixels,),
            folder / _IMAGE,
            input_names=[IMAGE_INPUT],
            dynamic_shapes=({0: batch},),
            dynamo=True,
            verbose=False,
        )


class OnnxRuntime:
    """Both towers in ONNX Runtime, in float32. With one thread a pass runs on the calling thread."""

    def __init__(self, folder: Path, spec: EncoderSpec) -> None:
        self._spec = spec
        self._text, self._image = _Tower(folder / _TEXT), _Tower(folder / _IMAGE)

    def encode_text(self, ids: Tensor) -> Tensor:
        (found,) = self._text.run({TEXT_INPUT: cut_texts(ids, self._spec.tokenizer).numpy()})
        return torch.from_numpy(found)

    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        found = self._image.run({IMAGE_INPUT: pixels.numpy()})
        return {
            space: torch.from_numpy(vectors) for space, vectors in zip(self._spec.stored_spaces, found, strict=True)
        }


class _Tower:
    """A file, in a session for each number of threads that callers have: its threads belong to a session."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sessions: dict[int, Any] = {}
        self._opening = threading.Lock()

    def run(self, inputs: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        threads = torch.get_num_threads()
        session = self._sessions.get(threads) or self._open(threads)
        found: list[np.ndarray[Any, Any]] = session.run(None, inputs)
        return found

    def _open(self, threads: int) -> Any:  # noqa: ANN401  the library ships no types
        import onnxruntime

        with self._opening:
            if threads not in self._sessions:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
                # Threads that spin between two passes take the cores from whoever works meanwhile.
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                options.log_severity_level = 3
                self._sessions[threads] = onnxruntime.InferenceSession(
                    self._path, options, providers=["CPUExecutionProvider"]
                )
            return self._sessions[threads]
