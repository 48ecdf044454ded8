"""The staging area: one folder for each batch, in which nothing lies that its names could not reach by honest means."""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from app.errors import BatchEntryError, BatchTooLargeError
from app.files import sync_files
from app.settings import Settings

_NAME_BYTES, _DEPTH = 400, 16
_BAD_NAMES = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
"""What an operating system says to a name; everything else it says of the disk."""
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar")


class Stage:
    """The folder of one batch, with what may still be written into it.

    It is locked while its request lives: `sweep` tells by that what a killed server has left.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, settings: Settings, batch_id: str) -> None:
        self.folder = settings.staging_dir / batch_id
        self.pictures = self.folder / "files"
        self._settings = settings
        self._count = self._bytes = 0
        self._lock = _new_folder(self.folder)
        self.pictures.mkdir()

    def create(self, name: str) -> IO[bytes]:
        """Open a new file under a name from outside.

        Raises:
            BatchEntryError: the name is no relative path below the folder, an archive's, or there already.
            BatchTooLargeError: too many files.
            OSError: the disk is full, or fails.
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
            if error.errno not in _BAD_NAMES:
                raise
            raise BatchEntryError(f"{name!r} cannot be kept beside the other files: {error.strerror}") from error

    def account(self, size: int) -> None:
        """Count bytes before they are written.

        Raises:
            BatchTooLargeError: they are too many.
        """
        self._bytes += size
        if self._bytes > self._settings.max_batch_bytes:
            raise BatchTooLargeError(
                f"the files of the batch are larger than {self._settings.max_batch_bytes:,} bytes "
                "(DESCRY_MAX_BATCH_BYTES)"
            )

    def seal(self) -> None:
        """Wait until everything is on stable storage: a batch is acknowledged after that.

        Raises:
            OSError: it cannot be written.
        """
        sync_files(self.pictures, sorted(self.folder.rglob("*")))

    def release(self) -> None:
        """Leave the folder to the job that has it now."""
        os.close(self._lock)

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()


def _new_folder(folder: Path) -> int:
    """Make a folder and lock it; returns the descriptor that holds the lock."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # a `sweep` found it before the lock did, and took it for a dead request's


def check_name(name: str) -> str:
    """A name from outside, if it is a plain relative path on every system.

    Raises:
        BatchEntryError: it is not, or it is the name of an archive.
    """
    parts = name.split("/")
    if not name or "\\" in name or re.match(r"[A-Za-z]:", name) or any(ord(char) < 32 for char in name):
        raise BatchEntryError(f"the name {name!r} is refused: forward slashes, no drive, no control characters")
    if any(part in ("", ".", "..") for part in parts) or len(parts) > _DEPTH or len(name.encode()) > _NAME_BYTES:
        raise BatchEntryError(f"the name {name[:200]!r} is refused: it must be a short relative path without `..`")
    if name.lower().endswith(_ARCHIVES):
        raise BatchEntryError(f"{name!r} is refused: an archive within a batch is not opened")
    return name


def remove_staged(settings: Settings, folder: str) -> None:
    """Delete the staging folder whose pictures lie in `folder`; any other folder is left alone."""
    stage = Path(folder).parent
    if stage.parent == settings.staging_dir.resolve():
        shutil.rmtree(stage, ignore_errors=True)


def sweep(settings: Settings, needed: Callable[[], Collection[str]]) -> None:
    """Delete what killed servers left of uploads, killed workers of jobs that succeeded, and what is too old.

    Args:
        needed: tells the folders of those jobs that run or may be tried again. It is asked when the requests that
            could make such a job of a folder have either done so or are known to be alive.
    """
    if not settings.staging_dir.is_dir():
        return
    with ExitStack() as locks:
        unused = [stage for stage in settings.staging_dir.resolve().iterdir() if _locked(stage, locks)]
        keep = {Path(folder).parent for folder in needed()}
        for stage in unused:
            if stage not in keep:
                shutil.rmtree(stage, ignore_errors=True)


def _locked(stage: Path, locks: ExitStack) -> bool:
    """Lock a folder until the stack ends; False if a request has it, or it is gone."""
    try:
        descriptor = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
        locks.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError, BlockingIOError):
        return False
    return True
