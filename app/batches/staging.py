"""The staging area: one folder for each batch, in which nothing lies that its names could not reach by honest means.

The folder of a batch has the name of its job. While a batch arrives, its process holds a lock on the folder, which the
system gives back however the process ends: what has neither lock nor job is left over from one that was killed.
"""

import errno
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.batches.room import Room
from app.database.sessions import Database
from app.errors import BatchEntryError, BatchTooLargeError, StorageError
from app.files import sync_files
from app.gallery.sources import MANIFESTS
from app.jobs.repository import FINAL, JobRepository
from app.jobs.service import JobService
from app.settings import Settings

_NAME_BYTES, _DEPTH = 400, 16
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar")
_OF_THE_NAME = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
"""Errors that another name would not have met."""


class Stage:
    """The folder of one batch, with what may still be written into it.

    Raises:
        UploadsBusyError, StagingFullError, DiskLowError: there is no room for a batch (of `expected` bytes) now.
        StorageError: the staging area cannot be written.
    """

    def __init__(self, settings: Settings, batch_id: str, room: Room | None = None, *, expected: int = 0) -> None:
        self.folder = settings.staging_dir / batch_id
        self.pictures = self.folder / "files"
        self._settings, self._room = settings, room or Room(settings)
        self._count = self._bytes = 0
        self._room.enter(batch_id, expected)
        try:
            self._lock = _locked(self.folder)
            self.pictures.mkdir()
        except OSError as error:
            self._room.leave(batch_id, kept=False)
            raise StorageError(f"{self.folder} cannot be made: {error.strerror}") from error

    def create(self, name: str) -> IO[bytes]:
        """Open a new file under a name from outside.

        Raises:
            BatchEntryError: the name is no relative path below the folder, an archive's, or there already.
            BatchTooLargeError: too many files.
            StorageError: the disk is full or refuses.
        """
        self._count += 1
        if self._count > self._settings.max_batch_files:
            raise BatchTooLargeError(
                f"the batch has more than {self._settings.max_batch_files:,} files (DESCRY_MAX_BATCH_FILES)"
            )
        path = self.pictures / check_name(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("xb")
        except OSError as error:
            if error.errno not in _OF_THE_NAME:
                raise StorageError(f"the batch cannot be staged: {error.strerror}") from error
            raise BatchEntryError(f"{name!r} cannot be kept beside the other files: {error.strerror}") from error

    def account(self, size: int) -> None:
        """Count bytes of the batch before they are written.

        Raises:
            BatchTooLargeError: they are too many.
            StagingFullError, DiskLowError: there is no room for them.
        """
        self._bytes += size
        if self._bytes > self._settings.max_batch_bytes:
            raise BatchTooLargeError(
                f"the files of the batch are larger than {self._settings.max_batch_bytes:,} bytes "
                "(DESCRY_MAX_BATCH_BYTES)"
            )
        self.reserve(size)

    def reserve(self, size: int) -> None:
        """Count bytes that lie beside the batch for a while, such as its archive; negative when they are gone.

        Raises:
            StagingFullError, DiskLowError: there is no room for them.
        """
        self._room.take(self.folder.name, size)

    def keep(self) -> None:
        """Leave the files to the job of this name, which the database must know by now."""
        self._room.leave(self.folder.name, kept=True)
        os.close(self._lock)

    def seal(self) -> None:
        """Wait until everything is on stable storage: a batch is acknowledged after that.

        Raises:
            OSError: it cannot be written.
        """
        sync_files(self.pictures, sorted(self.folder.rglob("*")))

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._room.leave(self.folder.name, kept=False)
        os.close(self._lock)


@contextmanager
def passing_stage(settings: Settings) -> Iterator[Stage]:
    """A stage for the length of a block."""
    stage = Stage(settings, f"here-{uuid.uuid4()}")
    try:
        yield stage
    finally:
        stage.remove()


def check_name(name: str) -> str:
    """A name from outside, if it is a plain relative path on every system.

    Raises:
        BatchEntryError: it is not, or it is the name of an archive.
    """
    parts = name.split("/")
    if not name or "\\" in name or re.match(r"[A-Za-z]:", name) or any(ord(char) < 32 for char in name):
        raise BatchEntryError(f"the name {name!r} is refused: forward slashes, no drive, no control characters")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise BatchEntryError(f"the name {name[:200]!r} is refused: it is not valid Unicode text") from None
    if any(part in ("", ".", "..") for part in parts) or len(parts) > _DEPTH or size > _NAME_BYTES:
        raise BatchEntryError(f"the name {name[:200]!r} is refused: it must be a short relative path without `..`")
    if name.lower().endswith(_ARCHIVES):
        raise BatchEntryError(f"{name!r} is refused: an archive within a batch is not opened")
    return name


def reduce_staged(settings: Settings, folder: str, needed: Collection[str] | None) -> None:
    """Free what a job that has ended leaves in its staging folder.

    Args:
        folder: where the pictures of the batch lie; any folder that is no staging folder is left alone.
        needed: names of the files that a retry would take again; they stay, with the manifest. None: all of them.
    """
    stage = Path(folder).parent
    if needed is None or stage.parent != settings.staging_dir.resolve():
        return
    if not needed:
        shutil.rmtree(stage, ignore_errors=True)
        return
    kept = {Path(folder) / name for name in (*needed, *MANIFESTS)}  # the manifest says who is on the files that stay
    for path in Path(folder).rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink(missing_ok=True)


def sweep(settings: Settings, database: Database) -> int:
    """Delete the batches that nobody needs any more; returns how many.

    Needed are batches that arrive just now, those of open jobs, and for `staging_keep_s` what a retry of jobs that have
    ended would take: a worker that was killed may have ended a job, and not have come to the rest.
    """
    area = settings.staging_dir.resolve()
    if not area.is_dir():
        return 0
    gone, ended = [], []
    # Within the write lock, or a retry could begin between the look and the removal.
    with database.write() as session:
        staged = {job: Path(job.parameters["folder"]) for job in JobRepository(session).staged(settings.staging_keep_s)}
        needed = {folder.parent for folder in staged.values()}
        for job, folder in staged.items():
            if job.state in FINAL and folder.is_dir():
                ended.append((str(folder), JobService(session).needed(job)))
        for stage in area.iterdir():
            if stage in needed or not stage.is_dir():
                continue
            descriptor = os.open(stage, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                gone.append(stage.rename(area / f"gone-{uuid.uuid4()}"))
            except BlockingIOError:
                pass
            finally:
                os.close(descriptor)
    for stage in gone:
        shutil.rmtree(stage, ignore_errors=True)
    for place, names in ended:  # a retry that begins now takes just these
        reduce_staged(settings, place, names)
    return len(gone)


def _locked(folder: Path) -> int:
    """Make a folder and hold the lock on it; returns the descriptor that does so."""
    while True:
        folder.mkdir(parents=True)
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
        os.close(descriptor)  # a sweep came between the making and the lock
