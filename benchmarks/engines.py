"""FAISS and Milvus Lite on the same vectors: whether they answer alike, and what it costs.

Milvus Lite runs in this process and searches by brute force in NumPy: its times say nothing about a cluster. What the
run shows is that the answers are the same, also past the 16,384 rows that Milvus gives in one answer and with
thousands of equal vectors.
"""

import time
from contextlib import closing
from pathlib import Path

import numpy as np

from app.vectors.contract import Changes, Half, VectorIndex
from app.vectors.engines import Engine, FaissEngine, MilvusEngine
from app.vectors.snapshot import SnapshotKey
from benchmarks.figures import Figure, median

_VECTORS, _DIM = 30_000, 128
_PIECE, _QUERIES = 10_000, 5
_DEPTHS = (10, 1_000, 17_000)


def measure_engines(folder: Path, count: int = _VECTORS, dim: int = _DIM) -> list[Figure]:
    """Load `count` random vectors, a third of them equal, delete some, and ask both engines the same."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    key = SnapshotKey("benchmark", "f" * 64, "text", dim)
    with closing(FaissEngine(folder)) as faiss, closing(MilvusEngine(str(folder / "milvus.db"))) as milvus:
        engines = (_fresh(faiss, key), _fresh(milvus, key))
        for first in range(0, count, _PIECE):
            changes = _piece(rng, first, min(_PIECE, count - first), dim)
            for index in engines:
                index.apply(changes)
        queries = [_unit(rng.standard_normal((1, dim)))[0].astype(np.float32) for _ in range(_QUERIES)]
        return [figure for depth in (*_DEPTHS, count) for figure in _compared(*engines, queries, depth)]


def _fresh(engine: Engine, key: SnapshotKey) -> VectorIndex:
    return engine.storage(1, key).restart(lambda: 0)


def _piece(rng: np.random.Generator, first: int, count: int, dim: int) -> Changes:
    vectors = _unit(rng.standard_normal((count, dim)))
    vectors[::3] = vectors[0]
    ids = np.arange(first + 1, first + count + 1)
    return Changes(first + count, ids, vectors, ids[::11])


def _unit(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Half:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float16)


def _compared(
    faiss: VectorIndex, milvus: VectorIndex, queries: list[np.ndarray[tuple[int], np.dtype[np.float32]]], k: int
) -> list[Figure]:
    alike = 0
    took: tuple[list[float], list[float]] = ([], [])
    for query in queries:
        started = time.perf_counter()
        ours = faiss.search(query, k)
        between = time.perf_counter()
        theirs = milvus.search(query, k)
        took[0].append(between - started)
        took[1].append(time.perf_counter() - between)
        alike += np.array_equal(ours.ids, theirs.ids) and np.array_equal(ours.scores, theirs.scores)
    ours_ms, theirs_ms = (median(times) * 1000 for times in took)
    return [
        Figure(f"engines: same ids and scores, k = {k:,}", alike, "queries", len(queries), "asked"),
        Figure(f"engines: search in Milvus Lite, k = {k:,}", theirs_ms, "ms", ours_ms, "FAISS"),
    ]
