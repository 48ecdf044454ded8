"""/v1/admin/retraining-jobs."""

from typing import Any

from fastapi import APIRouter, Response, status

from app.dependencies import CoreDep
from app.errors import (
    CollectionNotFoundError,
    DiskLowError,
    InvalidError,
    ModelNotFoundError,
    NoActiveModelError,
    RecipeRefusedError,
    RetrainingDataError,
    responses,
)
from app.jobs.schemas import JobOut
from app.retraining.schemas import NewRetraining, RetrainingPlan
from app.retraining.service import RetrainingService

router = APIRouter(prefix="/v1/admin/retraining-jobs", tags=["retraining"])
_PLANNED: dict[int | str, dict[str, Any]] = {200: {"model": RetrainingPlan, "description": "The plan of a dry run"}}
_REFUSED = (
    CollectionNotFoundError,
    ModelNotFoundError,
    InvalidError,
    RecipeRefusedError,
    RetrainingDataError,
    NoActiveModelError,
    DiskLowError,
)


@router.post("", status_code=status.HTTP_202_ACCEPTED, responses={**_PLANNED, **responses(*_REFUSED)})
def create_retraining(body: NewRetraining, core: CoreDep, response: Response) -> JobOut | RetrainingPlan:
    """Queue a retraining on the gallery's described images (202), or check and estimate one (`dry_run`, 200).

    The job writes the data set, trains in a process of its own, compares candidate and active version on people that
    neither was trained on, and registers the candidate: accepted by the gate, or refused and kept for inspection.
    """
    service = RetrainingService(core.database, core.settings)
    if body.dry_run:
        response.status_code = status.HTTP_200_OK
        return service.plan(body)
    job = JobOut.of(service.create(body), {})
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job
