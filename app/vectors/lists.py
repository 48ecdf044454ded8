"""Inverted lists: the vectors of a large index by the centroid that is nearest to them, so that a search reads few.

How many lists a search reads is measured, not guessed: the least number with which queries that lie off the vectors, as
words lie off pictures, still find what an exact search finds.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.vectors.contract import Half

RECALL, RECALL_K = 0.995, 10
"""Of the best ten, the share that a search with the chosen number of lists finds."""
_SAMPLE_PER_LIST, _ITERATIONS, _BLOCK = 40, 8, 8192
_NOISE = 2.0
"""Length of what is added to a unit vector to make a query: the cosine to it is then 0.45.

That stands for words well: of 34,000 pictures x 256 of the synthetic people (1,024 lists), reading 16, 64, 128 lists
finds .905, .990, .999 of the best ten for real descriptions, .896, .980, .995 for such queries, and .968, .999, 1 for
pictures of the gallery.
"""
_QUERIES = 100
_FIRST = 8

Lists = NDArray[np.int32]
Map = Callable[[Callable[[Any], Any], Sequence[Any]], Sequence[Any]]
"""Like `map`, perhaps in several threads."""


@dataclass(frozen=True, slots=True)
class Coarse:
    """The centroids, and how many of their lists a search reads.

    Attributes:
        centroids: (n, dim) float32, unit-norm.
        probe: lists read for the best ten.
        recall: of the best ten, measured with `probe`, in [0, 1].
    """

    centroids: NDArray[np.float32]
    probe: int
    recall: float

    @property
    def count(self) -> int:
        """Number of lists."""
        return len(self.centroids)

    def probes(self, k: int) -> int:
        """Lists to read for the best k: more neighbours lie in more lists."""
        return min(self.count, math.ceil(self.probe * max(1.0, math.sqrt(k / RECALL_K))))

    def nearest(self, query: NDArray[np.float32], probes: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The lists nearest to a (dim,) query, nearest first, and their similarities: (1, probes) each."""
        near = self.centroids @ query
        best = np.argpartition(-near, probes - 1)[:probes] if probes < len(near) else np.arange(len(near))
        best = best[np.argsort(-near[best], kind="stable")]
        return best[None].astype(np.int64), near[best][None]

    def assign(self, vectors: Half, each: Map) -> Lists:
        """The list of each of some vectors."""
        blocks = [vectors[start : start + _BLOCK] for start in range(0, len(vectors), _BLOCK)]
        found = each(
            lambda block: (block.astype(np.float32) @ self.centroids.T).argmax(axis=1).astype(np.int32), blocks
        )
        return np.concatenate([*found, np.empty(0, np.int32)])


def learn(sample: Half, size: int, each: Map, seed: int) -> NDArray[np.float32]:
    """Centroids for `size` vectors, from a sample of them, by spherical k-means.

    Args:
        sample: (n, dim) unit-norm; see `sample_size`.
        seed: of the first centroids.
    """
    count = list_count(size)
    rng = np.random.default_rng(seed)
    centroids = sample[rng.choice(len(sample), count, replace=False)].astype(np.float32)
    for _ in range(_ITERATIONS):
        lists = Coarse(centroids, 1, 0.0).assign(sample, each)
        order = np.argsort(lists, kind="stable")
        starts = np.searchsorted(lists[order], np.arange(count))
        sizes = np.diff(np.append(starts, len(sample)))
        filled = np.flatnonzero(sizes)
        sums = np.add.reduceat(sample[order].astype(np.float32), starts[filled], axis=0)
        centroids[filled] = sums
        empty = np.flatnonzero(sizes == 0)
        # A centroid that lost all its vectors begins again at one of them.
        centroids[empty] = sample[rng.choice(len(sample), len(empty), replace=False)]
        centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    return centroids


def list_count(size: int) -> int:
    """Number of lists for so many vectors: a power of two near four times the square root."""
    return int(2 ** round(math.log2(max(1.0, 4 * math.sqrt(size)))))


def sample_size(size: int) -> int:
    """How many vectors `learn` wants for `size` of them."""
    return min(size, _SAMPLE_PER_LIST * list_count(size))


def queries_near(sample: Half, seed: int) -> NDArray[np.float32]:
    """Queries to measure with: some vectors of the sample with noise of twice their length, (n, dim) unit-norm."""
    rng = np.random.default_rng(seed)
    chosen = sample[rng.choice(len(sample), min(_QUERIES, len(sample)), replace=False)].astype(np.float32)
    noise = rng.standard_normal(chosen.shape).astype(np.float32)
    chosen += _NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(chosen / np.linalg.norm(chosen, axis=1, keepdims=True), np.float32)


def choose_probe(
    centroids: NDArray[np.float32],
    queries: NDArray[np.float32],
    search: Callable[[NDArray[np.float32], int], set[int]],
) -> Coarse:
    """The least number of lists, half as many more each time from 8 on, that reaches the recall; all if none does.

    Args:
        search: the best ten (ids) for a query with a number of lists; with all of them it is exact.
    """
    exact = [search(query, len(centroids)) for query in queries]
    probe = min(_FIRST, len(centroids))
    while True:
        hits = [len(search(query, probe) & best) for query, best in zip(queries, exact, strict=True)]
        recall = sum(hits) / max(1, sum(map(len, exact)))
        if recall >= RECALL or probe == len(centroids):
            return Coarse(centroids, probe, recall)
        probe = min(probe + probe // 2, len(centroids))


def threaded(threads: int) -> Map:
    """A map over that many threads (numpy and FAISS let go of the interpreter's lock)."""

    def each(function: Callable[[Any], Any], items: Sequence[Any]) -> Sequence[Any]:
        if threads <= 1 or len(items) <= 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(function, items))

    return each
