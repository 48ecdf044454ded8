"""FAISS and Milvus Lite on the same vectors: whether they answer alike, and what it costs.

Both are asked the same, before and after deletions: the best k of all, of the images that a filter leaves, and the best
identities with their images (`app.search.grouping`, as a search does it). Answers are compared with each other, and
those of FAISS with brute force. Milvus Lite runs in this process and searches by brute force in NumPy: its times say
nothing about a cluster. What the run shows is that the answers are the same, also past the 16,384 rows that Milvus
gives in one answer and with thousands of equal vectors.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.search.grouping import best_identities, rank_identities
from app.vectors.contract import Changes, Half, Hits, Ids, VectorIndex
from app.vectors.engines import Engine, FaissEngine, MilvusEngine
from app.vectors.snapshot import SnapshotKey
from app.vectors.tier import Tier
from benchmarks.figures import Figure, median

_VECTORS, _DIM = 20_000, 128
_PIECE, _QUERIES = 10_000, 4
_DEPTHS = (10, 1_000, 17_000)
_SHARES = (0.5, 0.1, 0.01, 0.001)
_EACH, _PEOPLE, _SHOWN = 4, 20, 3
"""Images of an identity; identities of a page, and images shown of each."""
_LIMIT = 1e-3
Query = NDArray[np.float32]
Ask = Callable[[VectorIndex, Query], Hits]


@dataclass(slots=True)
class Likeness:
    """How far two engines agree over some questions.

    Attributes:
        alike: questions to which both gave the same ids in the same order.
        off: largest difference of two scores of one id.

    """

    asked: int = 0
    alike: int = 0
    off: float = 0.0

    def compare(self, one: Hits, other: Hits) -> None:
        """Count one more question."""
        self.asked += 1
        self.alike += np.array_equal(one.ids, other.ids)
        self.off = max(self.off, difference(one, other))

    def figures(self, name: str, rival: str) -> list[Figure]:
        """Both counts, each with its limit."""
        return [
            Figure(f"engines: {name}: same ids in the same order", self.alike, "of", self.asked, f"asked; {rival}"),
            Figure(f"engines: {name}: largest difference of scores", self.off, "", _LIMIT, f"limit; {rival}"),
        ]


def difference(one: Hits, other: Hits) -> float:
    """Largest difference of the scores of an id; infinite where only one of the two has it."""
    left, right = (dict(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)) for hits in (one, other))
    if left.keys() != right.keys():
        return float("inf")
    return max((abs(score - right[number]) for number, score in left.items()), default=0.0)


def measure_engines(folder: Path, count: int = _VECTORS, dim: int = _DIM) -> list[Figure]:
    """Load `count` random vectors, a third of them equal, delete some, and ask both engines the same."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    key = SnapshotKey("benchmark", "f" * 64, "text", dim)
    exact = FaissEngine(folder, Tier(None))
    with closing(exact) as faiss, closing(MilvusEngine(str(folder / "milvus.db"))) as milvus:
        engines = (_fresh(faiss, key), _fresh(milvus, key))
        stored = np.empty((count + 1, dim), np.float16)
        for first in range(0, count, _PIECE):
            changes = _piece(rng, first, min(_PIECE, count - first), dim)
            stored[changes.ids] = changes.vectors
            for index in engines:
                index.apply(changes)
        alive = np.arange(1, count + 1)
        queries = [_unit(rng.standard_normal((1, dim)))[0].astype(np.float32) for _ in range(_QUERIES)]
        figures = _round("all there", *engines, queries, stored, alive)
        gone = alive[::11]
        for index in engines:
            index.apply(Changes(index.sequence + len(gone), gone[:0], stored[:0], gone))
        alive = np.setdiff1d(alive, gone)
        figures += _round("after deletions", *engines, queries, stored, alive)
        return figures + [f for k in _DEPTHS for f in _timed(*engines, queries, k)]


def _fresh(engine: Engine, key: SnapshotKey) -> VectorIndex:
    return engine.storage(1, key).restart(lambda: 0)


def _piece(rng: np.random.Generator, first: int, count: int, dim: int) -> Changes:
    vectors = _unit(rng.standard_normal((count, dim)))
    vectors[::3] = vectors[0]
    return Changes(first + count, np.arange(first + 1, first + count + 1), vectors, np.empty(0, np.int64))


def _unit(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Half:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float16)


def _round(
    when: str, faiss: VectorIndex, milvus: VectorIndex, queries: list[Query], stored: Half, alive: Ids
) -> list[Figure]:
    """Every kind of question, FAISS against Milvus and against brute force."""
    rng = np.random.default_rng(1)
    every = np.arange(len(stored))[1:]  # with the deleted ones: a filter may name them until the database is asked anew
    subsets = [np.sort(rng.choice(every, max(1, int(share * len(every))), replace=False)) for share in _SHARES]
    kinds: dict[str, list[tuple[Ask, Callable[[Query], Hits]]]] = {
        "no filter": [(partial(_best, k=k), partial(_brute, stored, alive, k=k)) for k in _DEPTHS],
        "filters of 50, 10, 1 and .1 %": [
            (partial(_among, ids=some, k=k), partial(_brute, stored, np.intersect1d(some, alive), k=k))
            for some in subsets
            for k in (10, 500)
        ],
        "groups of identities": [(_grouped, partial(_grouped_by_hand, stored, alive))],
    }
    figures = []
    for name, asks in kinds.items():
        engines, brute = Likeness(), Likeness()
        for ask, truth in asks:
            for query in queries:
                ours = ask(faiss, query)
                engines.compare(ours, ask(milvus, query))
                brute.compare(ours, truth(query))
        figures += engines.figures(f"{name}, {when}", "FAISS and Milvus")
        figures += brute.figures(f"{name}, {when}", "FAISS and brute force")
    return figures


def _best(index: VectorIndex, query: Query, k: int) -> Hits:
    return index.search(query, k)


def _among(index: VectorIndex, query: Query, ids: Ids, k: int) -> Hits:
    return index.among(query, ids, k)


def _identity(image: int) -> int:
    return (image - 1) // _EACH


def _grouped(index: VectorIndex, query: Query) -> Hits:
    """A page of identities with their best images, as one list of images."""
    found = best_identities(partial(index.search, query), lambda ids: {n: _identity(n) for n in ids}, _PEOPLE)
    members = {_EACH * one + n: one for one in found for n in range(1, _EACH + 1)}
    ranked = rank_identities(found, members, partial(index.scores, query), _SHOWN)
    pairs = [pair for person in ranked for pair in person.images]
    return Hits(np.array([image for image, _ in pairs]), np.array([score for _, score in pairs], np.float32))


def _brute(stored: Half, ids: Ids, query: Query, k: int) -> Hits:
    scores = (stored[ids].astype(np.float64) * query).sum(axis=1).astype(np.float32)
    order = np.lexsort((ids, -scores))[:k]
    return Hits(ids[order], scores[order])


def _grouped_by_hand(stored: Half, alive: Ids, query: Query) -> Hits:
    people: dict[int, list[tuple[int, float]]] = {}
    every = _brute(stored, alive, query, len(alive))
    for image, score in zip(every.ids.tolist(), every.scores.tolist(), strict=True):
        people.setdefault(_identity(image), []).append((image, score))
    pairs = [pair for images in list(people.values())[:_PEOPLE] for pair in images[:_SHOWN]]
    return Hits(np.array([image for image, _ in pairs]), np.array([score for _, score in pairs], np.float32))


def _timed(faiss: VectorIndex, milvus: VectorIndex, queries: list[Query], k: int) -> list[Figure]:
    took: dict[str, list[float]] = {"faiss": [], "milvus": []}
    for query in queries:
        for name, index in (("faiss", faiss), ("milvus", milvus)):
            started = time.perf_counter()
            index.search(query, k)
            took[name].append(1000 * (time.perf_counter() - started))
    return [
        Figure(
            f"engines: search in Milvus Lite, k = {k:,}", median(took["milvus"]), "ms", median(took["faiss"]), "FAISS"
        )
    ]
