"""A staged batch becomes a job."""

import hashlib

from app.batches.staging import Stage
from app.collections.service import CollectionService
from app.database.sessions import Database
from app.errors import StorageError
from app.jobs.repository import JobRepository
from app.jobs.schemas import JobOut
from app.jobs.service import JobService


def queue_stage(
    database: Database, stage: Stage, collection: str, *, key: str | None = None, fingerprint: str = ""
) -> tuple[JobOut, bool]:
    """The job for what was staged, and whether it is a new one that needs the stage.

    Args:
        key: idempotency key; the job that it made before is returned again.
        fingerprint: of the request that brings the key.

    Raises:
        CollectionNameError: the text cannot be a collection's name.
        IdempotencyKeyError: the key came with another request.
        StorageError: what was staged cannot be brought to stable storage.
    """
    try:
        stage.seal()  # the answer that follows is a promise
    except OSError as error:
        raise StorageError(f"the batch cannot be staged: {error.strerror}; make room, then send it again") from error
    whole = hashlib.sha256(f"{fingerprint} {collection}".encode()).hexdigest()
    with database.write() as session:
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
