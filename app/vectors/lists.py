"""Inverted lists of first components: what a search of a large index reads before it scores few vectors exactly.

Vectors of pictures fill few directions. The first principal components rank almost as all dimensions do, at a fraction
of the reading; inverted lists, the vectors by the centroid nearest to them, leave most of that out. How many
components, how many lists and how many vectors to score exactly is measured, not guessed: the least with which queries
that lie off the vectors, as words lie off pictures, still find what an exact search finds.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.vectors.contract import Half

RECALL, RECALL_K = 0.995, 10
"""Of the best ten, the share that a search with the chosen number of lists finds."""
SCAN_RECALL = 0.998
"""Of the best ten, the share that is found when all lists are read; what is missing is due to components left out."""
_SAMPLE_PER_LIST, _ITERATIONS, _BLOCK = 40, 8, 1024
"""Blocks are small because of the similarities to all lists: 17 MB a thread at a million vectors."""
_SHARE, WIDTH_STEP, _SHORTLIST = 0.9, 16, (200, 400)
"""Components are first tried with so much of the vectors' energy, then half as many more each time, in such steps; each
with so many vectors that are scored exactly for the best ten."""
_NOISE = 2.0
"""Length of what is added to a unit vector to make a query: the cosine to it is then 0.45.

That stands for words well: of 34,000 pictures x 256 of the synthetic people (1,024 lists), reading 16, 64, 128 lists
finds .905, .990, .999 of the best ten for real descriptions, .896, .980, .995 for such queries, and .968, .999, 1 for
pictures of the gallery.
"""
_QUERIES = 200
_FIRST = 8

Lists = NDArray[np.int32]
Map = Callable[[Callable[[Any], Any], Sequence[Any]], Sequence[Any]]
"""Like `map`, perhaps in several threads."""


@dataclass(frozen=True, slots=True)
class Coarse:
    """How a large index is read.

    Attributes:
        components: (dim, n) float32, orthonormal columns: the directions that the vectors fill, widest first.
        centroids: (lists, n) float32, unit-norm.
        probe: lists read for the best ten.
        shortlist: vectors scored exactly for the best ten.
        recall: of the best ten, measured with `probe` and `shortlist`, in [0, 1].
    """

    components: NDArray[np.float32]
    centroids: NDArray[np.float32]
    probe: int
    shortlist: int
    recall: float

    @property
    def count(self) -> int:
        """Number of lists."""
        return len(self.centroids)

    @property
    def width(self) -> int:
        """Number of components."""
        return int(self.components.shape[1])

    def probes(self, k: int) -> int:
        """Lists to read for the best k: more neighbours lie in more lists.

        At a million vectors the growth keeps recall at .99 for the best hundred and the best thousand.
        """
        return min(self.count, math.ceil(self.probe * max(1.0, math.sqrt(math.sqrt(k / RECALL_K)))))

    def scored(self, k: int) -> int:
        """Vectors to score exactly for the best k."""
        return math.ceil(max(4 * k, self.shortlist * max(1.0, math.sqrt(k / RECALL_K))))

    def project(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """The components of (n, dim) vectors or one (dim,) vector."""
        return np.ascontiguousarray(vectors.astype(np.float32, copy=False) @ self.components)

    def nearest(self, projected: NDArray[np.float32], probes: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The lists nearest to a projected query (width,), nearest first, and their similarities: (1, probes) each."""
        near = self.centroids @ projected
        best = np.argpartition(-near, probes - 1)[:probes] if probes < len(near) else np.arange(len(near))
        best = best[np.argsort(-near[best], kind="stable")]
        return best[None].astype(np.int64), near[best][None]

    def assign(self, vectors: Half, each: Map) -> tuple[Lists, Half]:
        """The list of each of some vectors (n, dim), and their components (n, width), as fp16."""

        def part(block: Half) -> tuple[Lists, Half]:
            projected = self.project(block)
            return _closest(projected, self.centroids), projected.astype(np.float16)

        found = each(part, _blocks(vectors))
        lists = np.concatenate([*(lists for lists, _ in found), np.empty(0, np.int32)])
        return lists, np.concatenate([*(codes for _, codes in found), np.empty((0, self.width), np.float16)])

    def reduce(self, vectors: Half, each: Map) -> Half:
        """The components of some vectors (n, dim), (n, width) as fp16: `assign` where the lists are known."""
        found = each(lambda block: self.project(block).astype(np.float16), _blocks(vectors))
        return np.concatenate([*found, np.empty((0, self.width), np.float16)])


def _blocks(vectors: Half) -> list[Half]:
    return [vectors[start : start + _BLOCK] for start in range(0, len(vectors), _BLOCK)]


def principal(sample: Half) -> tuple[NDArray[np.float32], int]:
    """The directions that vectors fill, (dim, dim) as columns, widest first, and how many to begin with.

    Not centred: scores are inner products, to which the mean belongs.
    """
    moments = np.zeros((sample.shape[1],) * 2, np.float32)
    for start in range(0, len(sample), _BLOCK):  # all of it as fp32 would be a third of the index
        wide = sample[start : start + _BLOCK].astype(np.float32)
        moments += wide.T @ wide
    energy, directions = np.linalg.eigh(moments)
    share = np.cumsum(energy[::-1]) / max(float(energy.sum()), 1e-12)
    first = math.ceil((int(np.searchsorted(share, _SHARE)) + 1) / WIDTH_STEP) * WIDTH_STEP
    return np.ascontiguousarray(directions[:, ::-1], np.float32), first


def wider(width: int) -> int:
    """The next number of components to try."""
    return math.ceil(width * 1.5 / WIDTH_STEP) * WIDTH_STEP


def learn(projected: NDArray[np.float32], size: int, each: Map, seed: int) -> NDArray[np.float32]:
    """Centroids for `size` vectors, from the components (n, width) of a sample, by spherical k-means.

    Args:
        projected: see `sample_size`.
        seed: of the first centroids.
    """
    count = list_count(size)
    rng = np.random.default_rng(seed)
    sample = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
    centroids = sample[rng.choice(len(sample), count, replace=False)]
    blocks = [sample[start : start + _BLOCK] for start in range(0, len(sample), _BLOCK)]
    for _ in range(_ITERATIONS):
        lists = np.concatenate(each(partial(_closest, centroids=centroids), blocks))
        order = np.argsort(lists, kind="stable")
        starts = np.searchsorted(lists[order], np.arange(count))
        sizes = np.diff(np.append(starts, len(sample)))
        filled = np.flatnonzero(sizes)
        centroids[filled] = np.add.reduceat(sample[order], starts[filled], axis=0)
        empty = np.flatnonzero(sizes == 0)
        # A centroid that lost all its vectors begins again at one of them.
        centroids[empty] = sample[rng.choice(len(sample), len(empty), replace=False)]
        centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    return np.asarray(centroids, np.float32)


def _closest(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> Lists:
    return np.asarray((vectors @ centroids.T).argmax(axis=1), np.int32)


def list_count(size: int) -> int:
    """Number of lists for so many vectors: a power of two near twice the square root."""
    return int(2 ** round(math.log2(max(1.0, 2 * math.sqrt(size)))))


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


Best = Callable[[NDArray[np.float32], Coarse], set[int]]
"""The best ten (ids) for a query, read in some way."""


def measured(coarse: Coarse, queries: NDArray[np.float32], exact: Sequence[set[int]], best: Best) -> Coarse | None:
    """The least that reaches the recall: of vectors scored exactly, then of lists, from 8 up by a seventh each time.

    Args:
        coarse: with components and centroids; what else it says does not count.
        exact: the best ten of each query.

    Returns:
        None if so few components do not reach it, whatever is read.
    """

    def recall(tried: Coarse) -> float:
        hits = sum(len(best(query, tried) & right) for query, right in zip(queries, exact, strict=True))
        return hits / max(1, sum(map(len, exact)))

    for shortlist in _SHORTLIST:
        tried = replace(coarse, probe=coarse.count, shortlist=shortlist)
        if recall(tried) >= SCAN_RECALL:
            break
    else:
        return None
    probe = min(_FIRST, coarse.count)
    while True:
        tried = replace(tried, probe=probe)
        reached = recall(tried)
        if reached >= RECALL or probe == coarse.count:
            return replace(tried, recall=reached)
        probe = min(probe + -(-probe // 7), coarse.count)


def threaded(threads: int) -> Map:
    """A map over that many threads (numpy and FAISS let go of the interpreter's lock)."""

    def each(function: Callable[[Any], Any], items: Sequence[Any]) -> Sequence[Any]:
        if threads <= 1 or len(items) <= 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(function, items))

    return each
