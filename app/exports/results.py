"""Where the exports of jobs lie, and for how long."""

import shutil
import time
import zipfile
from collections.abc import Collection
from pathlib import Path

from app.database.tables import Job
from app.errors import JobResultGoneError, StorageError
from app.files import sync_folder
from app.settings import Settings


def result_path(settings: Settings, job_id: str) -> Path:
    """The file of an export job."""
    return settings.exports_dir / f"{job_id}.zip"


def existing_result(settings: Settings, job: Job) -> Path:
    """The file of a job that has one.

    Raises:
        JobResultGoneError: it has none, or none any more.
    """
    path = result_path(settings, job.id)
    if job.state != "succeeded" or not path.is_file():
        hours = settings.export_keep_s / 3600
        raise JobResultGoneError(
            f"job {job.id} has no file: it has not succeeded, leaves none, or its file was removed, which happens "
            f"{hours:g} hours after it was made (DESCRY_EXPORT_KEEP_S)"
        )
    return path


def file_of(image_id: int) -> str:
    """Where the picture of an image lies in an export, or in the folder of one collection in it."""
    return f"images/{image_id // 1000:05}/{image_id:08}.jpg"


def erase_from_exports(settings: Settings, image_ids: Collection[int]) -> int:
    """Remove the files of jobs that hold a picture of erased images; returns how many. Their jobs can be run again.

    What is being made now leaves the pictures out by itself, for it is compared with the log before it has its name.

    Raises:
        StorageError: a file cannot be removed.
    """
    gone = {file_of(image_id) for image_id in image_ids}
    removed = 0
    try:
        for path in settings.exports_dir.glob("*.zip") if settings.exports_dir.is_dir() else ():
            if path.is_file() and _holds(path, gone):
                path.unlink(missing_ok=True)
                removed += 1
        if removed:
            sync_folder(settings.exports_dir)
    except OSError as error:
        raise StorageError(f"an export with an erased picture cannot be removed: {error.strerror}") from error
    return removed


def _holds(path: Path, names: Collection[str]) -> bool:
    try:
        with zipfile.ZipFile(path) as packed:
            return any(
                name.partition("images/")[2] and f"images/{name.partition('images/')[2]}" in names
                for name in packed.namelist()
            )
    except FileNotFoundError:
        return False
    except zipfile.BadZipFile:
        return True  # nobody can say what is in it


def sweep_exports(settings: Settings, open_jobs: Collection[str]) -> None:
    """Remove files that are old enough, and what jobs that ended left unfinished."""
    if not settings.exports_dir.is_dir():
        return
    for path in settings.exports_dir.iterdir():
        if path.is_dir():
            if path.name.removesuffix(".zip.partial") not in open_jobs:
                shutil.rmtree(path, ignore_errors=True)
        elif time.time() - path.stat().st_mtime > settings.export_keep_s:
            path.unlink(missing_ok=True)
