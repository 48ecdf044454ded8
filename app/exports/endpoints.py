"""/v1/exports."""

from fastapi import APIRouter, Response, status

from app.audit.note import noted
from app.collections.service import CollectionService
from app.dependencies import CoreDep
from app.errors import CollectionNotFoundError, responses
from app.exports.schemas import NewExport
from app.jobs.schemas import JobOut
from app.jobs.service import JobService

router = APIRouter(prefix="/v1/exports", tags=["exports"])


@router.post("", status_code=status.HTTP_202_ACCEPTED, responses=responses(CollectionNotFoundError))
def create_export(body: NewExport, core: CoreDep, response: Response) -> JobOut:
    """Queue an export: a zip of pictures and a manifest, as an ingest reads them, at the job's `result_url`."""
    noted(collection=body.collection, facts={"originals": body.originals})
    with core.database.write() as session:
        if body.collection is not None:
            CollectionService(session).find(body.collection)
        job = JobOut.of(JobService(session).create("export", body.model_dump()), {})
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job
