"""Where the exports of jobs lie, and for how long."""

import shutil
import time
from collections.abc import Collection
from pathlib import Path

from app.database.tables import Job
from app.errors import JobResultGoneError
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
