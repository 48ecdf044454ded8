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
from app.vectors.lists import Coarse, Lists

ROWS = 131_072
"""Most vectors of a segment: 134 MB at 512 dimensions."""
_BLOCK = 65_536
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

    def lists(self) -> Lists | None:
        """The list of each row, where the segment is in lists."""
        return None

    def coarse_is(self, coarse: Coarse | None) -> bool:
        """Whether the segment is in the lists of these centroids."""
        return False

    def contents(self, dead: Dead) -> tuple[Ids, Half]:
        """Ids and vectors of the rows that are alive."""
        rows = np.delete(np.arange(len(self.ids)), dead.rows)
        vectors = np.empty((len(rows), int(self.index.d)), np.float16)
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            vectors[start : start + len(part)] = self.vectors(part)
        return self.ids[rows], vectors


def _only(rows: NDArray[np.uint8]) -> Any:  # noqa: ANN401  FAISS has no types
    """FAISS's selection of the rows whose bit is set."""
    selector: Any = faiss.IDSelectorBitmap  # its types do not know that it takes an array
    return selector(rows)


def _parameters(kind: Any, **values: Any) -> Any:  # noqa: ANN401  FAISS's types do not know these arguments
    return kind(**values)


class FlatSegment(Segment):
    """Scanned as a whole: exact. fp16 is how vectors are stored, so that nothing is lost."""

    def __init__(self, ids: Ids, vectors: Half, dim: int) -> None:
        if (np.diff(ids) < 0).any():  # else nothing need be copied
            order = np.argsort(ids, kind="stable")
            ids, vectors = ids[order], vectors[order]
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.is_trained = True  # fp16 has nothing to learn
        if len(ids):
            index.add_sa_codes(np.ascontiguousarray(vectors).view(np.uint8))
        super().__init__(np.array(ids), index)

    def search(self, query: Query, k: int, dead: Dead) -> tuple[Scores, Ids]:
        k = min(k, len(self) - len(dead.rows))
        if k <= 0:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        chosen = None if dead.alive is None else _parameters(faiss.SearchParameters, sel=_only(dead.alive))
        scores, rows = self.index.search(query[None], k, params=chosen)
        return scores[0], rows[0]

    def among(self, query: Query, rows: Ids, k: int) -> tuple[Scores, Ids]:
        if not len(rows):
            return np.empty(0, np.float32), np.empty(0, np.int64)
        chosen = np.zeros(len(self), bool)
        chosen[rows] = True
        # The scan passes over the others, at 2 ns each, without computing them.
        selection = _parameters(faiss.SearchParameters, sel=_only(np.packbits(chosen, bitorder="little")))
        scores, found = self.index.search(query[None], min(k, len(rows)), params=selection)
        return scores[0], found[0]


class ListedSegment(Segment):
    """In inverted lists; a search reads those of the nearest centroids."""

    def __init__(self, ids: Ids, vectors: Half, lists: Lists, coarse: Coarse) -> None:
        order = np.argsort(ids, kind="stable")
        self.coarse, self._lists = coarse, np.ascontiguousarray(lists[order])
        super().__init__(
            np.ascontiguousarray(ids[order]), _inverted(vectors.shape[1], coarse, self._lists, vectors[order])
        )

    def lists(self) -> Lists | None:
        return self._lists

    def coarse_is(self, coarse: Coarse | None) -> bool:
        return coarse is not None and self.coarse.centroids is coarse.centroids

    def search(self, query: Query, k: int, dead: Dead) -> tuple[Scores, Ids]:
        return self.search_in(query, k, dead, *self.coarse.nearest(query, self.coarse.count))

    def search_in(
        self, query: Query, k: int, dead: Dead, near: NDArray[np.int64], similarity: NDArray[np.float32]
    ) -> tuple[Scores, Ids]:
        """`search` in some lists only, (1, n) both; fewer rows if they hold fewer."""
        k = min(k, len(self) - len(dead.rows))
        if k <= 0:
            return np.empty(0, np.float32), np.empty(0, np.int64)
        selection = {} if dead.alive is None else {"sel": _only(dead.alive)}
        chosen = _parameters(faiss.SearchParametersIVF, nprobe=near.shape[1], **selection)
        scores, rows = np.empty((1, k), np.float32), np.empty((1, k), np.int64)
        pointers = [faiss.swig_ptr(array) for array in (query[None], near, similarity, scores, rows)]
        self.index.search_preassigned_c(1, pointers[0], k, *pointers[1:], False, chosen)
        found = rows[0] >= 0
        return scores[0][found], rows[0][found]


def _inverted(dim: int, coarse: Coarse, lists: Lists, vectors: Half) -> Any:  # noqa: ANN401  FAISS has no types
    """A FAISS index of vectors in their lists, ids = rows. Codes are the stored fp16 as they are: nothing is lost."""
    quantizer = faiss.IndexFlatIP(dim)
    index: Any = faiss.IndexIVFScalarQuantizer(
        quantizer, dim, coarse.count, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    # The quantizer stays empty: searches bring their lists along. The index keeps it alive.
    index.is_trained = True
    order = np.argsort(lists, kind="stable").astype(np.int64)
    codes = np.ascontiguousarray(vectors[order]).view(np.uint8)
    bounds = np.searchsorted(lists[order], np.arange(coarse.count + 1))
    for number in np.unique(lists).tolist():
        start, end = int(bounds[number]), int(bounds[number + 1])
        index.invlists.add_entries(
            number, end - start, faiss.swig_ptr(order[start:end]), faiss.swig_ptr(codes[start:end])
        )
    index.ntotal = len(vectors)
    index.make_direct_map(True)  # `reconstruct` finds rows by it
    return index
