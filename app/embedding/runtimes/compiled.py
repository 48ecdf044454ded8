"""PyTorch's compiler at fixed shapes (`buckets`), all of them compiled and compared before the first query.

A graph is recorded with torch.export, in whose way no method of ours stands, and compiled with torch.compile for one
shape alone. Nothing is compiled afterwards: what would need it is an error, as no query may wait for minutes.

What is generated lies in a folder of this process alone, and goes when the warm-up ends. torch's own caches stay empty:
they are pickles, and programs under names that can be guessed, in a folder that somebody else may have made.

On a GPU there are no CUDA graphs (`mode="reduce-overhead"`): those of torch.compile belong to the thread that recorded
them, and many threads call an encoder.
"""

import importlib
import logging
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind

from app.embedding.runtime import PyTorch, TorchRuntime
from app.embedding.runtimes.buckets import Buckets, buckets_of, least_filled, next_length, padded, passes
from app.embedding.runtimes.exports import brief
from app.embedding.runtimes.graphs import ImageGraph, TextGraph, recording
from app.embedding.runtimes.half import halved
from app.embedding.runtimes.parity import LEAST_COSINE, TEXTS, cosine_of, known_ids, pictures
from app.errors import RuntimeRefusedError
from app.lanes import cores
from models.encoder import PersonEncoder, Space
from models.truncation import cut_texts

_log = logging.getLogger(__name__)
_WARMING = threading.Lock()
"""One warm-up at a time: where the compiler writes is said by variables of the process."""


class CompiledRuntime(PyTorch):
    """An encoder in float32, or in half precision as `half` makes it, compiled at fixed shapes.

    Args:
        dtype: of matrix products and convolutions.
        buckets: the shapes; None takes those that a service needs (`buckets_of`).

    Raises:
        RuntimeRefusedError: the network cannot be compiled, or what was compiled gives other vectors.
    """

    def __init__(self, encoder: PersonEncoder, dtype: torch.dtype, buckets: Buckets | None = None) -> None:
        super().__init__(encoder if dtype == torch.float32 else halved(encoder, dtype))
        self._dtype = dtype
        self.buckets = buckets or buckets_of(encoder, self._device)
        self._filled = least_filled(self._device)
        self._made: dict[tuple[int, ...], _Compiled] = {}
        with _WARMING, _private_folder():
            self._warm_up(encoder)

    def _warm_up(self, exact: PersonEncoder) -> None:
        reference, began = TorchRuntime(exact), time.monotonic()
        _log.info("compiling %d shapes of the encoder; that may take minutes", self.buckets.shapes)
        for length in self.buckets.lengths:
            for rows in self.buckets.texts:
                ids = padded(_texts(exact, rows, length), (rows, length))
                self._make(TextGraph(self._encoder), ids, [reference.encode_text(ids)])
        for rows in self.buckets.pictures:
            pixels = pictures(exact, rows)
            self._make(ImageGraph(self._encoder), pixels, list(reference.encode_image(pixels).values()))
        _log.info("compiled %d shapes in %.0f s", len(self._made), time.monotonic() - began)

    def _make(self, graph: nn.Module, example: Tensor, expected: list[Tensor]) -> None:
        """Compile a graph for the shape of an example, and compare what it gives."""
        shape, began = tuple(example.shape), time.monotonic()
        named = " x ".join(map(str, shape))
        try:
            self._made[shape] = _Compiled(graph.eval(), example.to(self._device), self._dtype)
        except MemoryError:
            raise
        except Exception as error:
            raise RuntimeRefusedError(
                f"{self._encoder.spec.method} on {self._encoder.spec.backbone} cannot be compiled for {named} "
                f"({type(error).__name__}: {brief(error)}); use another DESCRY_RUNTIME"
            ) from error
        cosine = min(map(cosine_of, self._made[shape](example), expected))
        if cosine < LEAST_COSINE:
            raise RuntimeRefusedError(
                f"compiled for {named}, this checkpoint gives vectors whose cosine with the exact ones is down to "
                f"{cosine:.6f}, less than {LEAST_COSINE}: it is not used. Take another DESCRY_RUNTIME"
            )
        _log.info(
            "compiled %s in %.1f s (%d of %d)", named, time.monotonic() - began, len(self._made), self.buckets.shapes
        )

    def _texts(self, ids: Tensor) -> Tensor:
        cut = cut_texts(ids, self._encoder.spec.tokenizer)
        length = next_length(cut.shape[1], self.buckets.lengths)
        (found,) = self._run(cut, self.buckets.texts, (length,))
        return found

    def _pictures(self, pixels: Tensor) -> dict[Space, Tensor]:
        found = self._run(pixels, self.buckets.pictures, pixels.shape[1:])
        return dict(zip(self._encoder.spec.stored_spaces, found, strict=True))

    def _run(self, batch: Tensor, sizes: tuple[int, ...], row: tuple[int, ...]) -> list[Tensor]:
        """A batch in passes of compiled sizes, whose rows have the shape `row`: each output (B, dim) float32."""
        parts: list[list[Tensor]] = []
        start = 0
        for rows, size in passes(len(batch), sizes, filled=self._filled):
            found = self._made[(size, *row)](batch[start : start + rows])
            parts.append([vectors[:rows] for vectors in found])
            start += rows
        return [torch.cat(vectors) for vectors in zip(*parts, strict=True)]


class _Compiled:
    """A graph for one shape. Threads may call it at once.

    What is compiled holds for the state of the thread that calls: gradients, autocast, number of threads. So each call
    sets them. The weights are handed over with each call: torch keeps what it has compiled for as long as the process
    lives, and would keep those of a version that is gone.
    """

    def __init__(self, graph: nn.Module, example: Tensor, dtype: torch.dtype) -> None:
        self._shape, self._device, self._dtype = tuple(example.shape), example.device, dtype
        compiler = _Compiler(self._shape)
        with self._state():
            with recording():
                recorded = torch.export.export(graph, (example,), strict=False)
            self._weights = _weights_of(recorded)
            compiled: Any = torch.compile(recorded.graph_module, fullgraph=True, dynamic=False, backend=compiler)
            self._graph: Callable[..., tuple[Tensor, ...]] = compiled
            with _without_caches():
                self._run(example)
        compiler.closed = True

    def __call__(self, rows: Tensor) -> list[Tensor]:
        """Rows on the CPU, no more than the shape has: each output for all of its rows, (B, dim) float32 on the CPU."""
        with self._state():
            found = self._run(padded(rows, self._shape).to(self._device))
            return [vectors.float().cpu() for vectors in found]

    def _run(self, rows: Tensor) -> tuple[Tensor, ...]:
        return self._graph(*(rows if weight is None else weight for weight in self._weights))

    def _half(self) -> AbstractContextManager[None]:
        return torch.autocast(self._device.type, dtype=self._dtype, cache_enabled=False)

    @contextmanager
    def _state(self) -> Iterator[None]:
        threads = torch.get_num_threads()
        half = nullcontext() if self._dtype == torch.float32 else self._half()
        torch.set_num_threads(1)
        try:
            with torch.inference_mode(False), torch.no_grad(), half:
                yield
        finally:
            torch.set_num_threads(threads)


class _Compiler:
    """What torch.compile calls to compile a graph; once."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape, self.closed = shape, False

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        if self.closed:
            raise RuntimeError(f"a graph was compiled for {self._shape} and would be compiled anew")
        inductor: Any = importlib.import_module("torch._inductor")
        made: Callable[..., Any] = inductor.compile(graph, inputs, options=_options(inputs))
        return made


def _weights_of(program: torch.export.ExportedProgram) -> tuple[Tensor | None, ...]:
    """What a recorded graph takes, in order: weights, constants, and None where the rows go."""
    signature = program.graph_signature
    tensors: dict[str, Any] = {**program.constants, **program.state_dict}
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        raise ValueError("it changes its weights or what it is given")
    return tuple(
        None if one.kind is InputKind.USER_INPUT else tensors[str(one.target)] for one in signature.input_specs
    )


def _options(inputs: list[Any]) -> dict[str, Any]:
    if any(isinstance(one, Tensor) and one.device.type != "cpu" for one in inputs):
        return {}
    return {
        "cpp.threads": 1,  # of a pass: see `spreading`
        "compile_threads": cores(),  # of g++
        "cpp_cache_precompile_headers": shutil.which("openssl") is not None,  # torch calls it for a checksum
    }


@contextmanager
def _without_caches() -> Iterator[None]:
    """While torch reads and writes none of its pickles; it warns of that, and of a GPU that is not there."""
    told = logging.getLogger("torch.utils.cpp_extension")
    level = told.level
    config: Any = torch.compiler.config
    with config.patch(force_disable_caches=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*force disabled")
        told.setLevel(logging.ERROR)
        try:
            yield
        finally:
            told.setLevel(level)


@contextmanager
def _private_folder() -> Iterator[None]:
    """Where the compiler writes: a folder that this user alone can read, and which is removed.

    Headers are compiled once, for a third of the time; torch would keep them in a folder of all its processes.
    """
    codecache: Any = importlib.import_module("torch._inductor.codecache")
    from torch._inductor.utils import fresh_cache

    theirs = codecache._HEADER_DIR, codecache._HEADER_LOCK_DIR
    with tempfile.TemporaryDirectory(prefix="descry-compile-") as folder, fresh_cache(dir=folder):
        codecache._HEADER_DIR, codecache._HEADER_LOCK_DIR = f"{folder}/headers", f"{folder}/headers/locks"
        codecache._precompile_header.cache_clear()
        try:
            yield
        finally:
            codecache._HEADER_DIR, codecache._HEADER_LOCK_DIR = theirs
            codecache._precompile_header.cache_clear()


def _texts(encoder: PersonEncoder, rows: int, length: int) -> Tensor:
    """Ids (`rows`, L <= `length`) int64 of the probes that fit into a length, the longest first."""
    tokenizer = encoder.spec.tokenizer
    each = [cut_texts(ids[None], tokenizer) for ids in known_ids(encoder, TEXTS)]
    fitting = [ids for ids in each if ids.shape[1] <= length] or [ids[:, :length] for ids in each]
    fitting.sort(key=lambda ids: -ids.shape[1])
    chosen = [fitting[place % len(fitting)] for place in range(rows)]
    return torch.cat([padded(ids, (1, chosen[0].shape[1])) for ids in chosen])
