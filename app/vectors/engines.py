"""Which engine holds the vectors, and where it keeps the index of a view between two runs of a process."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from app.errors import SnapshotError
from app.settings import Settings
from app.vectors.contract import VectorIndex
from app.vectors.memory import admit, available, estimate
from app.vectors.snapshot import Snapshot, SnapshotKey, SnapshotReader, remove_abandoned, save_snapshot
from app.vectors.tier import Tier

if TYPE_CHECKING:
    from app.vectors.milvus_server import Milvus

EngineName = Literal["faiss", "milvus"]
SNAPSHOT_EVERY = 4096
"""Changes after which a new snapshot is worth its write; fewer are quicker to replay."""


class Storage(ABC):
    """Where the index of one view is kept."""

    shared = False
    """Whether other processes feed the same index, so that what they left undone shows only when it is counted."""

    @abstractmethod
    def reopen(self, head: Callable[[], int]) -> VectorIndex | None:
        """The index as it was kept; None if none was.

        Args:
            head: reads the head of the log: what is ahead of it belongs to another past.

        Raises:
            SnapshotError: it does not fit, or is damaged.
        """

    @abstractmethod
    def restart(self, head: Callable[[], int]) -> VectorIndex:
        """An index at sequence 0, to apply the whole log to. It may hold vectors already."""

    @abstractmethod
    def save(self, index: VectorIndex) -> None:
        """Keep the present state, unless it is kept.

        Raises:
            OSError: it cannot be written; the one before is still there.
        """

    @abstractmethod
    def wants_save(self, index: VectorIndex, erased: int) -> bool:
        """Whether `save` is worth its cost; always if a deletion, at sequence `erased`, is not in what is kept."""


class Engine(ABC):
    """An engine as it is configured. Nothing is opened before it is needed."""

    @abstractmethod
    def storage(self, version_id: int, key: SnapshotKey) -> Storage:
        """Where the index of a view is kept."""

    def admit(self, count: int, dims: Sequence[int]) -> None:
        """Refuse what would not fit into the memory of this process, before it is begun.

        Args:
            count: vectors in each space.
            dims: of the spaces.

        Raises:
            MemoryShortError: it would not.
        """
        return  # what another process holds is its affair

    @abstractmethod
    def forget(self, version_id: int, history: str) -> None:
        """Remove what is kept of a model version.

        Args:
            history: name of the log that its vectors are in.
        """

    @abstractmethod
    def close(self) -> None:
        """End connections. The engine may be used again."""


class SnapshotFile(Storage):
    """FAISS: an index in memory, and its snapshot in a file."""

    def __init__(self, path: Path, key: SnapshotKey, tier: Tier | None = None) -> None:
        self.path, self._key, self._tier = path, key, tier
        self._saved = -1
        """Sequence of the last snapshot that was read or written."""

    def reopen(self, head: Callable[[], int]) -> VectorIndex | None:
        from app.vectors.faiss_engine import FaissIndex

        remove_abandoned(self.path)
        if not self.path.exists():
            return None
        with SnapshotReader(self.path, self._key, at_most=head).open() as found:
            index = FaissIndex.restored(self._key.dim, found.sequence, found.coarse, found.pieces, self._tier)
        self._saved = found.sequence
        return index

    def restart(self, head: Callable[[], int]) -> VectorIndex:
        from app.vectors.faiss_engine import FaissIndex

        self._saved = -1
        return FaissIndex(self._key.dim, tier=self._tier)

    def save(self, index: VectorIndex) -> None:
        if self._saved == index.sequence and self.path.exists():
            return
        sequence, coarse, pieces = index.pieces()
        save_snapshot(self.path, Snapshot(self._key, sequence, coarse, pieces))
        self._saved = sequence

    def wants_save(self, index: VectorIndex, erased: int) -> bool:
        return erased > self._saved or index.sequence - self._saved >= SNAPSHOT_EVERY


class FaissEngine(Engine):
    """Indexes in this process, snapshots in a folder."""

    def __init__(self, folder: Path, tier: Tier | None = None, *, check_memory: bool = False) -> None:
        self._folder, self._tier, self._check_memory = folder, tier, check_memory

    def storage(self, version_id: int, key: SnapshotKey) -> SnapshotFile:
        return SnapshotFile(self._folder / f"version-{version_id}-{key.space}.index", key, self._tier)

    def admit(self, count: int, dims: Sequence[int]) -> None:
        if self._check_memory:
            admit(estimate(count, dims, self._tier or Tier()), available())

    def forget(self, version_id: int, history: str) -> None:
        for path in self._folder.glob(f"version-{version_id}-*.index"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        return  # there are none


class MilvusCollection(Storage):
    """Milvus: a collection, which knows how far it has followed the log."""

    shared = True

    def __init__(self, milvus: "Milvus", name: str, dim: int) -> None:
        self.name = name
        self._milvus, self._dim = milvus, dim

    def reopen(self, head: Callable[[], int]) -> VectorIndex | None:
        from app.vectors.milvus_engine import MilvusIndex

        if not self._milvus.ask("has_collection", self.name):
            return None
        index = MilvusIndex(self._milvus, self.name, self._dim)
        # In this order: who reads the head before the position sees what others have applied in between as ahead of it.
        if index.sequence > (known := head()):
            raise SnapshotError(f"{self.name} is at sequence {index.sequence}, ahead of the database at {known}")
        return index

    def restart(self, head: Callable[[], int]) -> VectorIndex:
        from app.vectors.milvus_engine import MilvusIndex

        index = MilvusIndex(self._milvus, self.name, self._dim)
        index.begin_again(at_most=head())
        return index

    def save(self, index: VectorIndex) -> None:
        return  # Milvus keeps what it has answered

    def wants_save(self, index: VectorIndex, erased: int) -> bool:
        return False


class MilvusEngine(Engine):
    """Indexes in a Milvus that all processes of a deployment share; or in Milvus Lite, which one process has."""

    def __init__(self, uri: str, token: str = "") -> None:
        self._uri, self._token = uri, token
        self._making = threading.Lock()
        self._milvus: Milvus | None = None

    def storage(self, version_id: int, key: SnapshotKey) -> MilvusCollection:
        # The fingerprint is part of the name: vectors of another checkpoint are never taken for those of this one.
        name = f"{_prefix(version_id, key.history)}{key.space}_{key.fingerprint[:16]}"
        return MilvusCollection(self._server(), name, key.dim)

    def forget(self, version_id: int, history: str) -> None:
        milvus = self._server()
        for name in milvus.ask("list_collections"):
            if name.startswith(_prefix(version_id, history)):
                milvus.ask("drop_collection", name)

    def close(self) -> None:
        if self._milvus is not None:
            self._milvus.close()

    def _server(self) -> "Milvus":
        from app.vectors.milvus_server import Milvus

        with self._making:
            if self._milvus is None:
                self._milvus = Milvus(self._uri, self._token)
            return self._milvus


def _prefix(version_id: int, history: str) -> str:
    return f"descry_{history}_{version_id}_"


def open_engine(settings: Settings, name: EngineName | None = None) -> Engine:
    """The engine that the settings ask for, or another one by its name."""
    if (name or settings.vector_engine) == "faiss":
        return FaissEngine(settings.index_dir, tier_of(settings), check_memory=settings.memory_check)
    return MilvusEngine(settings.milvus, settings.milvus_token.get_secret_value())


def tier_of(settings: Settings) -> Tier:
    """How FAISS searches by these settings."""
    return Tier(settings.exact_up_to or None, settings.search_threads, gpu=settings.gpu_index)
