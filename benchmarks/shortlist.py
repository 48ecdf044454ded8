"""`python -m benchmarks.shortlist DATA`: a shortlist of real vectors, searched with the words of real descriptions.

How a shortlist is read is chosen with made-up queries that lie off the vectors. Whether what was chosen holds for words
is measured here, with what a checkpoint makes of the pictures and descriptions of a data set.
"""

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from app.embedding.service import EncoderService
from app.settings import Settings
from app.vectors.contract import Changes
from app.vectors.faiss_engine import FaissIndex
from app.vectors.tier import Tier
from benchmarks.figures import Figure
from benchmarks.table import figure_table
from training.datasets import read_dataset

_CHUNK, _QUERIES, _PROMISE = 512, 400, 99.0
Queries = NDArray[np.float32]


def run(
    data: Annotated[Path, typer.Argument(help="A data set.")],
    form: Annotated[str, typer.Option("--format", help="Of the data set.")] = "cuhk_pedes",
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint.")] = Path("models/demo"),
) -> None:
    """Encode pictures and descriptions, make a shortlist, and count what it finds of the exact best."""
    logging.basicConfig(level="WARNING")
    logging.getLogger("app.vectors").setLevel("INFO")
    console = Console()
    encoder = EncoderService.load(checkpoint, Settings())
    records = [record for split in read_dataset(form, data).splits.values() for record in split]
    vectors = _encoded(encoder, [record.path for record in records])
    rng = np.random.default_rng(0)
    described = [record.descriptions[0] for record in records if record.descriptions]
    chosen = rng.choice(len(described), min(_QUERIES, len(described)), replace=False).tolist()
    words = np.stack([one.vector for one in encoder.encode_descriptions([described[at] for at in chosen])])
    pictures = vectors[rng.choice(len(vectors), min(_QUERIES, len(vectors)), replace=False)]
    encoder.close()
    console.print(figure_table(_measure(vectors, {"descriptions": words, "pictures of the gallery": pictures})))


def _encoded(encoder: EncoderService, paths: list[Path]) -> Queries:
    """The vectors of pictures in the space that words are compared in, (n, dim)."""
    space = encoder.spec.stored("text")
    parts = []
    for start in track(range(0, len(paths), _CHUNK), "encoding"):
        pixels = []
        for path in paths[start : start + _CHUNK]:
            with Image.open(path) as picture:
                pixels.append(encoder.encoder.preprocess(picture))
        parts.append(encoder.encode_images(pixels)[space])
    return np.concatenate(parts)


def _measure(vectors: Queries, queries: dict[str, Queries]) -> list[Figure]:
    count, dim = vectors.shape
    none = np.empty(0, np.int64)
    changes = Changes(count, np.arange(count), vectors.astype(np.float16), none)
    exact, short = FaissIndex(dim, tier=Tier(None)), FaissIndex(dim, tier=Tier(1))
    for index in (exact, short):
        index.apply(changes)
        index.compact()
    coarse = short.coarse
    if coarse is None:
        raise RuntimeError("no shortlist was chosen: the vectors fill too many directions")
    figures = [
        Figure("components", coarse.width, "", dim, "dimensions"),
        Figure("lists read", coarse.probe, "", coarse.count, "lists"),
        Figure("recall@10 when it was chosen", 100 * coarse.recall, "%", _PROMISE, "promise"),
    ]
    for name, some in queries.items():
        for k in (10, 100):
            hits = sum(
                len(set(short.search(query, k).ids.tolist()) & set(exact.search(query, k).ids.tolist()))
                for query in some
            )
            figures.append(Figure(f"recall@{k}, {name}", 100 * hits / (k * len(some)), "%", _PROMISE, "promise"))
    return figures


if __name__ == "__main__":
    typer.run(run)
