"""A view: an index that follows the log of one (model version, space)."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from app.database.sessions import Database
from app.errors import SnapshotError, VectorStoreLostError
from app.vectors.contract import Changes, Hits, Ids, VectorIndex
from app.vectors.engines import Storage
from app.vectors.repository import LogRepository
from app.vectors.snapshot import SnapshotKey

_log = logging.getLogger(__name__)
VERIFY_EVERY_S = 300.0
"""Seconds between two counts of an index that others feed as well."""

Progress = Callable[[int], None]


def _silent(count: int) -> None:
    """No progress is shown."""


class VectorView:
    """An index that can be lost at any time: the database can always rebuild it.

    Args:
        version_id: the model version whose vectors it holds.
        key: what it is a view of; its space and dimension are those of the view.
        storage: where the index is kept.
    """

    def __init__(self, database: Database, version_id: int, key: SnapshotKey, storage: Storage) -> None:
        self.version_id, self.key, self.storage = version_id, key, storage
        self._database = database
        self._following = threading.Lock()
        self._maintaining = threading.Lock()
        self._held: VectorIndex | None = None
        self._erased = -1
        """Sequence at which the last deletion had been applied."""
        self._verified = time.monotonic()

    @property
    def _index(self) -> VectorIndex:
        if self._held is None:
            raise RuntimeError("a view is opened or rebuilt before it is asked")
        return self._held

    @property
    def sequence(self) -> int:
        """The last sequence number that searches see."""
        return self._index.sequence

    @property
    def count(self) -> int:
        """Number of vectors that searches see."""
        return self._index.count

    @property
    def exact(self) -> bool:
        """Whether every search is exact, without a shortlist."""
        return self._index.exact

    def stored(self) -> int:
        """Number of vectors that the database holds for the view."""
        with self._database.read() as session:
            return LogRepository(session).count(self.version_id, self.key.space)

    def open(self, progress: Progress = _silent) -> None:
        """Start from what is kept if it fits, else from the database; then follow the log to its head.

        Args:
            progress: told the number of vectors so far.
        """
        try:
            if self._reopen(progress):
                return
        except SnapshotError as error:
            _log.warning("the kept index is not used, rebuilding from the database: %s", error.message)
        self._build(progress)
        self.try_save()

    def rebuild(self, progress: Progress = _silent) -> None:
        """Build the index anew from the database and keep it.

        Args:
            progress: told the number of vectors read so far.

        Raises:
            OSError: it cannot be kept; the index is in use all the same.
        """
        self._build(progress)
        self.save()

    def _build(self, progress: Progress) -> None:
        with self._following:
            fresh = self.storage.restart(self._head)
            before = fresh.ids()
            self._load(fresh, progress, alone=True)
            self._remove_strays(fresh, before)
            fresh.compact()
            self._held = fresh
            self._verified = time.monotonic()

    def _remove_strays(self, index: VectorIndex, ids: Ids) -> None:
        """Remove those of some vectors, which were there before the log was replayed, that the log does not have."""
        if not len(ids):
            return
        with self._database.read() as session:
            strays = LogRepository(session).without(self.version_id, self.key.space, ids.tolist())
        if not strays:
            return
        none = np.empty((0, self.key.dim), np.float16)
        index.apply(Changes(index.sequence, ids[:0], none, np.array(strays, np.int64)))
        _log.warning("%s: %d vectors were removed that the database does not have", self.key.space, len(strays))
        # One may have been encoded anew between the look and the removal.
        self._replay(index, alone=True)

    def catch_up(self, sequence: int | None = None) -> None:
        """Apply what the log has gained. Free when `sequence` (the head, as the caller read it) is applied already."""
        if sequence is not None and self._index.sequence >= sequence:
            return
        with self._following:
            if sequence is None or self._index.sequence < sequence:
                self._replay(self._index)

    def search(self, query: NDArray[float32], k: int) -> Hits:
        """The best k images, see `VectorIndex.search`."""
        return self._index.search(query, k)

    def scores(self, query: NDArray[float32], ids: Ids) -> Hits:
        """Scores of the given images, see `VectorIndex.scores`."""
        return self._index.scores(query, ids)

    def among(self, query: NDArray[float32], ids: Ids, k: int) -> Hits:
        """The best k of the given images, see `VectorIndex.among`."""
        return self._index.among(query, ids, k)

    def maintain(self) -> None:
        """Compact, save and count when that is worth it. Deleted vectors leave the disk with the next call."""
        with self._maintaining:
            try:
                self.catch_up()
            except VectorStoreLostError as error:
                _log.warning("%s", error.message)
                self._build(_silent)
            if self._index.wants_compaction:
                self._index.compact()
            if self.storage.wants_save(self._index, self._erased):
                self.save()
            if self.storage.shared and time.monotonic() - self._verified >= VERIFY_EVERY_S:
                self.verify()

    def verify(self) -> None:
        """Count, and build anew if the index does not hold what the database does."""
        self.catch_up()
        self._verified = time.monotonic()
        if (wrong := self._miscounted(self._index)) is not None:
            _log.warning("%s: %s; rebuilding from the database", self.key.space, wrong)
            self._build(_silent)

    def save(self) -> None:
        """Keep the present state for the next start, unless it is kept.

        Raises:
            OSError: it cannot be written; the one before is still there.
        """
        self.storage.save(self._index)

    def try_save(self) -> None:
        """`save` where searches must go on without: on a full disk the next start replays the log instead."""
        try:
            self.save()
        except OSError:
            _log.exception("the index of %s could not be saved; the next start takes longer", self.key.space)

    def _replay(self, index: VectorIndex, *, alone: bool = False) -> None:
        """Apply what follows the index in the log.

        Args:
            alone: also additions that others say they have applied.
        """
        with self._following_log(index, _silent, alone=alone) as pieces:
            for piece in pieces:
                index.apply(piece)

    def _load(self, index: VectorIndex, progress: Progress, *, alone: bool = False) -> None:
        """`_replay` of much, into an index that nobody searches yet."""
        with self._following_log(index, progress, alone=alone) as pieces:
            index.load(pieces)

    @contextmanager
    def _following_log(self, index: VectorIndex, progress: Progress, *, alone: bool) -> Iterator[Iterator[Changes]]:
        added, before = (index.sequence, 0) if alone else (index.added, index.count)
        with self._database.read() as session:
            log = LogRepository(session)
            changes = log.changes(self.version_id, self.key.space, self.key.dim, after=index.sequence, added=added)
            yield self._told(changes, lambda seen: progress(max(index.count, before + seen)))

    def _told(self, pieces: Iterator[Changes], progress: Progress) -> Iterator[Changes]:
        seen = 0
        for piece in pieces:
            yield piece
            if len(piece.deleted):
                self._erased = piece.sequence
            seen += len(piece.ids)
            progress(seen)

    def _reopen(self, progress: Progress) -> bool:
        index = self.storage.reopen(self._head)
        if index is None:
            return False
        with self._following:
            self._load(index, progress)
            if (wrong := self._miscounted(index)) is not None:
                raise SnapshotError(f"the kept index of version {self.version_id}, {self.key.space}: {wrong}")
            self._held = index
            self._verified = time.monotonic()
        return True

    def _miscounted(self, index: VectorIndex) -> str | None:
        """What is wrong with the number of vectors; None also where the log has grown since."""
        counted = index.count
        with self._database.read() as session:
            log = LogRepository(session)
            stored, head = log.count(self.version_id, self.key.space), log.head().sequence
        if head != index.sequence or counted == stored:
            return None
        return f"it holds {counted} vectors, the database {stored}"

    def _head(self) -> int:
        with self._database.read() as session:
            return LogRepository(session).head().sequence
