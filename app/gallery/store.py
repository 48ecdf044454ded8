"""Pictures under internal names that tell nothing: the contract of every image store.

    <2 hex>/<2 hex>/<32 hex>.jpg         the upright picture
    <2 hex>/<2 hex>/<32 hex>.thumb.jpg   its thumbnail, unless it is as small itself
    <2 hex>/<2 hex>/<32 hex>.blur.jpg    instead of that, while heads are blurred, the thumbnail in which they are

The database decides what exists. A change writes the names that it touches into a journal file, then the pictures,
then commits its rows; whatever way it ends, `settle` removes those named pictures that no row refers to. A process
that is killed leaves its journal behind, and `recover` settles it at the next start. Journals lie in the data folder,
whatever the store: the lock on a journal says exactly whether its owner lives, which no object in a bucket can.
"""

import fcntl
import logging
import os
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO, TextIOWrapper
from pathlib import Path

from app.errors import DatabaseUnreachableError, StorageError
from app.files import check_free, sync_folder

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{32}")
_SWEEP = 1000
PICTURE, THUMBNAIL, BLURRED = ".jpg", ".thumb.jpg", ".blur.jpg"
"""What follows the name."""
KINDS = (PICTURE, THUMBNAIL, BLURRED)

Referenced = Callable[[Sequence[str]], set[str]]
"""Which of these store names some row refers to."""


class ImageStore(ABC):
    """Pictures appear whole or not at all, and are on stable storage before `StoreChange.seal` ends.

    Every method may raise StorageError, which says what to do. Safe from several threads and processes.
    """

    def __init__(self, journals: Path, referenced: Referenced) -> None:
        self._journals = journals
        self._referenced = referenced
        self._unsettled = False
        self.min_free_bytes: int | None = 0
        """What must stay free on the disk of the data folder when pictures are added; see `app.files.check_free`."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the pictures are, for people."""

    @abstractmethod
    def check(self) -> None:
        """Ask the store for a sign of life; bounded in time."""

    @abstractmethod
    def read(self, name: str, *, thumbnail: bool = False) -> bytes | None:
        """The bytes of a picture, or of its thumbnail (a small picture is its own); None if there is none."""

    @abstractmethod
    def read_blurred(self, name: str) -> bytes | None:
        """The bytes of a thumbnail with blurred heads; None if none is stored."""

    @abstractmethod
    def holds(self, name: str, kind: str) -> bool:
        """Whether there is a file of one of `KINDS`."""

    @abstractmethod
    def names(self, *, older_than_s: float = 0.0) -> Iterator[str]:
        """Every name in the store that was written that long ago."""

    def put_back(self, name: str, picture: bytes, thumbnail: bytes | None) -> None:
        """Write a picture under the name that it had in the store that a backup was taken of; see `keep`.

        Raises:
            StorageError: the store is full, away, or refuses; or the name is none of a store.
        """
        if not _NAME.fullmatch(name):
            raise StorageError(f"{name!r} is not a name of a picture; the backup was not made by Descry")
        self._begin(name.rpartition("/")[0])
        self._write(name, picture, thumbnail)

    def keep(self, names: Sequence[str]) -> None:
        """Wait until pictures that were put back are on stable storage."""
        for folder in sorted({name.rpartition("/")[0] for name in names}):
            self._seal(folder)

    def path(self, name: str, *, thumbnail: bool = False) -> Path | None:
        """Where the bytes lie as a file of this machine, in stores that are folders."""
        return None

    def close(self) -> None:
        """End connections, where the store has any."""
        return

    @abstractmethod
    def _begin(self, folder: str) -> None:
        """New names will be written that begin with this."""

    @abstractmethod
    def _write(self, name: str, picture: bytes, thumbnail: bytes | None) -> None: ...

    @abstractmethod
    def _write_blurred(self, name: str, data: bytes) -> None: ...

    @abstractmethod
    def _put(self, name: str, kind: str, data: bytes) -> None:
        """Write a file beside a picture that has its row: whole or not at all, durable when it returns."""

    @abstractmethod
    def _drop(self, name: str, kind: str) -> None:
        """Remove one file of a name, if it is there."""

    @abstractmethod
    def _seal(self, folder: str) -> None: ...

    @abstractmethod
    def _remove(self, names: Sequence[str]) -> None:
        """Remove every file of names, some of which may not exist; gone for good when it returns."""

    @contextmanager
    def change(self, *, new: int = 0) -> Iterator["StoreChange"]:
        """A change of pictures that goes with one transaction of the database, which must end inside the block.

        Args:
            new: how many pictures will be written; their names are `StoreChange.names`.
        """
        if self._unsettled:
            self.recover()
        with _storage_errors(self._journals):
            self._journals.mkdir(parents=True, exist_ok=True)
            if new:
                check_free(self._journals, self.min_free_bytes)
        # All pictures of one change share a folder, so that one fsync makes all their names durable.
        folder = f"{secrets.token_hex(1)}/{secrets.token_hex(1)}"
        names = [f"{folder}/{secrets.token_hex(16)}" for _ in range(new)]
        with self._journal() as journal:
            path = Path(journal.name)
            change = StoreChange(self, folder, names, journal)
            try:
                with _storage_errors(self._journals):
                    change.note(names)
                    sync_folder(self._journals)
                    if names:
                        self._begin(folder)
                yield change
            except BaseException:
                self._settle_or_leave(path, change.noted)  # what went wrong first is what must be heard of
                raise
            if change.dooms:
                self._settle(path, change.noted)  # nobody is told that a picture is erased before it is
            else:
                self._settle_or_leave(path, change.noted)

    @contextmanager
    def _journal(self) -> Iterator[FileIO]:
        while True:
            journal = self._journals / secrets.token_hex(16)
            with _storage_errors(self._journals):
                opened = FileIO(journal, "x")  # without a buffer, which would be written once more when it is closed
            with opened as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)  # held while this process lives: `recover` leaves it alone
                if os.fstat(handle.fileno()).st_nlink == 0:
                    continue  # a `recover` found it before the lock did, and took it for a dead process's
                yield handle
                return

    def recover(self) -> int:
        """Settle the journals of processes that died, and those of changes whose store was away; returns how many."""
        settled = 0
        self._unsettled = False
        for journal in sorted(self._journals.glob("*")) if self._journals.is_dir() else ():
            try:
                with journal.open(encoding="utf-8") as handle:
                    if _locked_by_other(handle):
                        continue
                    settled += self._settle_or_leave(journal, handle.read().split())
            except FileNotFoundError:
                continue  # its owner finished meanwhile
        return settled

    def sweep(self, *, older_than_s: float = 86_400.0, delete: bool = True) -> int:
        """Remove (or only count) every picture that is old enough and has no row; returns how many.

        For a data folder, and with it the journals, that was lost. Never done unasked: beside a wrong or empty
        database, every picture has no row.
        """
        removed, batch = 0, list[str]()
        for name in self.names(older_than_s=older_than_s):
            batch.append(name)
            if len(batch) == _SWEEP:
                removed += self._remove_unreferenced(batch, delete=delete)
                batch = []
        return removed + self._remove_unreferenced(batch, delete=delete)

    def _settle_or_leave(self, journal: Path, names: Sequence[str]) -> bool:
        try:
            self._settle(journal, names)
        except (StorageError, DatabaseUnreachableError) as error:
            _log.warning("pictures without rows are left in %s for now: %s", self.place, error)
            return False
        return True

    def _settle(self, journal: Path, names: Sequence[str]) -> None:
        try:
            self._remove_unreferenced([name for name in names if _NAME.fullmatch(name)])
        except (StorageError, DatabaseUnreachableError):
            self._unsettled = True  # the journal stays: the next change tries again, or the next start
            raise
        journal.unlink(missing_ok=True)

    def _remove_unreferenced(self, names: Sequence[str], *, delete: bool = True) -> int:
        kept = self._referenced(names) if names else set()
        gone = [name for name in names if name not in kept]
        if gone and delete:
            self._remove(gone)
        return len(gone)


class StoreChange:
    """The pictures of one change; see `ImageStore.change`."""

    def __init__(self, store: ImageStore, folder: str, names: list[str], journal: FileIO) -> None:
        self.names = names
        self.noted: list[str] = []
        """Every name that the change touches."""
        self.dooms = False
        self._store, self._journal, self._folder = store, journal, folder

    def note(self, names: Sequence[str]) -> None:
        """Write names into the journal.

        Raises:
            StorageError: the data folder is full or refuses.
        """
        self.noted.extend(names)
        with _storage_errors(Path(str(self._journal.name)).parent):
            left = "".join(f"{name}\n" for name in names).encode()
            while left:
                left = left[self._journal.write(left) :]
            os.fsync(self._journal.fileno())

    def doom(self, names: Sequence[str]) -> None:
        """Say whose rows the transaction deletes: their pictures go when the block ends, if it was committed.

        The end of the block then raises StorageError if the store is away: the rows are gone, the pictures follow.
        """
        self.dooms = True
        self.note(names)

    def write(self, name: str, picture: bytes, thumbnail: bytes | None) -> None:
        """Write picture and thumbnail of a name; `seal` makes them durable. Safe from several threads.

        Raises:
            StorageError: the store is full, away, or refuses.
        """
        self._store._write(name, picture, thumbnail)

    def write_blurred(self, name: str, data: bytes) -> None:
        """Write the thumbnail with blurred heads of a name, as `write` does.

        Raises:
            StorageError: the store is full, away, or refuses.
        """
        self._store._write_blurred(name, data)

    def replace(self, name: str, *, put: tuple[str, bytes] | None, drop: str) -> None:
        """Put another thumbnail beside a picture that has its row, then remove the one that it stands for.

        The name must be noted before: if its image is erased meanwhile, the end of the change removes what was put.

        Args:
            put: kind and bytes; None if only the other one goes.
            drop: the kind that goes.

        Raises:
            StorageError: the store is full, away, or refuses.
        """
        assert name in self.noted
        if put is not None:
            self._store._put(name, *put)
        self._store._drop(name, drop)

    def seal(self) -> None:
        """Wait until everything that was written is on stable storage. Call it before the commit.

        Raises:
            StorageError: the store is full, away, or refuses.
        """
        self._store._seal(self._folder)


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}") from error


def _locked_by_other(handle: TextIOWrapper) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
