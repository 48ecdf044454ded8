"""The FAISS engine: segments, a small exact delta, tombstones; one immutable state, swapped atomically.

Segments hold fp16, as the rows of the database do, so that nothing is lost; against flat fp32 that takes half the
memory and 0.4 times the time (100k x 512: 3.1 ms against 7.8 ms on one core). FAISS only finds the candidates: every
score that leaves the engine is computed here in double precision from the stored vector, so that it does not depend on
where the vector lies, at which row, or on the device. While the index is small enough to be scanned (`Tier`), answers
are exact, and the same before and after a restart, a compaction or a rebuild.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import metadata

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from app.errors import FaissConflictError
from app.vectors.bulk import gathered
from app.vectors.contract import Changes, Half, Hits, Ids, Piece, Scores, VectorIndex
from app.vectors.gpu import GpuSegment, check_gpu, gpus
from app.vectors.lists import (
    RECALL_K,
    Coarse,
    choose_probe,
    learn,
    list_count,
    queries_near,
    sample_size,
    threaded,
)
from app.vectors.scoring import MARGIN, ranked
from app.vectors.segments import ROWS, Dead, FlatSegment, ListedSegment, Query, Segment
from app.vectors.tier import Tier

_log = logging.getLogger(__name__)
_SPARE = 16
_DELTA, _DEAD_SHARE, _GROWTH = 8192, 0.1, 4
"""A compaction is worth its cost from so many delta rows or such a share of deleted ones; it takes in segments of up to
so many times what comes to them, so that a vector is written anew a few times in its life."""
_PARALLEL = 65_536
"""Rows from which on an exact search runs in several threads."""


Finder = Callable[[int], tuple[Scores, Ids]]
"""The best rows of a segment: approximate scores, descending, and row numbers."""


def check_installation() -> None:
    """Refuse to run on two FAISS builds that overwrote each other's files.

    Raises:
        FaissConflictError: faiss-cpu and faiss-gpu are both installed.
    """
    builds = [name for name in ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12") if _installed(name)]
    if len(builds) > 1:
        raise FaissConflictError(
            f"{' and '.join(builds)} are both installed, and they own the same files; uninstall all of them, then "
            "install exactly one: the extra `cpu` or the extra `gpu`"
        )


@cache
def _keep_blas_to_one_thread() -> None:
    """The products here are small, and each would wake a thread on every core, which then spins while it waits.

    Beside a busy worker that cost a server 190 ms of processor time for each search instead of 9, and the worker two
    thirds of its speed. It is meant for the whole process: nothing else in it uses BLAS for long.
    """
    threadpool_limits(1, user_api="blas")


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _State:
    """What a search sees. Deleted delta rows are gone already."""

    segments: tuple[Segment, ...]
    dead: tuple[Dead, ...]
    delta_ids: Ids
    delta: NDArray[np.float32]
    sequence: int
    coarse: Coarse | None

    @property
    def based(self) -> int:
        """Rows in segments, deleted ones too."""
        return sum(map(len, self.segments))

    @property
    def live(self) -> int:
        return self.based - sum(len(dead.rows) for dead in self.dead) + len(self.delta_ids)

    def pairs(self) -> list[tuple[Segment, Dead]]:
        return list(zip(self.segments, self.dead, strict=True))


class FaissIndex(VectorIndex):
    """Search over the vectors of one model version in one space: exact, or beyond some size in inverted lists."""

    def __init__(
        self,
        dim: int,
        *,
        sequence: int = 0,
        ids: Ids | None = None,
        vectors: Half | None = None,
        tier: Tier | None = None,
    ) -> None:
        super().__init__(dim)
        check_installation()
        _keep_blas_to_one_thread()
        self._tier = tier or Tier()
        check_gpu(self._tier.gpu)
        self._each = threaded(self._tier.threads)
        empty = np.empty(0, np.int64)
        self._state = _State((), (), empty, np.empty((0, dim), np.float32), sequence, None)
        self._writing, self._compacting = threading.Lock(), threading.Lock()
        if ids is not None and vectors is not None and len(ids):
            made = self._segments(ids, vectors, None)
            self._state = replace(self._state, segments=tuple(made), dead=tuple(Dead(empty) for _ in made))

    @classmethod
    def restored(
        cls, dim: int, sequence: int, coarse: Coarse | None, pieces: Iterable[Piece], tier: Tier | None = None
    ) -> "FaissIndex":
        """An index as `pieces` gave it out."""
        index = cls(dim, sequence=sequence, tier=tier)
        made = [index._restored(piece, coarse) for piece in pieces]
        whole = tuple(Dead(np.empty(0, np.int64)) for _ in made)
        index._state = replace(index._state, segments=tuple(made), dead=whole, coarse=coarse)
        return index

    def _restored(self, piece: Piece, coarse: Coarse | None) -> Segment:
        if piece.lists is None or coarse is None or gpus():
            return self._segment(piece.ids, piece.vectors, None)
        return ListedSegment(piece.ids, piece.vectors, piece.lists, coarse)

    def pieces(self) -> tuple[int, Coarse | None, Iterator[Piece]]:
        state = self._state
        return state.sequence, state.coarse, _pieces(state)

    @property
    def sequence(self) -> int:
        return self._state.sequence

    @property
    def count(self) -> int:
        return self._state.live

    @property
    def coarse(self) -> Coarse | None:
        """The inverted lists, where the index is large enough to have some."""
        return self._state.coarse

    def apply(self, changes: Changes) -> None:
        with self._writing:
            state = self._state
            # An id that comes again (its version was retired, and is encoded anew) replaces the vector before.
            gone = np.concatenate([changes.ids, changes.deleted])
            stays = ~np.isin(state.delta_ids, gone)
            new = ~np.isin(changes.ids, changes.deleted)
            ids = np.concatenate([state.delta_ids[stays], changes.ids[new]])
            delta = np.concatenate([state.delta[stays], changes.vectors[new].astype(np.float32)])
            dead = tuple(_dying(segment, dead, gone) for segment, dead in state.pairs())
            self._state = replace(state, dead=dead, delta_ids=ids, delta=delta, sequence=changes.sequence)

    def load(self, pieces: Iterable[Changes]) -> None:
        for piece in gathered(pieces, ROWS, self.dim, after=self.sequence):
            if len(piece.ids) <= _DELTA:
                self.apply(piece)
                continue
            with self._compacting:  # which would lose a segment that comes meanwhile
                made = self._segment(piece.ids, piece.vectors, self._state.coarse)
                with self._writing:
                    self._append(made, piece)

    def _append(self, made: Segment, piece: Changes) -> None:
        state = self._state
        gone = np.concatenate([piece.ids, piece.deleted])
        stays = ~np.isin(state.delta_ids, gone)
        self._state = replace(
            state,
            segments=(*state.segments, made),
            dead=(*(_dying(*pair, gone) for pair in state.pairs()), Dead(np.empty(0, np.int64))),
            delta_ids=state.delta_ids[stays],
            delta=state.delta[stays],
            sequence=piece.sequence,
        )

    def search(self, query: Query, k: int) -> Hits:
        state = self._state
        k = min(k, state.live)
        if k <= 0:
            return Hits(np.empty(0, np.int64), np.empty(0, np.float32))
        query = np.ascontiguousarray(query, np.float32)
        near = state.delta @ query
        if state.coarse is not None:
            return self._exactly(state, query, self._read(state, state.coarse, query, k), near, state.delta_ids, k)
        finders = [partial(_alive, segment, dead, query) for segment, dead in state.pairs()]
        return self._exactly(state, query, self._scan(finders, state.based, near, k), near, state.delta_ids, k)

    def among(self, query: Query, ids: Ids, k: int) -> Hits:
        state = self._state
        query = np.ascontiguousarray(query, np.float32)
        rows = [np.setdiff1d(segment.rows_of(ids), dead.rows, assume_unique=True) for segment, dead in state.pairs()]
        chosen = np.flatnonzero(np.isin(state.delta_ids, ids))
        k = min(k, sum(map(len, rows)) + len(chosen))
        if k <= 0:
            return Hits(np.empty(0, np.int64), np.empty(0, np.float32))
        near = np.full(len(state.delta_ids), -np.inf, np.float32)
        near[chosen] = state.delta[chosen] @ query
        finders = [partial(segment.among, query, some) for segment, some in zip(state.segments, rows, strict=True)]
        return self._exactly(state, query, self._scan(finders, state.based, near[chosen], k), near, state.delta_ids, k)

    @staticmethod
    def _exactly(
        state: _State, query: Query, found: Sequence[tuple[Scores, Ids]], near: Scores, delta_ids: Ids, k: int
    ) -> Hits:
        """The best k of what was found, by exact scores."""
        # Whatever may still belong among the first k once its score is exact is above this line.
        line = _line([*(scores for scores, _ in found), near], k)
        kept = [(segment, rows[scores >= line]) for segment, (scores, rows) in zip(state.segments, found, strict=True)]
        close = (near >= line) & (near > -np.inf)
        ids = [*(segment.ids[rows] for segment, rows in kept), delta_ids[close]]
        vectors = [*(segment.vectors(rows) for segment, rows in kept if len(rows)), state.delta[close]]
        return ranked(query, np.concatenate(ids), np.concatenate(vectors), k)

    def _scan(self, finders: Sequence[Finder], size: int, near: Scores, k: int) -> list[tuple[Scores, Ids]]:
        """Of each segment every row that may be among the first k."""
        wanted = [k + _SPARE] * len(finders)
        each = self._each if size > _PARALLEL else threaded(1)
        found = list(each(lambda at: finders[at](wanted[at]), range(len(finders))))
        line = _line([*(scores for scores, _ in found), near], k)
        for at, find in enumerate(finders):
            # Many equal scores: the last row that came may have neighbours that are as near.
            while len(found[at][0]) == wanted[at] and found[at][0][-1] >= line:
                wanted[at] *= 2
                found[at] = find(wanted[at])
        return found

    def _read(self, state: _State, coarse: Coarse, query: Query, k: int) -> list[tuple[Scores, Ids]]:
        """Of each segment the best rows of the nearest lists: of so many that k rows come together, if there are k."""
        probes = coarse.probes(k)
        while True:
            near, similarity = coarse.nearest(query, probes)
            found = [
                segment.search_in(query, k + _SPARE, dead, near, similarity)
                if isinstance(segment, ListedSegment) and segment.coarse_is(coarse)
                else segment.search(query, k + _SPARE, dead)
                for segment, dead in state.pairs()
            ]
            if probes == coarse.count or sum(len(scores) for scores, _ in found) + len(state.delta_ids) >= k:
                return found
            probes = min(4 * probes, coarse.count)

    def scores(self, query: Query, ids: Ids) -> Hits:
        state = self._state
        chosen = np.isin(state.delta_ids, ids)
        found, vectors = [state.delta_ids[chosen]], [state.delta[chosen]]
        for segment, dead in state.pairs():
            rows = np.setdiff1d(segment.rows_of(ids), dead.rows)
            found.append(segment.ids[rows])
            vectors.append(segment.vectors(rows))
        every = np.concatenate(found)
        return ranked(np.ascontiguousarray(query, np.float32), every, np.concatenate(vectors), len(every))

    def ids(self) -> Ids:
        state = self._state
        return np.concatenate(
            [*(np.delete(segment.ids, dead.rows) for segment, dead in state.pairs()), state.delta_ids]
        )

    def contents(self) -> tuple[int, Ids, Half]:
        state = self._state
        parts = [segment.contents(dead) for segment, dead in state.pairs()]
        ids = np.concatenate([*(ids for ids, _ in parts), state.delta_ids])
        return state.sequence, ids, np.concatenate([*(vectors for _, vectors in parts), state.delta.astype(np.float16)])

    @property
    def wants_compaction(self) -> bool:
        state = self._state
        return (
            len(state.delta_ids) > _DELTA
            or any(len(dead.rows) > _DEAD_SHARE * len(segment) for segment, dead in state.pairs())
            or self._wants_lists(state)
        )

    def _wants_lists(self, state: _State) -> bool:
        limit = self._tier.exact_up_to
        if limit is None or state.based <= limit or gpus():
            return False
        return state.coarse is None or list_count(state.based) >= 2 * state.coarse.count

    def compact(self) -> None:
        with self._compacting:  # the long part runs beside searches and `apply`
            before = self._state
            folded = _to_fold(before)
            if folded or len(before.delta_ids):
                parts = [before.segments[at].contents(before.dead[at]) for at in folded]
                ids = np.concatenate([*(ids for ids, _ in parts), before.delta_ids])
                vectors = np.concatenate([*(vectors for _, vectors in parts), before.delta.astype(np.float16)])
                self._swap(before, folded, self._segments(ids, vectors, before.coarse))
            if self._wants_lists(self._state):
                self._into_lists()

    def _swap(self, before: _State, folded: list[int], made: list[Segment], *, delta: bool = True) -> None:
        """Put new segments in the place of some old ones and, with `delta`, of it, with what happened meanwhile."""
        with self._writing:
            after = self._state
            kept = [at for at in range(len(before.segments)) if at not in folded]
            still = np.concatenate(
                [after.delta_ids, *(np.delete(after.segments[at].ids, after.dead[at].rows) for at in folded)]
            )
            # What came meanwhile for an id that was in the delta before replaces it.
            since = ~_unchanged(after, before) if delta else np.ones(len(after.delta_ids), bool)
            dead = [
                Dead.of(
                    np.union1d(
                        np.setdiff1d(np.arange(len(segment)), segment.rows_of(still)),
                        segment.rows_of(after.delta_ids[since]),
                    ),
                    len(segment),
                )
                for segment in made
            ]
            self._state = _State(
                (*(after.segments[at] for at in kept), *made),
                (*(after.dead[at] for at in kept), *dead),
                after.delta_ids[since],
                after.delta[since],
                after.sequence,
                after.coarse,
            )

    def _segments(self, ids: Ids, vectors: Half, centroids: Coarse | None) -> list[Segment]:
        order = np.argsort(ids, kind="stable")
        cuts = [order[start : start + ROWS] for start in range(0, len(order), ROWS)]
        return [self._segment(ids[cut], vectors[cut], centroids) for cut in cuts]

    def _segment(self, ids: Ids, vectors: Half, coarse: Coarse | None) -> Segment:
        if gpus():
            return GpuSegment(ids, vectors, self._tier.gpu)
        if coarse is None:
            return FlatSegment(ids, vectors, self.dim)
        return ListedSegment(ids, vectors, coarse.assign(vectors, self._each), coarse)

    def _into_lists(self) -> None:
        """Put every segment into lists, one after the other; searches stay exact until it is known how many to read."""
        size = self._state.based
        sample = self._sample(sample_size(size))
        centroids = learn(sample, size, self._each, self._tier.seed)
        unmeasured = Coarse(centroids, len(centroids), 1.0)
        for old in self._state.segments:
            at = self._state.segments.index(old)
            before = self._state
            self._swap(before, [at], [self._segment(*old.contents(before.dead[at]), unmeasured)], delta=False)
        segments = [found for found in self._state.segments if isinstance(found, ListedSegment)]

        def search(query: Query, probes: int) -> set[int]:
            near = unmeasured.nearest(query, probes)
            found = [segment.search_in(query, RECALL_K, Dead(np.empty(0, np.int64)), *near) for segment in segments]
            ids = np.concatenate([segment.ids[rows] for segment, (_, rows) in zip(segments, found, strict=True)])
            best = np.argsort(-np.concatenate([scores for scores, _ in found]), kind="stable")[:RECALL_K]
            return set(ids[best].tolist())

        coarse = choose_probe(centroids, queries_near(sample, self._tier.seed), search)
        _log.info("%d vectors in %d lists, %d read: recall %.4f", size, coarse.count, coarse.probe, coarse.recall)
        with self._writing:
            self._state = replace(self._state, coarse=coarse)

    def _sample(self, wanted: int) -> Half:
        state, rng = self._state, np.random.default_rng(self._tier.seed)
        shares = [wanted * len(segment) // state.based for segment in state.segments]
        rows = [
            np.sort(rng.choice(len(segment), min(share + 1, len(segment)), replace=False))
            for segment, share in zip(state.segments, shares, strict=True)
        ]
        parts = [segment.vectors(chosen) for segment, chosen in zip(state.segments, rows, strict=True)]
        return np.concatenate(parts).astype(np.float16)


def _alive(segment: Segment, dead: Dead, query: Query, k: int) -> tuple[Scores, Ids]:
    return segment.search(query, k, dead)


def _pieces(state: _State) -> Iterator[Piece]:
    for segment, dead in state.pairs():
        ids, vectors = segment.contents(dead)
        lists = segment.lists() if segment.coarse_is(state.coarse) else None
        if len(ids):
            yield Piece(ids, vectors, None if lists is None else np.delete(lists, dead.rows))
    if len(state.delta_ids):
        yield Piece(state.delta_ids, state.delta.astype(np.float16))


def _dying(segment: Segment, dead: Dead, gone: Ids) -> Dead:
    rows = segment.rows_of(gone)
    return dead if not len(rows) else Dead.of(np.union1d(dead.rows, rows), len(segment))


def _to_fold(state: _State) -> list[int]:
    """Segments that a compaction writes anew: with many deleted rows, or small beside what comes to them."""
    alive = [len(segment) - len(dead.rows) for segment, dead in state.pairs()]
    pool, chosen = len(state.delta_ids), []
    for at in sorted(range(len(alive)), key=alive.__getitem__):
        holes = len(state.dead[at].rows) > _DEAD_SHARE * len(state.segments[at])
        if holes or (pool and alive[at] < ROWS // 2 and alive[at] <= _GROWTH * pool):
            chosen.append(at)
            pool += alive[at]
    return chosen


def _unchanged(after: _State, before: _State) -> NDArray[np.bool_]:
    """Which delta rows of a state are those of an earlier one."""
    order = np.argsort(before.delta_ids, kind="stable")
    places = np.searchsorted(before.delta_ids[order], after.delta_ids)
    places = order[np.minimum(places, len(order) - 1)] if len(order) else np.zeros(len(places), np.int64)
    if not len(order):
        return np.zeros(len(after.delta_ids), bool)
    same: NDArray[np.bool_] = (before.delta_ids[places] == after.delta_ids) & (before.delta[places] == after.delta).all(
        axis=1
    )
    return same


def _line(scores: list[Scores], k: int) -> float:
    """A score below which nothing can be among the first k."""
    found = np.concatenate(scores)
    if len(found) < k:
        return -np.inf
    return float(np.partition(found, len(found) - k)[len(found) - k] - MARGIN)
