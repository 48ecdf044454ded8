"""The kinds of index on a GPU, for `python -m benchmarks.index --gpu`: against an exact product, with the card's name.

Not run where this was written, which has no GPU.
"""

import time
from collections.abc import Callable
from typing import get_args

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from app.errors import GpuIndexMissingError
from app.vectors.contract import Changes, Half
from app.vectors.faiss_engine import FaissIndex
from app.vectors.gpu import KINDS, gpus
from app.vectors.tier import GpuKind, Tier
from benchmarks.figures import Figure, median

_BLOCK, _BEST = 10_000, 10
Queries = NDArray[np.float32]
Vectors = Callable[[int, int], Half]
"""So many vectors, and the seed of them."""


def card() -> str:
    """Name of the GPU that is used.

    Raises:
        GpuIndexMissingError: FAISS sees none.
    """
    if not gpus():
        raise GpuIndexMissingError(
            f"FAISS {faiss.__version__} sees no GPU: install the extra `gpu` on a machine with one"
        )
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "a GPU that PyTorch does not see"


def measure_gpu(count: int, dim: int, near: Vectors, queries: Queries, say: Callable[[str], None]) -> list[Figure]:
    """Build each kind that this FAISS has over the same vectors, and search it."""
    name = card()
    say(f"GPU: {name}, FAISS {faiss.__version__}")
    truth = _exact(count, near, queries)
    figures = []
    kinds: tuple[GpuKind, ...] = get_args(GpuKind)
    for kind in kinds:
        if missing := [needed for needed in KINDS[kind].needs if not hasattr(faiss, needed)]:
            say(f"{kind}: this FAISS has no {', '.join(missing)}")
            continue
        figures += _measure(kind, name, count, dim, near, queries, truth)
    return figures


def _exact(count: int, near: Vectors, queries: Queries) -> list[set[int]]:
    best: list[list[tuple[float, int]]] = [[] for _ in queries]
    for start in range(0, count, _BLOCK):
        scores = queries @ near(min(_BLOCK, count - start), start).astype(np.float32).T
        for at, row in enumerate(scores):
            top = np.argsort(-row)[:_BEST]
            found = zip((-row[top]).tolist(), (start + top).tolist(), strict=True)
            best[at] = sorted([*best[at], *found])[:_BEST]
    return [{number for _, number in some} for some in best]


def _measure(
    kind: GpuKind, name: str, count: int, dim: int, near: Vectors, queries: Queries, truth: list[set[int]]
) -> list[Figure]:
    index, none = FaissIndex(dim, tier=Tier(None, gpu=kind)), np.empty(0, np.int64)
    sizes = ((start, min(_BLOCK, count - start)) for start in range(0, count, _BLOCK))
    began = time.perf_counter()
    index.load(Changes(start + size, np.arange(start, start + size), near(size, start), none) for start, size in sizes)
    index.compact()
    built = time.perf_counter() - began
    taken, hits = [], 0
    for query, right in zip(queries, truth, strict=True):
        began = time.perf_counter()
        found = index.search(query, _BEST)
        taken.append(1000 * (time.perf_counter() - began))
        hits += len(set(found.ids.tolist()) & right)
    recall = 100 * hits / sum(map(len, truth))
    return [
        Figure(f"{kind} on {name}: built in (with the drawing of the vectors)", built, "s", 60.0, "promise"),
        Figure(f"{kind} on {name}: recall@10", recall, "%", 99.0, "promise"),
        Figure(f"{kind} on {name}: one query, median", median(taken), "ms", 2.0, "promise"),
    ]
