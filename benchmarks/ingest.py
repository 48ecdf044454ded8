"""Images a second of a whole ingest (hash, decode, store twice, encode, commit) against the bare encoder."""

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from app.gallery.sources import open_source
from benchmarks.figures import Figure
from benchmarks.gallery import open_with_model
from models.checkpoint import DEMO, load_checkpoint
from models.encoder import PersonEncoder

_BATCH = 64


def measure_ingest(gallery: Path, data_dir: Path) -> list[Figure]:
    """Encode the gallery's images with the encoder alone, from memory and from their files; then ingest them."""
    files = sorted((gallery / "images").rglob("*.jpg"))
    memory, disk = bare_rates(load_checkpoint(DEMO), files)  # first: the service sets the number of threads
    core = open_with_model(data_dir)
    try:
        ingest, source = core.ingest(), open_source(gallery)
        began = time.perf_counter()
        outcomes = list(ingest.run(source))
        took = time.perf_counter() - began
    finally:
        core.close()
    done = sum(outcome.status == "ingested" for outcome in outcomes)
    if done != len(files):
        raise RuntimeError(f"{len(files)} images were to be ingested, {done} were")
    rate = done / took
    return [
        Figure("ingest against the encoder on images in memory", rate, "images/s", memory, "encoder, pixels in memory"),
        Figure("ingest against decode + encode", rate, "images/s", disk, "encoder, JPEG files"),
    ]


def bare_rates(encoder: PersonEncoder, files: list[Path]) -> tuple[float, float]:
    """Images a second of the encoder alone, pixels in memory and from files; each in the faster of two ways: one
    batch on all cores, or one batch a core."""
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
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
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
