"""Making files durable, and keeping the disk from running full."""

import ctypes
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from app.errors import DiskLowError

_RESERVE = 256 * 2**20
_SYNCFS = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
"""Linux: write back everything of one file system, and wait for it."""


def check_free(folder: Path, least: int | None, coming: int = 0) -> None:
    """See that a disk keeps a reserve: a database that cannot write any more is worse than a picture not taken.

    Args:
        folder: anywhere on the disk.
        least: bytes that must stay free; None means 256 MiB, or 1 % of a disk that is small.
        coming: bytes that are about to be written.

    Raises:
        DiskLowError: less would be left.
    """
    disk = shutil.disk_usage(folder)
    reserve = min(_RESERVE, disk.total // 100) if least is None else least
    if disk.free - coming < reserve:
        raise DiskLowError(
            f"{disk.free / 2**20:,.0f} MiB are free in {folder}, and {reserve / 2**20:,.0f} MiB must stay free "
            "(DESCRY_MIN_FREE_BYTES): make room, then try again"
        )


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on stable storage; a file's own fsync does not cover its name."""
    _fsync(folder)


def sync_files(folder: Path, files: Iterable[Path]) -> None:
    """Wait until many new files of one file system are on stable storage, contents and names.

    One call for all of them where the system has it: 512 single fsyncs take 50 to 2,000 ms (they wait for the
    journal one after the other), one syncfs about 5 ms.

    Raises:
        OSError: something could not be written.
    """
    if _SYNCFS is None:
        for file in files:
            _fsync(file)
        for parent in (folder, *folder.parents[:2]):
            _fsync(parent)
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if _SYNCFS(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
