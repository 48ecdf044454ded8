"""/v1/associations."""

from typing import Annotated

from fastapi import APIRouter, Query, status

from app.association.schemas import AssociationList, AssociationOut, AssociationRequest
from app.association.service import AssociationService
from app.dependencies import CoreDep, Id
from app.errors import (
    AssociationNotFoundError,
    AssociationRunningError,
    AssociationUndoneError,
    CollectionNotFoundError,
    InvalidError,
    ModelNotCalibratedError,
    NoActiveModelError,
    responses,
)

router = APIRouter(prefix="/v1/associations", tags=["identities"])


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    responses=responses(CollectionNotFoundError, ModelNotCalibratedError, NoActiveModelError, InvalidError),
)
def associate(request: AssociationRequest, core: CoreDep) -> AssociationOut:
    """Group the images of a collection that nobody has named into persons. A job does it; it can be undone."""
    with core.database.write() as session:
        service = AssociationService(session)
        return service.describe(service.ask(request))


@router.get("", responses=responses(InvalidError))
def list_associations(
    core: CoreDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> AssociationList:
    """Runs, newest first."""
    with core.database.read() as session:
        runs = AssociationService(session).page(limit, before)
    return AssociationList(runs=runs, next_before=runs[-1].id if len(runs) == limit else None)


@router.get("/{association_id}", responses=responses(AssociationNotFoundError))
def get_association(association_id: Id, core: CoreDep) -> AssociationOut:
    """A run: what it was asked, what it found, and whether it was undone."""
    with core.database.read() as session:
        service = AssociationService(session)
        return service.describe(service.find(association_id))


@router.post(
    "/{association_id}/undo",
    responses=responses(AssociationNotFoundError, AssociationRunningError, AssociationUndoneError),
)
def undo_association(association_id: Id, core: CoreDep) -> AssociationOut:
    """Bring back the identities that a run merged away. Images that were moved or deleted since, and persons that were
    named since, are left alone and counted."""
    with core.database.write() as session:
        service = AssociationService(session)
        return service.describe(service.undo(association_id))
