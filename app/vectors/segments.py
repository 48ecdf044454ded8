"""Segments: immutable sets of vectors, of which an index is made. Changing one means replacing it.

Small pieces keep three costs down: a compaction rewrites some of them instead of everything, memory never holds the
vectors twice, and one exact search runs in several threads.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from app.vectors.contract import Half, Ids, Scores

ROWS = 131_072
"""Most vectors of a segment: 134 MB at 512 dimensions."""
_FEW = 50
"""A scan that passes over rows costs as much as scoring one row in so many."""
Query = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Dead:
    """Rows of a segment that are deleted.

    Attributes:
        rows: ascending.
        alive: the others as bits, least significant first, as FAISS wants them; None while all are alive.
    """

    rows: Ids
    alive: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, rows: Ids, count: int) -> "Dead":
        """These rows of `count`."""
        if not len(rows):
            return cls(rows)
        alive = np.ones(count, bool)
        alive[rows] = False
        return cls(rows, np.packbits(alive, bitorder="little"))

    def left(self, rows: Ids) -> Ids:
        """Those of some rows that are alive."""
        if self.alive is None:
            return rows
        alive: Ids = rows[(self.alive[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 == 1]
        return alive


class Segment(ABC):
    """An immutable set of vectors. Row numbers follow the ids, which ascend."""

    def __init__(self, ids: Ids, index: Any) -> None:  # noqa: ANN401  FAISS has no types
        self.ids, self.index = ids, index

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def search(self, query: Query, k: int, dead: Dead) -> tuple[Scores, Ids]:
        """The best min(k, alive) rows: approximate scores, descending, and row numbers."""

    def among(self, query: Query, rows: Ids, k: int) -> tuple[Scores, Ids]:
        """The best min(k, n) of n given rows: approximate scores, descending, and row numbers."""
        scores = self.vectors(rows) @ query
        best = np.argsort(-scores, kind="stable")[:k]
        return scores[best], rows[best]

    def vectors(self, rows: Ids) -> NDArray[np.float32]:
        """The vectors at some rows, (n, dim) float32; they are those that were put in, exactly."""
        if not len(rows):
            return np.empty((0, int(self.index.d)), np.float32)
        return np.asarray(self.index.reconstruct_batch(rows), np.float32)

    def rows_of(self, ids: Ids) -> Ids:
        """Row numbers of those ids that are here."""
        if not len(self.ids):
            return np.empty(0, np.int64)
        # Most segments hold a range of ids of their own: most ids need no search.
        ids = ids[(ids >= self.ids[0]) & (ids <= self.ids[-1])]
        rows = np.searchsorted(self.ids, ids)
        return np.asarray(rows[self.ids[rows] == ids], np.int64)

    def stored(self, rows: Ids) -> Half:
        """The vectors at some rows as they were put in, (n, dim) float16."""
        return self.vectors(rows).astype(np.float16)

    def contents(self, dead: Dead) -> tuple[Ids, Half]:
        """Ids and vectors of the rows that are alive."""
        rows = np.delete(np.arange(len(self.ids)), dead.rows)
        return self.ids[rows], self.stored(rows)


def in_order(ids: Ids) -> bool:
    """Whether ids ascend."""
    return not (np.diff(ids) < 0).any()


def _only(rows: NDArray[np.uint8]) -> Any:  # noqa: ANN401  FAISS has no types
    """FAISS's selection of the rows whose bit is set."""
    selector: Any = faiss.IDSelectorBitmap  # its types do not know that it takes an array
    return selector(rows)


def _parameters(kind: Any, **values: Any) -> Any:  # noqa: ANN401  FAISS's types do not know these arguments
    return kind(**values)


def _alone() -> None:
    """Let FAISS use this thread alone from now on: for one query its other threads have nothing to do, and to wait for
    them on busy cores took up to 50 ms. Each thread that searches has to say so."""
    faiss.omp_set_num_threads(1)


class _Codes:
    """FAISS's own memory as an array, not to be written to, which keeps the index alive; it does not move any more."""

    def __init__(self, index: Any, count: int, dim: int) -> None:  # noqa: ANN401  FAISS has no types
        self._index = index
        codes = faiss.rev_swig_ptr(index.codes.data(), index.codes.size())
        place = (codes.ctypes.data, True)
        self.__array_interface__ = {"data": place, "shape": (count, dim), "typestr": "<f2", "version": 3}


class FlatSegment(Segment):
    """Scanned as a whole: exact. fp16 is how vectors are stored, so that nothing is lost."""

    def __init__(self, ids: Ids, vectors: Half, dim: int) -> None:
        if not in_order(ids):  # else nothing need be copied
            order = np.argsort(ids, kind="stable")
            ids, vectors = ids[order], vectors[order]
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.is_trained = True  # fp16 has nothing to learn
        if len(ids):
            index.add_sa_codes(np.ascontiguousarray(vectors).view(np.uint8))
        super().__init__(np.array(ids), index)
        self._half: Half = np.asarray(_Codes(index, len(ids), dim)) if len(ids) else np.empty((0, dim), np.float16)

    def stored(self, rows: Ids) -> Half:
        return self._half[rows]

    def vectors(self, rows: Ids) -> NDArray[np.float32]:
        return self._half[rows].astype(np.float32)

    def contents(self, dead: Dead) -> tuple[Ids, Half]:
        return super().contents(dead) if len(dead.rows) else (self.ids, self._half)

    def search(self, query: Query, k: int, dead: Dead) -> tuple[Scores, Ids]:
        k = min(k, len(self) - len(dead.rows))
        if k <= 0:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        chosen = None if dead.alive is None else _parameters(faiss.SearchParameters, sel=_only(dead.alive))
        _alone()
        scores, rows = self.index.search(query[None], k, params=chosen)
        return scores[0], rows[0]

    def among(self, query: Query, rows: Ids, k: int) -> tuple[Scores, Ids]:
        if len(rows) <= len(self) // _FEW:
            return super().among(query, rows, k)
        chosen = np.zeros(len(self), bool)
        chosen[rows] = True
        # The scan passes over the others, at 2 ns each, without computing them.
        selection = _parameters(faiss.SearchParameters, sel=_only(np.packbits(chosen, bitorder="little")))
        _alone()
        scores, found = self.index.search(query[None], min(k, len(rows)), params=selection)
        return scores[0], found[0]
