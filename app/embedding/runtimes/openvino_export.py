"""An encoder in OpenVINO's own format, and OpenVINO to run it."""

import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from app.embedding.runtimes.graphs import ImageGraph, TextGraph, example_ids, example_pixels, recording
from app.lanes import cores
from models.encoder import EncoderSpec, PersonEncoder, Space
from models.truncation import cut_texts

_TEXT, _IMAGE = "text.xml", "image.xml"
_ANY = -1


def load_openvino() -> Any:  # noqa: ANN401  the library ships no types
    """The library, without its telemetry.

    `import openvino` would tell Google Analytics of itself, unless the user has said no in a file in his home. Without
    that package, which it names as a dependency, it uses a stub of its own.
    """
    if "openvino" not in sys.modules:
        cast("dict[str, object]", sys.modules)["openvino_telemetry"] = None  # an import of it fails from now on
    import openvino

    return openvino


def write_openvino(encoder: PersonEncoder, folder: Path) -> None:
    """Export both towers in float32, with any batch and any length of text; the precision is chosen when they run."""
    pixels = example_pixels(encoder)
    with recording():
        _write(TextGraph(encoder), example_ids(encoder), [_ANY, _ANY], folder / _TEXT)
        _write(ImageGraph(encoder), pixels, [_ANY, *pixels.shape[1:]], folder / _IMAGE)


def _write(graph: nn.Module, example: Tensor, shape: list[int], path: Path) -> None:
    openvino = load_openvino()
    trace: Any = torch.jit.trace
    recorded = trace(graph.eval(), (example,), check_trace=False)
    model = openvino.convert_model(recorded, example_input=(example,), input=[openvino.PartialShape(shape)])
    openvino.save_model(model, path, compress_to_fp16=False)


class OpenVinoRuntime:
    """Both towers in OpenVINO.

    Args:
        folder: what `write_openvino` made.
        precision: "f32" or "bf16", of the products; on processors that have it.
    """

    def __init__(self, folder: Path, spec: EncoderSpec, precision: str) -> None:
        self._spec = spec
        self._text, self._image = _Tower(folder / _TEXT, precision), _Tower(folder / _IMAGE, precision)

    def encode_text(self, ids: Tensor) -> Tensor:
        (found,) = self._text.run(np.ascontiguousarray(cut_texts(ids, self._spec.tokenizer).numpy()))
        return torch.from_numpy(found)

    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        found = self._image.run(np.ascontiguousarray(pixels.numpy()))
        return {
            space: torch.from_numpy(vectors) for space, vectors in zip(self._spec.stored_spaces, found, strict=True)
        }


class _Tower:
    """A model, compiled for each number of threads that callers have.

    Callers with one thread share a compilation with a stream of one thread for each core; others get one stream of as
    many threads. OpenVINO has threads of its own, which sleep between two passes; the caller waits.
    """

    def __init__(self, path: Path, precision: str) -> None:
        self._path, self._precision = path, precision
        self._compiled: dict[int, tuple[Any, SimpleQueue[Any]]] = {}
        self._opening = threading.Lock()

    def run(self, batch: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        threads = torch.get_num_threads()
        compiled, idle = self._compiled.get(threads) or self._compile(threads)
        try:
            request = idle.get_nowait()
        except Empty:
            request = compiled.create_infer_request()
        request.infer([batch])
        found = [request.get_output_tensor(place).data.copy() for place in range(len(compiled.outputs))]
        idle.put(request)  # not where it failed: the next one gets another
        return found

    def _compile(self, threads: int) -> tuple[Any, "SimpleQueue[Any]"]:
        with self._opening:
            if threads not in self._compiled:
                streams = cores() if threads == 1 else 1
                compiled = (
                    load_openvino()
                    .Core()
                    .compile_model(
                        self._path,
                        "CPU",
                        {
                            "INFERENCE_PRECISION_HINT": self._precision,
                            "INFERENCE_NUM_THREADS": max(threads, streams),
                            "NUM_STREAMS": streams,
                            "ENABLE_CPU_PINNING": False,  # other threads of ours would be left with the other cores
                        },
                    )
                )
                self._compiled[threads] = (compiled, SimpleQueue())
            return self._compiled[threads]
