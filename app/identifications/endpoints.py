"""/v1/identifications."""

from typing import Annotated

from fastapi import APIRouter, Query, status

from app.access.principal import Principal
from app.core import Core
from app.dependencies import CoreDep, Id, PrincipalDep
from app.errors import (
    IdentificationExistsError,
    IdentificationNotFoundError,
    IdentificationSettledError,
    IdentityMergedError,
    IdentityNotFoundError,
    ImageNotFoundError,
    InvalidError,
    NotAPartyError,
    QueryNotFoundError,
    SamePersonError,
    SecondPersonMissingError,
    UnavailableError,
    responses,
)
from app.identifications.acts import Act, State
from app.identifications.schemas import (
    Confirmation,
    IdentificationOut,
    IdentificationPage,
    NewIdentification,
    QueryName,
    Refusal,
)
from app.identifications.service import IdentificationService
from app.queries.service import QueryService

router = APIRouter(prefix="/v1/identifications", tags=["identifications"])
_DECIDING = (IdentificationNotFoundError, IdentificationSettledError, SecondPersonMissingError, InvalidError)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=responses(
        QueryNotFoundError,
        IdentityNotFoundError,
        IdentityMergedError,
        ImageNotFoundError,
        InvalidError,
        SecondPersonMissingError,
        IdentificationExistsError,
        UnavailableError,
    ),
)
def propose_identification(body: NewIdentification, core: CoreDep, who: PrincipalDep) -> IdentificationOut:
    """Say that a candidate is the person whom a search looked for. It is none until another key confirms it."""
    if who.key_id is None:
        raise SecondPersonMissingError
    QueryService(core.database, core.recorder).written(body.query_id)
    with core.database.write() as session:
        service = IdentificationService(session, who)
        return service.propose(body, open_for_s=core.settings.identification_open_s)


@router.get("", responses=responses(InvalidError))
def list_identifications(
    core: CoreDep,
    who: PrincipalDep,
    state: Annotated[State | None, Query(description="Those in a state only.")] = None,
    query_id: Annotated[QueryName | None, Query(description="Those of a search only.")] = None,
    identity_id: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="Those of a person only.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next_before` of the page before.")] = None,
) -> IdentificationPage:
    """Identifications, newest first: what waits for a second person is `proposed`."""
    with core.database.read() as session:
        return IdentificationService(session, who).page(
            state=state, query_id=query_id, identity_id=identity_id, before=before, limit=limit
        )


@router.get("/{identification_id}", responses=responses(IdentificationNotFoundError))
def get_identification(identification_id: Id, core: CoreDep, who: PrincipalDep) -> IdentificationOut:
    """One identification: who proposed it, on what, and what became of it."""
    with core.database.read() as session:
        return IdentificationService(session, who).get(identification_id)


@router.post("/{identification_id}/confirm", responses=responses(*_DECIDING, SamePersonError))
def confirm_identification(
    identification_id: Id, body: Confirmation, core: CoreDep, who: PrincipalDep
) -> IdentificationOut:
    """Agree, as a second person: with another key than the one that proposed it."""
    return _act(core, who, identification_id, "confirm", body.note)


@router.post("/{identification_id}/refuse", responses=responses(*_DECIDING, SamePersonError))
def refuse_identification(identification_id: Id, body: Refusal, core: CoreDep, who: PrincipalDep) -> IdentificationOut:
    """Disagree, as a second person, and say why."""
    return _act(core, who, identification_id, "refuse", body.reason)


@router.post("/{identification_id}/withdraw", responses=responses(*_DECIDING, NotAPartyError))
def withdraw_identification(
    identification_id: Id, body: Refusal, core: CoreDep, who: PrincipalDep
) -> IdentificationOut:
    """Take it back: a proposal by whoever made it, what is confirmed by either of the two; with admin, anything."""
    return _act(core, who, identification_id, "withdraw", body.reason)


def _act(core: Core, who: Principal, identification_id: int, act: Act, note: str | None) -> IdentificationOut:
    with core.database.write() as session:
        return IdentificationService(session, who).act(identification_id, act, note)
