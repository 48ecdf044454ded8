"""Sketches: the first components of the vectors of some segments, in inverted lists, beside the segments themselves.

A search reads a few lists of a sketch, which ranks by the components alone, and scores the best of what it found from
the segments, exactly. A sketch is immutable, as segments are; what was deleted since, and segments that were replaced
since, are left out by the search.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from app.vectors.contract import Half, Ids, Scores
from app.vectors.lists import (
    RECALL_K,
    WIDTH_STEP,
    Coarse,
    Lists,
    Map,
    learn,
    measured,
    principal,
    sample_size,
    threaded,
    wider,
)
from app.vectors.segments import Dead, Query, Segment

_log = logging.getLogger(__name__)
_SMALL = 0.1
"""A second sketch holds what came since the first was made, up to such a share of it; then one is made of all."""
_BLOCK = 16_384
_MUCH = 65_536
"""Rows whose reading is worth a second thread: half of it takes five times as long as the hand-over."""


class Sketch:
    """Of some segments, whose rows are numbered through.

    Args:
        lists: the list of each row of each segment, where it is known already.
    """

    def __init__(
        self, segments: Sequence[Segment], coarse: Coarse, each: Map, lists: Sequence[Lists] | None = None
    ) -> None:
        self.segments, self.coarse = tuple(segments), coarse
        self._starts = np.cumsum([0, *map(len, self.segments)])
        codes = np.empty((len(self), coarse.width), np.float16)
        found = []
        for at, segment in enumerate(self.segments):
            for start in range(0, len(segment), _BLOCK):
                rows = np.arange(start, min(start + _BLOCK, len(segment)))
                first = int(self._starts[at]) + start
                part = codes[first : first + len(rows)]
                if lists is None:
                    near, part[:] = coarse.assign(segment.stored(rows), each)
                    found.append(near)
                else:
                    part[:] = coarse.reduce(segment.stored(rows), each)
        self._lists = np.concatenate([*(found if lists is None else lists), np.empty(0, np.int32)])
        self._sizes = np.bincount(self._lists, minlength=coarse.count)
        self._index = _inverted(coarse, self._lists, codes)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def lists(self, segment: Segment) -> Lists | None:
        """The list of each row of a segment, if it is one of these."""
        for at, own in enumerate(self.segments):
            if own is segment:
                return self._lists[self._starts[at] : self._starts[at + 1]]
        return None

    def search(
        self, projected: Query, wanted: int, near: NDArray[np.int64], similarity: NDArray[np.float32], each: Map
    ) -> tuple[Scores, Ids]:
        """The best rows of some lists, (1, n) both, by the components alone: scores and row numbers, in any order.

        Args:
            each: for the two halves of what is to be read, if it is much.
        """
        if near.shape[1] < 2 or self._sizes[near[0]].sum() < _MUCH:
            return self._searched(projected, wanted, near, similarity)
        # Every other list: the nearest ones, which hold the most, are spread over both.
        halves = [(np.ascontiguousarray(near[:, at::2]), np.ascontiguousarray(similarity[:, at::2])) for at in (0, 1)]
        found = each(lambda half: self._searched(projected, wanted, *half), halves)
        scores, rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
        best = np.argpartition(-scores, wanted - 1)[:wanted] if len(scores) > wanted else np.arange(len(scores))
        return scores[best], rows[best]

    def _searched(
        self, projected: Query, wanted: int, near: NDArray[np.int64], similarity: NDArray[np.float32]
    ) -> tuple[Scores, Ids]:
        wanted = min(wanted, len(self))
        scores, rows = np.empty((1, wanted), np.float32), np.empty((1, wanted), np.int64)
        parameters: Any = faiss.SearchParametersIVF
        pointers = [faiss.swig_ptr(array) for array in (projected[None], near, similarity, scores, rows)]
        self._index.search_preassigned_c(1, pointers[0], wanted, *pointers[1:], False, parameters(nprobe=near.shape[1]))
        found = rows[0] >= 0
        return scores[0][found], rows[0][found]

    def split(self, rows: Ids) -> list[tuple[Segment, Ids]]:
        """Row numbers by segment, as the segment numbers them."""
        of = np.searchsorted(self._starts, rows, side="right") - 1
        return [(self.segments[at], rows[of == at] - self._starts[at]) for at in np.unique(of).tolist()]


def _inverted(coarse: Coarse, lists: Lists, codes: Half) -> Any:  # noqa: ANN401  FAISS has no types
    """A FAISS index of components in their lists, ids = row numbers. Each list gets its rows at once."""
    quantizer = faiss.IndexFlatIP(coarse.width)
    index: Any = faiss.IndexIVFScalarQuantizer(
        quantizer, coarse.width, coarse.count, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    # The quantizer stays empty: searches bring their lists along. The index keeps it alive.
    index.is_trained = True
    order = np.argsort(lists, kind="stable").astype(np.int64)
    bounds = np.searchsorted(lists[order], np.arange(coarse.count + 1))
    for number in np.flatnonzero(np.diff(bounds)).tolist():
        start, end = int(bounds[number]), int(bounds[number + 1])
        rows = order[start:end]
        part = codes[rows].view(np.uint8)
        index.invlists.add_entries(number, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(part))
    index.ntotal = len(lists)
    return index


Shortlist = list[tuple[int, Ids]]
"""Rows to score exactly: the place of a segment among all, and its row numbers."""


def shortlist(
    sketches: Sequence[Sketch], pairs: Sequence[tuple[Segment, Dead]], coarse: Coarse, query: Query, k: int, each: Map
) -> Shortlist:
    """The rows among which the best k are: of as many lists as measured recall asks for, or all if they hold fewer.

    Args:
        pairs: all segments, with their deleted rows; those in no sketch are not looked at.
        each: for the halves of a search, see `Sketch.search`.
    """
    places = {id(segment): place for place, (segment, _) in enumerate(pairs)}
    projected = coarse.project(query)
    rank, probes = k, coarse.probes(k)
    while True:
        wanted = coarse.scored(rank)
        near = coarse.nearest(projected, probes)
        kept = _best([sketch.search(projected, wanted, *near, each) for sketch in sketches], wanted)
        alive: Shortlist = []
        for sketch, rows in zip(sketches, kept, strict=True):
            for segment, some in sketch.split(rows):
                place = places.get(id(segment))
                if place is not None:  # else it was replaced since
                    alive.append((place, pairs[place][1].left(some)))
        named, left = sum(map(len, kept)), sum(len(rows) for _, rows in alive)
        # If most of these are deleted, the best k that are not lie as far out as the best so many of all.
        deeper = math.ceil(k * named / max(1, left))
        if deeper > 2 * rank and (named >= wanted or probes < coarse.count):
            rank, probes = deeper, max(probes, coarse.probes(deeper))
        elif left < k and probes < coarse.count:
            probes = min(4 * probes, coarse.count)
        else:
            return alive


def _best(found: Sequence[tuple[Scores, Ids]], wanted: int) -> list[Ids]:
    """Of what several sketches found, the rows that are among the best of all."""
    scores = np.concatenate([scores for scores, _ in found])
    if len(scores) <= wanted:
        return [rows for _, rows in found]
    line = np.partition(scores, len(scores) - wanted)[len(scores) - wanted]
    return [rows[near >= line] for near, rows in found]


def stale(sketches: Sequence[Sketch], segments: Sequence[Segment], coarse: Coarse) -> bool:
    """Whether some segment is in no sketch of these lists."""
    inside = {id(segment) for sketch in sketches if sketch.coarse is coarse for segment in sketch.segments}
    return any(id(segment) not in inside for segment in segments)


def renewed(sketches: Sequence[Sketch], segments: Sequence[Segment], coarse: Coarse, each: Map) -> tuple[Sketch, ...]:
    """Sketches of all of some segments: one of everything, or the largest one there is and one of the rest."""
    largest = max((sketch for sketch in sketches if sketch.coarse is coarse), key=len, default=None)
    if largest is not None:
        inside = {id(segment) for segment in largest.segments}
        rest = [segment for segment in segments if id(segment) not in inside]
        replaced = len(inside - {id(segment) for segment in segments})
        if not replaced and sum(map(len, rest)) <= _SMALL * len(largest):
            return (largest, Sketch(rest, coarse, each)) if rest else (largest,)
    return (Sketch(segments, coarse, each),)


def choose(
    segments: Sequence[Segment], queries: NDArray[np.float32], exact: Sequence[set[int]], seed: int, each: Map
) -> tuple[Coarse, Sketch] | None:
    """Learn and measure how an index of these segments is to be read.

    Args:
        queries: see `queries_near`.
        exact: ids of the best ten of each of them.
        seed: of the sample that is learnt from. It is drawn again each time, so as not to stand beside what is made.

    Returns:
        None if even half of the dimensions do not rank as all do.
    """
    size = sum(map(len, segments))
    directions, width = principal(sample_of(segments, size, seed))
    pairs = [(segment, Dead(np.empty(0, np.int64))) for segment in segments]
    while width <= max(WIDTH_STEP, len(directions) // 2):
        components = np.ascontiguousarray(directions[:, :width])
        centroids = learn(_projected(sample_of(segments, size, seed), components), size, each, seed)
        unmeasured = Coarse(components, centroids, len(centroids), RECALL_K, 1.0)
        sketch = Sketch(segments, unmeasured, each)

        def best(query: Query, tried: Coarse, sketch: Sketch = sketch) -> set[int]:
            rows = shortlist([sketch], pairs, tried, query, RECALL_K, threaded(1))
            scores = np.concatenate([segments[at].vectors(some) @ query for at, some in rows])
            ids = np.concatenate([segments[at].ids[some] for at, some in rows])
            return set(ids[np.argsort(-scores, kind="stable")[:RECALL_K]].tolist())

        coarse = measured(unmeasured, queries, exact, best)
        if coarse is not None:
            sketch.coarse = coarse
            _log.info(
                "%d vectors: %d components, %d of %d lists read, %d scored exactly: recall %.4f",
                *(size, coarse.width, coarse.probe, coarse.count, coarse.shortlist, coarse.recall),
            )
            return coarse, sketch
        width = wider(width)
    _log.warning("%d vectors fill too many directions for a shortlist: searches of them stay exact", size)
    return None


def _projected(sample: Half, components: NDArray[np.float32]) -> NDArray[np.float32]:
    parts = [sample[start : start + _BLOCK] for start in range(0, len(sample), _BLOCK)]
    return np.concatenate([part.astype(np.float32) @ components for part in parts])


def sample_of(segments: Sequence[Segment], size: int, seed: int) -> Half:
    """Vectors to learn from, drawn from all segments."""
    rng, wanted = np.random.default_rng(seed), sample_size(size)
    parts = []
    for segment in segments:
        share = min(len(segment), math.ceil(wanted * len(segment) / size))
        parts.append(segment.stored(np.sort(rng.choice(len(segment), share, replace=False))))
    return np.concatenate(parts)
