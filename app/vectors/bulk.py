"""Pieces of the log made large, for an index that is built as a whole: a segment at a time, without a delta between."""

from collections.abc import Iterable, Iterator

import numpy as np

from app.vectors.contract import Changes, Half, Ids


def gathered(pieces: Iterable[Changes], rows: int, dim: int, *, after: int) -> Iterator[Changes]:
    """The same log in pieces of `rows` additions, the last of what is left; ids ascend within each.

    A piece keeps the sequence number up to which it is complete: what of a source piece goes into the next one is
    covered by that one's number. Vectors are copied once, into an array of the size of a piece.

    Args:
        pieces: in the order of the log. Where an id comes twice, the later vector stands.
        after: the sequence number before the first of them.
    """
    gathering, sequence = _Gathering(rows, dim), after
    for piece in pieces:
        taken, ids, vectors = 0, piece.ids, piece.vectors
        if len(piece.deleted):
            gathering.delete(piece.deleted)
            stays = ~np.isin(ids, piece.deleted)
            ids, vectors = ids[stays], vectors[stays]
        while taken < len(ids):
            taken += gathering.take(ids[taken:], vectors[taken:])
            if gathering.full and taken < len(ids):
                yield gathering.give(sequence)
        sequence = piece.sequence
        if gathering.full:
            yield gathering.give(sequence)
    yield gathering.give(sequence)


class _Gathering:
    """Room for the additions of one piece, and the deletions that came with them."""

    def __init__(self, rows: int, dim: int) -> None:
        self._rows, self._dim = rows, dim
        self._begin()

    def _begin(self) -> None:
        self._ids: Ids = np.empty(self._rows, np.int64)
        self._vectors: Half = np.empty((self._rows, self._dim), np.float16)
        self._count = 0
        self._deleted: list[Ids] = []

    @property
    def full(self) -> bool:
        return self._count == self._rows

    def delete(self, ids: Ids) -> None:
        self._deleted.append(ids)

    def take(self, ids: Ids, vectors: Half) -> int:
        """Take as many as there is room for; returns how many."""
        size = min(len(ids), self._rows - self._count)
        place = slice(self._count, self._count + size)
        self._ids[place], self._vectors[place] = ids[:size], vectors[:size]
        self._count += size
        return size

    def give(self, sequence: int) -> Changes:
        """What was gathered; then there is room again."""
        ids, vectors = self._ids[: self._count], self._vectors[: self._count]
        deleted = np.concatenate([np.empty(0, np.int64), *self._deleted])
        if (np.diff(ids) <= 0).any():
            # The first of the reversed ones is the last: later vectors stand.
            ids, places = np.unique(ids[::-1], return_index=True)
            vectors = vectors[self._count - 1 - places]
        if len(deleted) and (gone := np.isin(ids, deleted)).any():
            ids, vectors = ids[~gone], vectors[~gone]
        self._begin()
        return Changes(sequence, ids, vectors, deleted)
