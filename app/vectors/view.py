"""A view: an index that follows the log of one (model version, space)."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from numpy import float32
from numpy.typing import NDArray

from app.database.sessions import Database
from app.errors import SnapshotError
from app.vectors.contract import Hits, Ids
from app.vectors.faiss_engine import FaissIndex, Tier
from app.vectors.repository import LogRepository
from app.vectors.snapshot import Snapshot, SnapshotKey, SnapshotReader, remove_abandoned, save_snapshot

_log = logging.getLogger(__name__)
SNAPSHOT_EVERY = 4096
"""Changes after which a new snapshot is worth its write; fewer are quicker to replay."""


class VectorView:
    """An index that can be lost at any time: the database can always rebuild it.

    Args:
        version_id: the model version whose vectors it holds.
        key: what its snapshot is of; its space and dimension are those of the view.
        folder: where snapshots lie.
    """

    def __init__(
        self, database: Database, version_id: int, key: SnapshotKey, folder: Path, tier: Tier | None = None
    ) -> None:
        self.version_id, self.key = version_id, key
        self.path = folder / f"version-{version_id}-{key.space}.index"
        self._database = database
        self._following = threading.Lock()
        self._maintaining = threading.Lock()
        self._tier = Tier() if tier is None else tier
        self._index = FaissIndex(key.dim, tier=self._tier)
        self._saved = -1
        """Sequence of the last snapshot that was read or written."""
        self._erased = -1
        """Sequence at which the last deletion had been applied."""

    @property
    def sequence(self) -> int:
        """The last sequence number that searches see."""
        return self._index.sequence

    @property
    def count(self) -> int:
        """Number of vectors that searches see."""
        return self._index.count

    def stored(self) -> int:
        """Number of vectors that the database holds for the view."""
        with self._database.read() as session:
            return LogRepository(session).count(self.version_id, self.key.space)

    def open(self) -> None:
        """Start from the snapshot if it fits, else from the database; then follow the log to its head."""
        remove_abandoned(self.path)
        try:
            self._start_from_snapshot()
        except SnapshotError as error:
            if self.path.exists():
                _log.warning("index snapshot not used, rebuilding from the database: %s", error.message)
            self._build(lambda count: None)
            self.try_save()

    def rebuild(self, progress: Callable[[int], None] = lambda count: None) -> None:
        """Build the index anew from the database and write its snapshot.

        Args:
            progress: told the number of vectors read so far.

        Raises:
            OSError: the snapshot cannot be written; the index is in use all the same.
        """
        self._build(progress)
        self.save()

    def _build(self, progress: Callable[[int], None]) -> None:
        with self._following:
            fresh = FaissIndex(self.key.dim, tier=self._tier)
            self._replay(fresh, progress)
            fresh.compact()
            self._index = fresh

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

    def maintain(self) -> None:
        """Compact and save when that is worth it. Deleted vectors leave the disk with the next call."""
        with self._maintaining:
            self.catch_up()
            if self._index.wants_compaction:
                self._index.compact()
            if self._erased > self._saved or self._index.sequence - self._saved >= SNAPSHOT_EVERY:
                self.save()

    def save(self) -> None:
        """Write a snapshot of the present state, unless the last one is of it.

        Raises:
            OSError: it cannot be written; the one before is still there.
        """
        if self._saved == self._index.sequence and self.path.exists():
            return
        sequence, coarse, pieces = self._index.pieces()
        save_snapshot(self.path, Snapshot(self.key, sequence, coarse, pieces))
        self._saved = sequence

    def try_save(self) -> None:
        """`save` where searches must go on without: on a full disk the next start replays the log instead."""
        try:
            self.save()
        except OSError:
            _log.exception("the index snapshot %s could not be written; the next start takes longer", self.path.name)

    def _replay(self, index: FaissIndex, progress: Callable[[int], None] = lambda count: None) -> None:
        with self._database.read() as session:
            log = LogRepository(session)
            for changes in log.changes(self.version_id, self.key.space, self.key.dim, after=index.sequence):
                index.apply(changes)
                if len(changes.deleted):
                    self._erased = changes.sequence
                progress(index.count)

    def _start_from_snapshot(self) -> None:
        with self._database.read() as session:
            head = LogRepository(session).head()
        with SnapshotReader(self.path, self.key, at_most=head.sequence).open() as found:
            index = FaissIndex.restored(self.key.dim, found.sequence, found.coarse, found.pieces, self._tier)
        with self._following:
            self._replay(index)
            with self._database.read() as session:
                stored = LogRepository(session).count(self.version_id, self.key.space)
                later = LogRepository(session).head().sequence != index.sequence
            if not later and stored != index.count:
                raise SnapshotError(f"{self.path.name} holds {index.count} vectors, the database {stored}")
            self._index = index
            self._saved = found.sequence
