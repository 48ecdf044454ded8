"""How much may lie in the staging area, and how many batches may arrive at once."""

import os
import threading
from pathlib import Path

from app.errors import StagingFullError, StorageError, UploadsBusyError
from app.files import check_free
from app.settings import Settings


class Room:
    """The room of one process's batches. What other processes stage is measured whenever a batch begins."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._arriving: dict[str, int] = {}
        """Bytes of each batch that arrives just now."""
        self._waiting = 0
        """Bytes of all others."""

    def enter(self, name: str, expected: int = 0) -> None:
        """Begin a batch, of so many bytes as far as is known.

        Raises:
            UploadsBusyError: as many arrive already as may.
            StagingFullError, DiskLowError: there is no room for it.
            StorageError: the staging area cannot be made.
        """
        try:
            self._settings.staging_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self._settings.staging_dir} cannot be made: {error.strerror}") from error
        check_free(self._settings.staging_dir, self._settings.min_free_bytes, expected)
        with self._lock:
            if len(self._arriving) >= self._settings.max_uploads:
                raise UploadsBusyError(
                    f"{self._settings.max_uploads} batches are being uploaded already (DESCRY_MAX_UPLOADS)"
                )
            self._measure()
            self._check(expected)
            self._arriving[name] = 0

    def take(self, name: str, size: int) -> None:
        """Count bytes of a batch before they are written.

        Raises:
            StagingFullError, DiskLowError: there is no room for them.
        """
        check_free(self._settings.staging_dir, self._settings.min_free_bytes, size)
        with self._lock:
            if self._total() + size > self._settings.max_staging_bytes:
                self._measure()  # workers may have finished batches meanwhile
                self._check(size)
            self._arriving[name] += size

    def leave(self, name: str, *, kept: bool) -> None:
        """End a batch, whose bytes stay or not."""
        with self._lock:
            size = self._arriving.pop(name)
            self._waiting += size if kept else 0

    def _total(self) -> int:
        return self._waiting + sum(self._arriving.values())

    def _check(self, size: int) -> None:
        if self._total() + size > self._settings.max_staging_bytes:
            raise StagingFullError(
                f"batches that wait for a worker or for a retry hold {self._total() / 2**20:,.0f} MiB of the "
                f"{self._settings.max_staging_bytes / 2**20:,.0f} MiB that they may (DESCRY_MAX_STAGING_BYTES)"
            )

    def _measure(self) -> None:
        others = (path for path in self._settings.staging_dir.iterdir() if path.name not in self._arriving)
        self._waiting = sum(_size(path) for path in others)


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(place, name).lstat().st_size
            except FileNotFoundError:  # a worker has finished with it
                continue
    return total
