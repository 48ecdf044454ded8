"""/v1/gallery/videos."""

import hashlib
import uuid
from pathlib import Path
from typing import Annotated, Any

from anyio import CancelScope
from fastapi import APIRouter, Header, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool

from app.batches.staging import Stage
from app.database.tables import CAMERA_CHARS, DEFAULT_COLLECTION
from app.dependencies import CoreDep
from app.errors import (
    BatchEntryError,
    BodyTimeoutError,
    CollectionNameError,
    DiskLowError,
    EntryError,
    IdempotencyKeyError,
    InvalidError,
    StagingFullError,
    StorageError,
    UploadsBusyError,
    VideoEmptyError,
    VideoStartError,
    VideoTooLargeError,
    responses,
)
from app.jobs.schemas import JobOut
from app.settings import Settings
from app.video.clock import read_start
from app.video.plan import Plan, checked_camera
from app.video.service import queue_video

PATH = "/v1/gallery/videos"
router = APIRouter(tags=["gallery"])
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    PATH,
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=_BODY,
    responses=responses(
        InvalidError,
        VideoEmptyError,
        VideoTooLargeError,
        VideoStartError,
        EntryError,
        BatchEntryError,
        CollectionNameError,
        IdempotencyKeyError,
        BodyTimeoutError,
        UploadsBusyError,
        StorageError,
        StagingFullError,
        DiskLowError,
    ),
)
async def post_video(
    request: Request,
    response: Response,
    core: CoreDep,
    name: Annotated[str, Query(min_length=1, max_length=400, description="The video's file name.")],
    camera: Annotated[str | None, Query(max_length=CAMERA_CHARS, description="Which camera took it.")] = None,
    start: Annotated[
        str | None,
        Query(description="ISO 8601 time of the first frame; else the file's creation time, else its name says it."),
    ] = None,
    collection: Annotated[str, Query(description="Where its people go; made if it is new.")] = DEFAULT_COLLECTION,
    fps: Annotated[float | None, Query(gt=0, le=60, description="Frames per second that are looked at.")] = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> JobOut:
    """Upload a video as the body; a job finds the people in it. The same Idempotency-Key with the same video gives the
    same job. A file that is no video fails its job, with a code: nothing is decoded in the server."""
    told = None if start is None else read_start(start)
    place = checked_camera(camera)
    length = request.headers.get("content-length", "")
    expected = int(length) if length.isdecimal() else 0
    stage = await run_in_threadpool(Stage, core.settings, str(uuid.uuid4()), request.app.state.room, expected=expected)
    kept = False
    try:
        receiver = await run_in_threadpool(_Receiver, stage, name, core.settings)
        try:
            async for piece in request.stream():
                await run_in_threadpool(receiver.feed, piece)
            fingerprint = receiver.finish()
        finally:
            receiver.close()
        plan = Plan(receiver.path, name, collection, place, told, fps)
        job, _ = await run_in_threadpool(
            lambda: queue_video(
                core.database,
                plan,
                key=f"video:{idempotency_key}" if idempotency_key else None,
                fingerprint=fingerprint,
                stage=stage,
            )
        )
        kept = job.id == stage.folder.name
    finally:
        with CancelScope(shield=True):  # nothing may lie about, also when the server is ending
            await run_in_threadpool(stage.keep if kept else stage.remove)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


class _Receiver:
    """Writes the body into the staging area while it arrives.

    Raises:
        BatchEntryError: the name is none that a file may have.
    """

    def __init__(self, stage: Stage, name: str, settings: Settings) -> None:
        self._stage, self._most, self._bytes = stage, settings.max_video_bytes, 0
        self._digest = hashlib.sha256()
        self._target = stage.create(name)
        self.path = Path(self._target.name)

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            VideoTooLargeError: the video has more bytes than it may have.
            StagingFullError, DiskLowError, StorageError: there is no room for it.
        """
        self._bytes += len(piece)
        if self._bytes > self._most:
            raise VideoTooLargeError(f"the video has more than {self._most:,} bytes (DESCRY_MAX_VIDEO_BYTES)")
        self._stage.reserve(len(piece))
        self._digest.update(piece)
        try:
            self._target.write(piece)
        except OSError as error:
            raise StorageError(f"the video cannot be staged: {error.strerror}") from error

    def finish(self) -> str:
        """A fingerprint of the whole.

        Raises:
            VideoEmptyError: nothing came.
        """
        if not self._bytes:
            raise VideoEmptyError("the body is empty: send the video itself as the body")
        self.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file.

        Raises:
            StorageError: what was buffered cannot be written.
        """
        try:
            self._target.close()
        except OSError as error:
            raise StorageError(f"the video cannot be staged: {error.strerror}") from error
