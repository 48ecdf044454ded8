"""What a vector index is. Every engine passes the same tests."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from app.vectors.lists import Coarse

Ids = NDArray[np.int64]
Half = NDArray[np.float16]
Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Changes:
    """A piece of the log of one view, in order.

    Attributes:
        sequence: the last sequence number that the piece covers.
        ids: (n,) image ids that were added. One that is there already gets the new vector: its version was retired and
            is encoded anew.
        vectors: (n, dim) their unit-norm vectors, as stored.
        deleted: (m,) image ids that were deleted, known to this view or not.
    """

    sequence: int
    ids: Ids
    vectors: Half
    deleted: Ids


@dataclass(frozen=True, slots=True)
class Piece:
    """Some vectors of an index: ids (n,), vectors (n, dim), and the inverted list of each (n,) where it has them."""

    ids: Ids
    vectors: Half
    lists: NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True)
class Hits:
    """Ranked answers: ids (k,) and scores (k,), by score descending, equal scores by id ascending."""

    ids: Ids
    scores: Scores


class VectorIndex(ABC):
    """Nearest vectors by inner product.

    Searches run beside `apply` and see the state before it or after it; on a store that several processes share, each
    vector as it was before or after.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim

    @property
    @abstractmethod
    def sequence(self) -> int:
        """The last sequence number that was applied; 0 when new."""

    @property
    def added(self) -> int:
        """Up to which sequence number additions are in the index, whoever applied them.

        Beyond `sequence` on a store that others feed as well: those additions need not be applied again. Deletions
        after `sequence` must be, by everyone, also those that others have applied: an addition that was under way
        here meanwhile may have undone them there.
        """
        return self.sequence

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of vectors that a search can return."""

    @property
    def exact(self) -> bool:
        """Whether every search looks at every vector; an engine that makes shortlists says when it does not."""
        return True

    @abstractmethod
    def apply(self, changes: Changes) -> None:
        """Apply a piece of the log that follows `sequence`. Not to be called from two threads at once."""

    def load(self, pieces: Iterable[Changes]) -> None:
        """`apply` a long log, piece by piece; an engine may do better where nobody searches yet. As `apply`, not to be
        called beside it."""
        for piece in pieces:
            self.apply(piece)

    @abstractmethod
    def search(self, query: NDArray[np.float32], k: int) -> Hits:
        """The best min(k, count) vectors for a (dim,) query."""

    @abstractmethod
    def scores(self, query: NDArray[np.float32], ids: Ids) -> Hits:
        """Scores of the given ids, those that are not in the index left out; ranked as `search` ranks."""

    def among(self, query: NDArray[np.float32], ids: Ids, k: int) -> Hits:
        """The best k of the given ids, those that are not in the index left out; an engine may do better than this.

        Args:
            ids: each of them once.
        """
        found = self.scores(query, ids)
        return Hits(found.ids[:k], found.scores[:k])

    @abstractmethod
    def ids(self) -> Ids:
        """Ids of all vectors, in no particular order."""

    @abstractmethod
    def contents(self) -> tuple[int, Ids, Half]:
        """One consistent state: its sequence, the ids and the vectors, in no particular order."""

    def pieces(self) -> "tuple[int, Coarse | None, Iterator[Piece]]":
        """One consistent state, piece by piece: its sequence, its lists if it has some, the vectors, each once."""
        sequence, ids, vectors = self.contents()
        return sequence, None, iter([Piece(ids, vectors)] if len(ids) else [])

    @property
    @abstractmethod
    def wants_compaction(self) -> bool:
        """Whether `compact` would make searches cheaper by enough to be worth its cost."""

    @abstractmethod
    def compact(self) -> None:
        """Fold recent changes into the base. Searches and `apply` may go on meanwhile."""
