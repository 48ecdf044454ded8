"""Pictures on disk, under internal names that tell nothing.

    images/<2 hex>/<2 hex>/<32 hex>.jpg         the upright picture
    images/<2 hex>/<2 hex>/<32 hex>.thumb.jpg   its thumbnail, unless it is as small itself
    images/journal/<32 hex>                     the names that a change in progress creates or removes

The database decides what exists. A change writes the names that it touches into a journal file, then the pictures,
then commits its rows; whatever way it ends, `settle` removes those named files that no row refers to. A process that
is killed leaves its journal behind, and `recover` settles it at the next start.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from app.errors import StorageError
from app.files import sync_files, sync_folder

_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{32}")

Referenced = Callable[[Sequence[str]], set[str]]
"""Which of these store names some row refers to."""


class ImageStore:
    """The image folder. Files appear whole or not at all, and are on stable storage before `StoreChange.seal` ends."""

    def __init__(self, folder: Path, referenced: Referenced) -> None:
        self.folder = folder
        self._journals = folder / "journal"
        self._referenced = referenced

    def picture_path(self, name: str) -> Path:
        """Where the upright picture of a store name lies."""
        return self.folder / f"{name}.jpg"

    def thumbnail_path(self, name: str) -> Path:
        """Where the thumbnail of a store name lies; a small picture is its own (a file less to make for each crop)."""
        path = self._own_thumbnail(name)
        return path if path.exists() else self.picture_path(name)

    def _own_thumbnail(self, name: str) -> Path:
        return self.folder / f"{name}.thumb.jpg"

    @contextmanager
    def change(self, *, new: int = 0) -> Iterator["StoreChange"]:
        """A change of files that goes with one transaction of the database, which must end inside the block.

        Args:
            new: how many pictures will be written; their names are `StoreChange.names`.
        """
        self._journals.mkdir(parents=True, exist_ok=True)
        # All pictures of one change share a folder, so that one fsync makes all their names durable.
        place = f"{secrets.token_hex(1)}/{secrets.token_hex(1)}"
        names = [f"{place}/{secrets.token_hex(16)}" for _ in range(new)]
        with self._journal() as journal:
            change = StoreChange(self, place, names, journal)
            try:
                change.note(names)
                sync_folder(self._journals)
                yield change
            finally:
                self._settle(Path(journal.name), change.noted)

    @contextmanager
    def _journal(self) -> Iterator[TextIOWrapper]:
        while True:
            journal = self._journals / secrets.token_hex(16)
            with journal.open("x", encoding="utf-8") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)  # held while this process lives: `recover` leaves it alone
                if os.fstat(handle.fileno()).st_nlink == 0:
                    continue  # a `recover` found it before the lock did, and took it for a dead process's
                yield handle
                return

    def recover(self) -> int:
        """Settle the journals of processes that died; returns how many."""
        settled = 0
        for journal in sorted(self._journals.glob("*")) if self._journals.is_dir() else ():
            try:
                with journal.open(encoding="utf-8") as handle:
                    if _locked_by_other(handle):
                        continue
                    self._settle(journal, handle.read().split())
                    settled += 1
            except FileNotFoundError:
                continue  # its owner finished meanwhile
        return settled

    def _settle(self, journal: Path, names: Sequence[str]) -> None:
        gone = [name for name in names if _NAME.fullmatch(name)]
        kept = self._referenced(gone)
        folders = set()
        for name in gone:
            if name not in kept:
                self.picture_path(name).unlink(missing_ok=True)
                self._own_thumbnail(name).unlink(missing_ok=True)
                folders.add(self.picture_path(name).parent)
        for folder in folders:  # erased means erased, also after a power failure
            if folder.is_dir():
                sync_folder(folder)
        journal.unlink(missing_ok=True)


class StoreChange:
    """The files of one change; see `ImageStore.change`."""

    def __init__(self, store: ImageStore, place: str, names: list[str], journal: TextIOWrapper) -> None:
        self.names = names
        self.noted: list[str] = []
        """Every name that the change touches."""
        self._store, self._journal = store, journal
        self._folder = store.folder / place
        if names:
            self._folder.mkdir(parents=True, exist_ok=True)

    def note(self, names: Sequence[str]) -> None:
        """Write names into the journal."""
        self.noted.extend(names)
        self._journal.writelines(f"{name}\n" for name in names)
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def doom(self, names: Sequence[str]) -> None:
        """Say whose rows the transaction deletes: their files go when the block ends, if it was committed."""
        self.note(names)

    def write(self, name: str, picture: bytes, thumbnail: bytes | None) -> None:
        """Write the files of a name; `seal` makes them durable. Safe from several threads.

        Raises:
            StorageError: the disk is full, or refuses.
        """
        try:
            _write(self._folder / f"{Path(name).name}.jpg", picture)
            if thumbnail is not None:
                _write(self._folder / f"{Path(name).name}.thumb.jpg", thumbnail)
        except OSError as error:
            raise StorageError(f"a picture cannot be stored in {self._store.folder}: {error.strerror}") from error

    def seal(self) -> None:
        """Wait until everything that was written is on stable storage. Call it before the commit.

        Raises:
            StorageError: the disk is full, or refuses.
        """
        try:
            sync_files(self._folder, sorted(self._folder.iterdir()))
        except OSError as error:
            raise StorageError(f"pictures cannot be stored in {self._store.folder}: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    # No rename: nothing reads a name before its row is committed, and a torn file has no row.
    with path.open("xb") as handle:
        handle.write(data)


def _locked_by_other(handle: TextIOWrapper) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
