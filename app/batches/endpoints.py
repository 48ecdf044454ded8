"""/v1/gallery/batches."""

import uuid
from typing import Annotated, Any

from anyio import CancelScope
from fastapi import APIRouter, Header, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool

from app.batches.receiving import Receiver
from app.batches.service import queue_stage
from app.batches.staging import Stage
from app.database.tables import DEFAULT_COLLECTION
from app.dependencies import CoreDep
from app.errors import (
    ArchiveError,
    BatchEntryError,
    BatchError,
    BatchTooLargeError,
    BodyTimeoutError,
    CollectionNameError,
    DiskLowError,
    IdempotencyKeyError,
    StagingFullError,
    StorageError,
    UploadsBusyError,
    responses,
)
from app.jobs.schemas import JobOut

PATH = "/v1/gallery/batches"
router = APIRouter(tags=["gallery"])
_BINARY = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": _BINARY, "description": "Pictures, with relative names."},
                        "manifest": {**_BINARY, "description": "One line for each picture, .jsonl or .csv."},
                        "archive": {**_BINARY, "description": "Instead of both: a zip or tar, manifest inside."},
                    },
                }
            }
        },
    }
}


@router.post(
    PATH,
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=_BODY,
    responses=responses(
        BatchError,
        BatchEntryError,
        ArchiveError,
        BatchTooLargeError,
        CollectionNameError,
        IdempotencyKeyError,
        BodyTimeoutError,
        UploadsBusyError,
        StorageError,
        StagingFullError,
        DiskLowError,
    ),
)
async def post_batch(
    request: Request,
    response: Response,
    core: CoreDep,
    collection: Annotated[str, Query(description="Where they go; made if it is new.")] = DEFAULT_COLLECTION,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> JobOut:
    """Upload many pictures; a job takes them in. The same Idempotency-Key with the same batch gives the same job."""
    length = request.headers.get("content-length", "")
    stage = await run_in_threadpool(
        Stage,
        core.settings,
        str(uuid.uuid4()),
        request.app.state.room,
        expected=int(length) if length.isdecimal() else 0,
    )
    kept = False
    try:
        receiver = Receiver(request.headers.get("content-type", ""), stage, core.settings)
        try:
            async for piece in request.stream():
                await run_in_threadpool(receiver.feed, piece)
            fingerprint = await run_in_threadpool(receiver.finish)
        except OSError as error:
            raise StorageError(f"the batch cannot be staged: {error.strerror}") from error
        finally:
            receiver.close()
        job, kept = await run_in_threadpool(
            queue_stage, core.database, stage, collection, key=idempotency_key, fingerprint=fingerprint
        )
    finally:
        with CancelScope(shield=True):  # nothing may lie about, also when the server is ending
            await run_in_threadpool(stage.keep if kept else stage.remove)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job
