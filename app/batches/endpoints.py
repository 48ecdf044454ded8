"""/v1/gallery/batches."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool

from app.batches.receiving import Receiver
from app.batches.staging import Stage
from app.collections.service import CollectionService
from app.core import Core
from app.database.tables import DEFAULT_COLLECTION
from app.dependencies import CoreDep
from app.errors import (
    ArchiveError,
    BatchEntryError,
    BatchError,
    BatchTooLargeError,
    CollectionNameError,
    IdempotencyKeyError,
    StorageError,
    responses,
)
from app.jobs.repository import JobRepository
from app.jobs.schemas import JobOut
from app.jobs.service import JobService

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
        StorageError,
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
    with _disk():
        stage = await run_in_threadpool(Stage, core.settings, str(uuid.uuid4()))
    kept = False
    try:
        receiver = Receiver(request.headers.get("content-type", ""), stage, core.settings)
        with _disk(), closing(receiver):
            async for piece in request.stream():
                await run_in_threadpool(receiver.feed, piece)
            fingerprint = await run_in_threadpool(receiver.finish)
            await run_in_threadpool(stage.seal)
        job, kept = await run_in_threadpool(_queue, core, stage, collection, idempotency_key, fingerprint)
    finally:
        await run_in_threadpool(stage.release if kept else stage.remove)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"the batch cannot be staged: {error.strerror}; make room, then send it again") from error


def _queue(core: Core, stage: Stage, collection: str, key: str | None, fingerprint: str) -> tuple[JobOut, bool]:
    """The job, and whether it is a new one that needs what was staged."""
    whole = hashlib.sha256(f"{fingerprint} {collection}".encode()).hexdigest()
    with core.database.write() as session:
        CollectionService(session).resolve(collection)  # a name that cannot be is refused now, not by the job
        row = JobService(session).create(
            "ingest",
            {"folder": str(stage.pictures.resolve()), "staged": True, "collection": collection},
            job_id=stage.folder.name,
            key=f"batch:{key}" if key else None,
            fingerprint=whole,
        )
        out = JobOut.of(row, JobRepository(session).counts([row.id]).get(row.id, {}))
    return out, row.id == stage.folder.name
