"""Images a second of a whole ingest (hash, decode, store twice, encode, commit) against the bare encoder."""

import time
from pathlib import Path

import torch
from PIL import Image

from app.gallery.sources import open_source
from benchmarks.figures import Figure
from benchmarks.gallery import open_with_model
from models.checkpoint import DEMO, load_checkpoint

_BATCH = 64


def measure_ingest(gallery: Path, data_dir: Path) -> list[Figure]:
    """Ingest the gallery once; encode the same images with the encoder alone, from memory and from their files."""
    files = sorted((gallery / "images").rglob("*.jpg"))
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
    memory, disk = _bare(files)
    rate = done / took
    return [
        Figure("ingest against the encoder on images in memory", rate, "images/s", memory, "encoder, pixels in memory"),
        Figure("ingest against decode + encode", rate, "images/s", disk, "encoder, JPEG files, one decoding thread"),
    ]


@torch.inference_mode()
def _bare(files: list[Path]) -> tuple[float, float]:
    """Images a second of the encoder alone: with pixels in memory, and decoding the files itself."""
    encoder = load_checkpoint(DEMO)

    def read(path: Path) -> torch.Tensor:
        with Image.open(path) as image:
            return encoder.preprocess(image)

    def encode(pixels: list[torch.Tensor]) -> None:
        encoder.encode_image(encoder.normalise(torch.stack(pixels)))

    everything = [read(path) for path in files]
    encode(everything[:_BATCH])
    rates = []
    for from_disk in (False, True):
        began = time.perf_counter()
        for start in range(0, len(files), _BATCH):
            part = slice(start, start + _BATCH)
            encode([read(path) for path in files[part]] if from_disk else everything[part])
        rates.append(len(files) / (time.perf_counter() - began))
    return rates[0], rates[1]
