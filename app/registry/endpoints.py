"""/v1/models."""

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Response, UploadFile, status

from app.core import Core
from app.dependencies import CoreDep, Id
from app.errors import (
    BodyTooLargeError,
    CheckpointRefusedError,
    DiskLowError,
    InvalidError,
    ModelIncompleteError,
    ModelInUseError,
    ModelNameTakenError,
    ModelNotFoundError,
    ModelRefusedError,
    NoPredecessorError,
    StorageError,
    responses,
)
from app.jobs.schemas import JobOut
from app.registry.changes import activate_later, encode_later, predecessor_of
from app.registry.retention import Retention
from app.registry.schemas import ActivationIn, ModelList, ModelOut
from app.registry.service import ModelService

router = APIRouter(prefix="/v1/models", tags=["models"])
_QUEUED: dict[int | str, dict[str, Any]] = {
    202: {"model": JobOut, "description": "The gallery is not encoded for it yet: a job encodes it and then switches"}
}
_QUEUED_ALONE: dict[int | str, dict[str, Any]] = {
    202: {"model": JobOut, "description": "A job encodes the gallery for it"}
}


@router.get("")
def list_models(core: CoreDep) -> ModelList:
    """Every model version, the one that answers, and the one that a rollback returns to."""
    with core.database.read() as session:
        return ModelService(session).listed()


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=responses(
        CheckpointRefusedError, InvalidError, ModelNameTakenError, BodyTooLargeError, StorageError, DiskLowError
    ),
)
def register_model(
    core: CoreDep,
    response: Response,
    weights: Annotated[UploadFile, File(description="model.safetensors. Nothing else is read: no pickle, ever.")],
    spec: Annotated[UploadFile, File(description="spec.json")],
    name: Annotated[str, Form(description="Name of the version.")],
    card: Annotated[UploadFile | None, File(description="model_card.md")] = None,
    calibration: Annotated[UploadFile | None, File(description="calibration.json")] = None,
) -> ModelOut:
    """Register a checkpoint. It is tried out first: one that does not do what its spec says is refused (422).

    The same checkpoint again gives its present version.
    """
    from app.registry.receiving import receive

    files = {"weights": weights, "spec": spec, "card": card, "calibration": calibration}
    info = receive({key: file.file for key, file in files.items() if file is not None}, core.settings)
    with core.database.write() as session:
        models = ModelService(session)
        found = models.describe(models.register(info, name))
    response.headers["Location"] = f"/v1/models/{found.id}"
    return found


@router.get("/{version_id}", responses=responses(ModelNotFoundError))
def get_model(version_id: Id, core: CoreDep) -> ModelOut:
    """One model version."""
    return _described(core, version_id)


@router.post(
    "/{version_id}/activate",
    responses={**_QUEUED, **responses(ModelNotFoundError, ModelRefusedError)},
)
def activate_model(
    version_id: Id, core: CoreDep, response: Response, body: ActivationIn | None = None
) -> ModelOut | JobOut:
    """Let a version answer from now on: at once (200) if the gallery is encoded for it, else by a job (202).

    The version before answers until then. Asking again while the job is open gives the same job.
    """
    return _activated(core, version_id, response, despite_gate=body is not None and body.despite_gate)


@router.post("/{version_id}/encode", responses={**_QUEUED_ALONE, **responses(ModelNotFoundError)})
def encode_model(version_id: Id, core: CoreDep, response: Response) -> ModelOut | JobOut:
    """Encode what the gallery lacks for a version, beside the one that answers and without a switch: by a job (202),
    of which idle workers take shards. Nothing is to do (200) if the gallery is encoded for it.

    Asking again while the job is open gives the same job.
    """
    found = _described(core, version_id)
    if found.missing == 0:
        return found
    return _accepted(encode_later(core.database, version_id), response)


@router.post("/{version_id}/rollback", responses={**_QUEUED, **responses(ModelNotFoundError, NoPredecessorError)})
def roll_back_model(version_id: Id, core: CoreDep, response: Response) -> ModelOut | JobOut:
    """Take the activation of this version back: the one that answered before it answers again, at once (200).

    Only if more than a few images came since that it lacks, a job encodes those first (202). A version that does not
    answer any more is refused, so that pressing twice rolls back once.
    """
    return _activated(core, predecessor_of(core.database, version_id), response, despite_gate=True)


@router.delete(
    "/{version_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=responses(ModelNotFoundError, ModelInUseError),
)
def delete_model(version_id: Id, core: CoreDep) -> None:
    """Remove a version with its vectors and weights; never the one that answers, nor the one before it."""
    Retention(core.database, core.settings).delete(version_id)


def _activated(core: Core, version_id: int, response: Response, *, despite_gate: bool) -> ModelOut | JobOut:
    try:
        core.switch(version_id, despite_gate=despite_gate)
    except ModelIncompleteError:
        return _accepted(activate_later(core.database, version_id, despite_gate=despite_gate), response)
    return _described(core, version_id)


def _accepted(job: JobOut, response: Response) -> JobOut:
    response.status_code, response.headers["Location"] = status.HTTP_202_ACCEPTED, f"/v1/jobs/{job.id}"
    return job


def _described(core: Core, version_id: int) -> ModelOut:
    with core.database.read() as session:
        models = ModelService(session)
        return models.describe(models.find(version_id))
