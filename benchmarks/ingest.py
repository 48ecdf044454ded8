"""Images a second of a whole ingest (hash, decode, store twice, encode, commit), and of encoding the stored pictures
for another version, against the encoder alone on pixels that lie in memory."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from app.allocator import keep_between_batches
from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.embedding.service import EncoderService
from app.gallery.ingest import Ingest
from app.gallery.sources import open_source
from app.settings import Settings
from benchmarks.figures import Figure
from models.checkpoint import DEMO, load_checkpoint, save_checkpoint
from models.clip_baseline import ClipBaseline, open_clip_spec
from models.encoder import PersonEncoder
from models.registry import build

_BATCH = 64
_CORES = len(os.sched_getaffinity(0))
_SHARE = 0.05
"""Part of the encoder's processor time that all else may take, for an ingest at 0.95 of the encoder."""


@dataclass(slots=True)
class _Spent:
    """Processor seconds of calls, each in the thread that called."""

    seconds: float = 0.0


def measure_ingest(gallery: Path, data_dir: Path, backbone: str | None = None) -> list[Figure]:
    """Encode the gallery's images with the encoder alone; ingest them; encode what is stored for a second version.

    With a backbone of open_clip (random weights) instead of the demo's: take a small gallery.
    """
    first, second = (
        _checkpoint(backbone, data_dir.with_name(f"{data_dir.name}-model-{seed}"), seed) for seed in (0, 1)
    )
    keep_between_batches()  # as the worker does
    with opened(Settings(data_dir=data_dir)) as core:
        version = register_checkpoint(core, first, "first").id
        activate_version(core, version)
        core.active.follow()  # from here on one encoder, which is warm when the ingest begins
        _, _, encoder = core.active.load_encoder(version)
        files = sorted((gallery / "images").rglob("*.jpg"))
        alone = _alone(encoder, [_read(encoder.encoder, path) for path in files])
        ingest = core.ingest()
        with _watched() as spent:
            figures = _against("ingest", alone, len(files), spent, lambda: _ingest(ingest, gallery))
        other = register_checkpoint(core, second, "second").id
        _, _, encoder = core.active.load_encoder(other)
        with _watched() as spent:
            encode = lambda: core.activation.encode_missing(other, encoder)  # noqa: E731
            figures += _against("encoding of what is stored", alone, len(files), spent, encode)
        if (missing := core.activation.missing(other) + core.activation.missing(version)) > 0:
            raise RuntimeError(f"{missing} of {len(files)} images were left out")
    return figures


def _ingest(ingest: Ingest, gallery: Path) -> None:
    for outcome in ingest.run(open_source(gallery)):
        if outcome.status != "ingested":
            raise RuntimeError(f"{outcome.name} was to be ingested and is {outcome.status}: {outcome.message}")


def _against(name: str, alone: float, images: int, spent: _Spent, work: Callable[[], Any]) -> list[Figure]:
    began, busy = time.perf_counter(), time.process_time()
    work()
    took, busy = time.perf_counter() - began, time.process_time() - busy
    rest, encode = (1e3 * seconds / images for seconds in (busy - spent.seconds, spent.seconds))
    return [
        Figure(f"{name}: rate", images / took, "images/s", alone, "encoder, pixels in memory"),
        Figure(f"{name}: processor time but for encoding", rest, "ms/image", _SHARE * encode, "5 % of the encoder's"),
    ]


def _alone(encoder: EncoderService, pixels: Sequence[Tensor]) -> float:
    """Images a second of the service's encoder, the faster of two ways: all at once, or a batch on each core."""
    size = encoder.batch_size
    parts = [pixels[start : start + size] for start in range(0, len(pixels), size)]
    encoder.encode_here(parts[0])  # the first pass is slower

    def pooled() -> None:
        with ThreadPoolExecutor(_CORES if encoder.device.type == "cpu" else 1) as pool:
            list(pool.map(encoder.encode_here, parts))

    return max(_timed(len(pixels), work) for work in (pooled, lambda: encoder.encode_images(pixels)))


def _timed(images: int, work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return images / (time.perf_counter() - began)


@contextmanager
def _watched() -> Iterator[_Spent]:
    """Sum up the processor time of `EncoderService.encode_here` for the length of a block."""
    spent, lock, original = _Spent(), threading.Lock(), EncoderService.encode_here

    def encode_here(self: EncoderService, pixels: Sequence[Tensor]) -> Any:  # noqa: ANN401  as the original
        began = time.thread_time()
        found = original(self, pixels)
        with lock:
            spent.seconds += time.thread_time() - began
        return found

    EncoderService.encode_here = encode_here  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        EncoderService.encode_here = original  # type: ignore[method-assign]


def _checkpoint(backbone: str | None, folder: Path, seed: int) -> Path:
    """The demo's checkpoint, or another one of its kind; with a backbone one of open_clip with random weights."""
    if backbone is None and seed == 0:
        return DEMO
    torch.manual_seed(seed)
    if backbone is None:
        encoder = build(load_checkpoint(DEMO).spec).eval()
    else:
        encoder = ClipBaseline(open_clip_spec(backbone, height=384, width=128)).eval()
    save_checkpoint(encoder, folder, card="Random weights, for measuring speed.")
    return folder


def bare_rates(encoder: PersonEncoder, files: list[Path]) -> tuple[float, float]:
    """Images a second of a network without the service, pixels in memory and from files; each in the faster of two
    ways: one batch on all cores, or one batch a core."""
    pixels = [_read(encoder, path) for path in files]
    parts = [slice(start, start + _BATCH) for start in range(0, len(files), _BATCH)]

    def from_memory(part: slice) -> None:
        _encode(encoder, pixels[part])

    def from_disk(part: slice) -> None:
        _encode(encoder, [_read(encoder, path) for path in files[part]])

    from_memory(parts[0])
    rates = [
        max(_rate(work, parts, len(files), pooled=pooled) for pooled in (False, True))
        for work in (from_memory, from_disk)
    ]
    return rates[0], rates[1]


def _rate(work: Callable[[slice], None], parts: Iterable[slice], images: int, *, pooled: bool) -> float:
    def alone(part: slice) -> None:
        torch.set_num_threads(1)  # of this pool's thread only
        work(part)

    began = time.perf_counter()
    if pooled:
        with ThreadPoolExecutor(_CORES) as pool:
            list(pool.map(alone, parts))
    else:
        for part in parts:
            work(part)
    return images / (time.perf_counter() - began)


def _read(encoder: PersonEncoder, path: Path) -> Tensor:
    with Image.open(path) as image:
        return encoder.preprocess(image)


@torch.inference_mode()
def _encode(encoder: PersonEncoder, pixels: list[Tensor]) -> None:
    encoder.encode_image(encoder.normalise(torch.stack(pixels)))
