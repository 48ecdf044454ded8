"""A gallery with two model versions, of which it is known what each says about every picture."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.commands.models import activate_version, register_checkpoint
from app.core import Core, opened
from app.gallery import pictures
from app.gallery.sources import open_source
from app.settings import Settings
from benchmarks.acknowledged import APART, Ledger, Table, name_of, number_of
from benchmarks.fleet import LIMIT_S
from benchmarks.gallery import make_gallery
from models.checkpoint import DEMO, load_checkpoint, save_checkpoint

QUERIES = (
    "a woman in a red coat",
    "a man with a black backpack and blue jeans",
    "someone in a white shirt",
    "a person with a grey hat",
    "a man in a green jacket",
    "a woman with a yellow bag",
)
PICTURE = "picture "
"""What a query by a picture of the pool begins with; its number follows."""
_EACH = 4


def prepare(settings: Settings, folder: Path, people: int, examples: Sequence[int] = ()) -> tuple[Ledger, list[bytes]]:
    """Two versions in an empty gallery, the first one active, and what each says about each picture of a pool.

    Args:
        examples: numbers of pictures that will be queries too.
    """
    gallery = make_gallery(folder / "gallery", people)
    files = [path.read_bytes() for path in sorted((gallery / "images").rglob("*.jpg"))]
    save_checkpoint(_perturbed(), folder / "other", card="# perturbed\n")
    with opened(settings) as core:
        first = register_checkpoint(core, DEMO, "first").id
        activate_version(core, first)
        present = _filled(core, folder / "first", files, people)
        second = register_checkpoint(core, folder / "other", "second").id
        tables = {version: _table(core, version, files, examples) for version in (first, second)}
    apart = [np.abs(tables[first][query] - tables[second][query]) for query in QUERIES]
    if float(np.median(apart)) < APART:
        raise RuntimeError(
            f"the two versions differ by {np.median(apart):.4f} only: they cannot be told apart by scores"
        )
    ledger = Ledger(tables, people, _EACH, first, present=present, sent=set(present.values()))
    return ledger, files


def _filled(core: Core, folder: Path, files: Sequence[bytes], people: int) -> dict[int, int]:
    """The pictures of two thirds of the people in the gallery: image id to picture number."""
    folder.mkdir()
    rows = [{"file": name_of(n), "identity": f"P-{n // _EACH}"} for n in range(people * 2 // 3 * _EACH)]
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    for row in rows:
        (folder / row["file"]).write_bytes(files[number_of(row["file"])])
    outcomes = list(core.ingest().run(open_source(folder)))
    if any(outcome.status != "ingested" for outcome in outcomes):
        raise RuntimeError(f"the pictures could not be taken in: {outcomes}")
    return {outcome.image_id: number_of(outcome.name) for outcome in outcomes if outcome.image_id is not None}


def _perturbed() -> Any:  # noqa: ANN401  an encoder
    encoder = load_checkpoint(DEMO)
    dice = torch.Generator().manual_seed(1)
    for parameter in encoder.parameters():
        parameter.mul_(1 + 0.3 * torch.randn(parameter.shape, generator=dice))
    return encoder


def _table(core: Core, version: int, files: Sequence[bytes], examples: Sequence[int]) -> Table:
    _, _, encoder = core.active.load_encoder(version)
    limits = core.settings
    read = [pictures.decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_upload_bytes) for data in files]
    stored = encoder.encode_images([encoder.encoder.preprocess(picture.image) for picture in read])
    vectors = stored[encoder.spec.stored("text")].astype(np.float16).astype(np.float32)
    table = {query: vectors @ encoder.submit_text(query).result(LIMIT_S).vector for query in QUERIES}
    vectors = stored[encoder.spec.stored("image")].astype(np.float16).astype(np.float32)
    for number in examples:
        pixels = encoder.encoder.preprocess(read[number].image)
        table[f"{PICTURE}{number}"] = vectors @ encoder.submit_picture(pixels).result(LIMIT_S)
    encoder.close()
    return table
