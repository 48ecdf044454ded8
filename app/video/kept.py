"""What a job over a video keeps between its pieces: its state, and the crops that wait for their ingest.

video/<first job>/state.json     written whole or not at all
video/<first job>/crops/*.jpg    of tracks that have ended in the piece under way
"""

import json
import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from app.errors import StorageError
from app.files import check_free, sync_folder
from app.settings import Settings

_STATE, _CROPS = "state.json", "crops"
_YOUNG_S = 600.0
"""A younger folder may be of a job that came after `open_jobs` were read."""


class Kept:
    """The folder of one video."""

    def __init__(self, folder: Path, least_free: int | None = 0) -> None:
        self._folder, self._least_free = folder, least_free

    @property
    def crops(self) -> Path:
        """The folder for crops, empty of what a killed worker left."""
        folder = self._folder / _CROPS
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            check_free(folder, self._least_free)
        except OSError as error:
            raise StorageError(f"{folder} cannot be made: {error.strerror}") from error
        return folder

    def drop_crops(self) -> None:
        """Remove the crops: those that were taken in are in the gallery, where an erasure finds them."""
        shutil.rmtree(self._folder / _CROPS, ignore_errors=True)

    def load(self) -> dict[str, Any] | None:
        """The state; None if there is none that can be read: the video is then looked at from its beginning."""
        try:
            found = json.loads((self._folder / _STATE).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state.

        Raises:
            StorageError: the disk is full or refuses.
        """
        part = self._folder / f"{_STATE}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("w") as handle:
                json.dump(state, handle)
                handle.flush()
                os.fsync(handle.fileno())
            part.replace(self._folder / _STATE)
            sync_folder(self._folder)
        except OSError as error:
            raise StorageError(f"the state of the video cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        """Forget everything."""
        shutil.rmtree(self._folder, ignore_errors=True)


def sweep_videos(settings: Settings, open_jobs: Collection[str]) -> None:
    """Remove the states of jobs that ended without success `staging_keep_s` ago: nobody retried them.

    Crops go sooner where no job is at them: a worker that was killed may have left them.

    Args:
        open_jobs: names of the folders that jobs still use.
    """
    if not settings.video_dir.is_dir():
        return
    now = time.time()
    for folder in settings.video_dir.iterdir():
        if folder.name in open_jobs:
            continue
        age = now - folder.stat().st_mtime
        if age > settings.staging_keep_s:
            shutil.rmtree(folder, ignore_errors=True)
        elif age > _YOUNG_S and not folder.name.startswith("here-"):  # those are of a verb, which no job tells of
            Kept(folder).drop_crops()
