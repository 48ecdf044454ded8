"""The staging area: one folder for each batch, in which nothing lies that its names could not reach by honest means."""

import re
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import IO

from app.errors import BatchEntryError, BatchTooLargeError
from app.settings import Settings

_NAME_BYTES, _DEPTH = 400, 16
_KEEP_S = 24 * 3600.0
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar")


class Stage:
    """The folder of one batch, with what may still be written into it."""

    def __init__(self, settings: Settings, batch_id: str) -> None:
        self.folder = settings.staging_dir / batch_id
        self.pictures = self.folder / "files"
        self._settings = settings
        self._count = self._bytes = 0
        self.pictures.mkdir(parents=True)

    def create(self, name: str) -> IO[bytes]:
        """Open a new file under a name from outside.

        Raises:
            BatchEntryError: the name is no relative path below the folder, an archive's, or there already.
            BatchTooLargeError: too many files.
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

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)


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


def sweep(settings: Settings, needed: Collection[str]) -> None:
    """Delete what broken uploads and failed jobs have left, after a day; `needed`: the folders of open jobs."""
    if not settings.staging_dir.is_dir():
        return
    keep = {Path(folder).parent for folder in needed}
    for stage in settings.staging_dir.resolve().iterdir():
        if stage not in keep and time.time() - stage.stat().st_mtime > _KEEP_S:
            shutil.rmtree(stage, ignore_errors=True)
