"""Videos become jobs; folders become videos."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.batches.staging import Stage
from app.collections.service import CollectionService
from app.database.sessions import Database
from app.errors import SourceError, StorageError, VideoStartError
from app.jobs.repository import JobRepository
from app.jobs.schemas import JobOut
from app.jobs.service import JobService
from app.video.footage import SUFFIXES
from app.video.plan import Plan


def queue_video(
    database: Database, plan: Plan, *, key: str | None = None, fingerprint: str = "", stage: Stage | None = None
) -> tuple[JobOut, bool]:
    """The job for a video, and whether it is a new one.

    Args:
        key: idempotency key; the job that it made before is returned again.
        fingerprint: of the request that brings the key.
        stage: the video's folder in the staging area, if it was uploaded; the job gets its name.

    Raises:
        CollectionNameError: the text cannot be a collection's name.
        IdempotencyKeyError: the key came with another request.
        StorageError: what was staged cannot be brought to stable storage.
    """
    parameters: dict[str, Any] = plan.parameters()
    job_id = None
    if stage is not None:
        try:
            stage.seal()  # the answer that follows is a promise
        except OSError as error:
            raise StorageError(
                f"the video cannot be staged: {error.strerror}; make room, then send it again"
            ) from error
        parameters |= {"folder": str(stage.pictures.resolve()), "staged": True}
        job_id = stage.folder.name
    asked = [str(value) for name, value in sorted(plan.parameters().items()) if name != "path"]
    whole = hashlib.sha256("\0".join([fingerprint, *asked]).encode()).hexdigest()
    with database.write() as session:
        CollectionService(session).resolve(plan.collection)  # a name that cannot be is told now, not by the job
        before = JobRepository(session).by_key(key) if key else None
        row = JobService(session).create("video", parameters, job_id=job_id, key=key, fingerprint=whole)
        return JobOut.of(row, {}), before is None


def plans(paths: list[Path], plan: Plan) -> Iterator[Plan]:
    """One plan for each video that paths name, in the order of paths and names.

    A folder offers the videos in it, recursively. Where no camera is told, those of a folder are by a camera with the
    name of the folder that they lie in.

    Raises:
        SourceError: a path does not exist, or a folder holds no video.
        VideoStartError: a start is told for several videos.
    """
    found: list[Plan] = []
    for path in paths:
        if path.is_dir():
            inside = videos_in(path)
            if not inside:
                raise SourceError(f"{path} holds no video ({', '.join(sorted(SUFFIXES))})")
            found += [
                replace(
                    plan, path=one, name=one.relative_to(path).as_posix(), camera=plan.camera or camera_of(path, one)
                )
                for one in inside
            ]
        elif path.is_file():
            found.append(replace(plan, path=path, name=path.name))
        else:
            raise SourceError(f"{path} does not exist; name videos, or folders of videos")
    if plan.start is not None and len(found) > 1:
        raise VideoStartError(f"{len(found)} videos cannot all begin at one time; name one, or leave the start away")
    yield from found


def videos_in(folder: Path) -> list[Path]:
    """The videos below a folder, sorted; hidden files and folders are left out.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and path.is_file()
        )
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error}") from error


def camera_of(folder: Path, video: Path) -> str:
    """The name of the folder that a video lies in."""
    return video.parent.name or folder.resolve().name
