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
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.vectors.bulk import gathered
from app.vectors.contract import Changes, Half, Hits, Ids, Piece, Scores, VectorIndex
from app.vectors.gpu import GpuSegment, check_gpu, gpus
from app.vectors.halves import Halves
from app.vectors.installation import check_installation, keep_blas_to_one_thread
from app.vectors.lists import RECALL_K, Coarse, Lists, Map, list_count, queries_near, threaded
from app.vectors.scoring import MARGIN, ranked
from app.vectors.segments import ROWS, Dead, FlatSegment, Query, Segment, in_order
from app.vectors.sketches import Sketch, choose, renewed, sample_of, shortlist, stale
from app.vectors.tier import Tier

_log = logging.getLogger(__name__)
_SPARE = 16
_DELTA, _DEAD_SHARE, _GROWTH = 8192, 0.1, 4
"""A compaction is worth its cost from so many delta rows or such a share of deleted ones; it takes in segments of up to
so many times what comes to them, so that a vector is written anew a few times in its life."""
_NOTHING = np.empty(0, np.float32)
_MUCH = 40
"""An exact search of fewer than so many times the rows of a shortlist is as quick."""
_PARALLEL = 65_536
"""Rows from which on an exact search runs in several threads."""


Finder = Callable[[int], tuple[Scores, Ids]]
"""The best rows of a segment: approximate scores, descending, and row numbers."""


@dataclass(frozen=True, slots=True)
class _State:
    """What a search sees. Deleted delta rows are gone already."""

    segments: tuple[Segment, ...]
    dead: tuple[Dead, ...]
    delta_ids: Ids
    delta: NDArray[np.float32]
    sequence: int
    coarse: Coarse | None = None
    sketches: tuple[Sketch, ...] = ()

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
    """Search over the vectors of one model version in one space: exact, or beyond some size by a shortlist.

    A shortlist is made from sketches of the segments (their first components in inverted lists), and scored exactly.
    """

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
        keep_blas_to_one_thread()
        self._tier = tier or Tier()
        check_gpu(self._tier.gpu)
        self._each = threaded(self._tier.threads)
        self._halves = Halves(self._tier.threads)
        empty = np.empty(0, np.int64)
        self._state = _State((), (), empty, np.empty((0, dim), np.float32), sequence)
        self._writing, self._compacting = threading.Lock(), threading.Lock()
        self._refused = 1
        """Number of lists that an index had when so few components did not rank as all dimensions do."""
        if ids is not None and vectors is not None and len(ids):
            made = self._segments(ids, vectors)
            self._state = replace(self._state, segments=tuple(made), dead=tuple(Dead(empty) for _ in made))

    @classmethod
    def restored(
        cls, dim: int, sequence: int, coarse: Coarse | None, pieces: Iterable[Piece], tier: Tier | None = None
    ) -> "FaissIndex":
        """An index as `pieces` gave it out."""
        index = cls(dim, sequence=sequence, tier=tier)
        made: list[Segment] = []
        lists: list[Lists] = []
        for piece in pieces:
            made.append(index._segment(piece.ids, piece.vectors))
            if piece.lists is not None:
                lists.append(piece.lists if in_order(piece.ids) else piece.lists[np.argsort(piece.ids, kind="stable")])
            del piece  # or it would be there beside the next one
        whole = tuple(Dead(np.empty(0, np.int64)) for _ in made)
        index._state = replace(index._state, segments=tuple(made), dead=whole)
        if coarse is not None and not gpus():
            known = lists if len(lists) == len(made) else None
            sketch = Sketch(made, coarse, index._each, known)
            index._state = replace(index._state, coarse=coarse, sketches=(sketch,))
        return index

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
    def exact(self) -> bool:
        return self._state.coarse is None

    @property
    def coarse(self) -> Coarse | None:
        """How a shortlist is made, where the index is large enough to have one."""
        return self._state.coarse

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What the index is made of, beside the delta."""
        return self._state.segments

    @property
    def sketches(self) -> tuple[Sketch, ...]:
        """What shortlists are made from."""
        return self._state.sketches

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
                made = self._segment(piece.ids, piece.vectors)
                with self._writing:
                    self._append(made, piece)
        with self._compacting:
            self._sketch()  # or what came would be scanned until the next compaction

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
        # A shortlist that is no small part of everything is no gain.
        if state.coarse is not None and _MUCH * state.coarse.scored(k) < state.live:
            found = _shortlisted(state, state.coarse, query, k, self._halves)
            return self._exactly(state, query, found, near, state.delta_ids, k)
        finders = [partial(_alive, segment, dead, query) for segment, dead in state.pairs()]
        return self._exactly(state, query, self._scan(finders, state.based, near, k), near, state.delta_ids, k)

    def among(self, query: Query, ids: Ids, k: int) -> Hits:
        state = self._state
        query = np.ascontiguousarray(query, np.float32)
        rows = [dead.left(segment.rows_of(ids)) for segment, dead in state.pairs()]
        chosen = np.flatnonzero(_in(state.delta_ids, ids))
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

    def scores(self, query: Query, ids: Ids) -> Hits:
        state = self._state
        chosen = _in(state.delta_ids, ids)
        found, vectors = [state.delta_ids[chosen]], [state.delta[chosen]]
        for segment, dead in state.pairs():
            rows = dead.left(np.unique(segment.rows_of(ids)))
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
            or self._wants_choice(state)
        )

    def _wants_choice(self, state: _State) -> bool:
        """Whether it is to be chosen anew how the index is read: it is large now, or twice as large as it was then."""
        limit = self._tier.exact_up_to
        if limit is None or state.based <= limit or gpus():
            return False
        known = self._refused if state.coarse is None else state.coarse.count
        return list_count(state.based) >= 2 * known

    def compact(self) -> None:
        with self._compacting:  # the long part runs beside searches and `apply`
            before = self._state
            folded = _to_fold(before)
            if folded or len(before.delta_ids):
                parts = [before.segments[at].contents(before.dead[at]) for at in folded]
                ids = np.concatenate([*(ids for ids, _ in parts), before.delta_ids])
                vectors = np.concatenate([*(vectors for _, vectors in parts), before.delta.astype(np.float16)])
                self._swap(before, folded, self._segments(ids, vectors))
            if self._wants_choice(self._state):
                self._choose()
            else:
                self._sketch()

    def _swap(self, before: _State, folded: list[int], made: list[Segment]) -> None:
        """Put new segments in the place of some old ones and of the delta, with what happened meanwhile."""
        with self._writing:
            after = self._state
            kept = [at for at in range(len(before.segments)) if at not in folded]
            still = np.concatenate(
                [after.delta_ids, *(np.delete(after.segments[at].ids, after.dead[at].rows) for at in folded)]
            )
            # What came meanwhile for an id that was in the delta before replaces it.
            since = ~_unchanged(after, before)
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
            self._state = replace(
                after,
                segments=(*(after.segments[at] for at in kept), *made),
                dead=(*(after.dead[at] for at in kept), *dead),
                delta_ids=after.delta_ids[since],
                delta=after.delta[since],
            )

    def _segments(self, ids: Ids, vectors: Half) -> list[Segment]:
        order = np.argsort(ids, kind="stable")
        cuts = [order[start : start + ROWS] for start in range(0, len(order), ROWS)]
        return [self._segment(ids[cut], vectors[cut]) for cut in cuts]

    def _segment(self, ids: Ids, vectors: Half) -> Segment:
        return GpuSegment(ids, vectors, self._tier.gpu) if gpus() else FlatSegment(ids, vectors, self.dim)

    def _sketch(self) -> None:
        """Sketch the segments that are new; until then searches scan them."""
        state = self._state
        if state.coarse is None or not stale(state.sketches, state.segments, state.coarse):
            return
        made = renewed(state.sketches, state.segments, state.coarse, self._each)
        with self._writing:
            self._state = replace(self._state, sketches=made)

    def _choose(self) -> None:
        """Learn and measure how the index is to be read; meanwhile it is read as before."""
        state, seed = self._state, self._tier.seed
        queries = queries_near(sample_of(state.segments, state.based, seed), seed)
        finders = [partial(_alive, segment, Dead(np.empty(0, np.int64))) for segment in state.segments]
        exact = []
        for query in queries:
            found = self._scan([partial(find, query) for find in finders], state.based, _NOTHING, RECALL_K)
            exact.append(set(_ids(state, found)[np.argsort(-_scores(found), kind="stable")[:RECALL_K]].tolist()))
        chosen = choose(state.segments, queries, exact, seed, self._each)
        self._refused = list_count(state.based) if chosen is None else 1
        with self._writing:
            coarse, sketches = (None, ()) if chosen is None else (chosen[0], (chosen[1],))
            self._state = replace(self._state, coarse=coarse, sketches=sketches)


def _shortlisted(state: _State, coarse: Coarse, query: Query, k: int, each: Map) -> list[tuple[Scores, Ids]]:
    """Of each segment the rows that the sketches name; of one that is not sketched yet, the best of all its rows."""
    pairs = state.pairs()
    rows: list[list[Ids]] = [[] for _ in pairs]
    for place, named in shortlist(state.sketches, pairs, coarse, query, k, each):
        rows[place].append(named)
    sketched = {id(segment) for sketch in state.sketches for segment in sketch.segments}
    found = []
    for (segment, dead), some in zip(pairs, rows, strict=True):
        if id(segment) not in sketched:
            found.append(segment.search(query, k + _SPARE, dead))
        else:
            chosen = np.concatenate([*some, np.empty(0, np.int64)])
            found.append((segment.vectors(chosen) @ query, chosen))
    return found


def _ids(state: _State, found: Sequence[tuple[Scores, Ids]]) -> Ids:
    return np.concatenate([segment.ids[rows] for segment, (_, rows) in zip(state.segments, found, strict=True)])


def _scores(found: Sequence[tuple[Scores, Ids]]) -> Scores:
    return np.concatenate([scores for scores, _ in found])


def _in(delta_ids: Ids, ids: Ids) -> NDArray[np.bool_]:
    return np.isin(delta_ids, ids) if len(delta_ids) else np.zeros(0, np.bool_)  # mostly there is no delta


def _alive(segment: Segment, dead: Dead, query: Query, k: int) -> tuple[Scores, Ids]:
    return segment.search(query, k, dead)


def _pieces(state: _State) -> Iterator[Piece]:
    for segment, dead in state.pairs():
        ids, vectors = segment.contents(dead)
        lists = next((found for sketch in state.sketches if (found := sketch.lists(segment)) is not None), None)
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
