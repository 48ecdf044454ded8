"""/v1/models."""

from typing import Any

from fastapi import APIRouter, Response, status

from app.dependencies import CoreDep, Id
from app.errors import ModelIncompleteError, ModelNotFoundError, responses
from app.jobs.schemas import JobOut
from app.jobs.service import JobService
from app.registry.schemas import ModelList, ModelOut
from app.registry.service import ModelService

router = APIRouter(prefix="/v1/models", tags=["models"])
_QUEUED: dict[int | str, dict[str, Any]] = {
    202: {"model": JobOut, "description": "The gallery is not encoded for it yet: a job encodes it and then switches"}
}


@router.get("")
def list_models(core: CoreDep) -> ModelList:
    """Every model version."""
    with core.database.read() as session:
        return ModelList(models=ModelService(session, core.settings.models_dir).all())


@router.post("/{version_id}/activate", responses={**_QUEUED, **responses(ModelNotFoundError)})
def activate_model(version_id: Id, core: CoreDep, response: Response) -> ModelOut | JobOut:
    """Let a version answer from now on: at once (200) if the gallery is encoded for it, else by a job (202).

    The version before answers until then. Asking again while the job is open gives the same job. Rolling back is the
    same act.
    """
    try:
        core.switch(version_id)
    except ModelIncompleteError:
        with core.database.write() as session:
            job = JobOut.of(JobService(session).create_once("indexing", {"version": version_id, "activate": True}), {})
        response.status_code, response.headers["Location"] = status.HTTP_202_ACCEPTED, f"/v1/jobs/{job.id}"
        return job
    with core.database.read() as session:
        models = ModelService(session, core.settings.models_dir)
        return models.describe(models.find(version_id))
