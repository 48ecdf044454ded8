"""/v1/admin/audit."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from app.audit.chain import Head
from app.audit.repository import Wanted
from app.audit.schemas import AuditPage, AuditVerification
from app.audit.service import AuditService
from app.dependencies import CoreDep
from app.errors import InvalidError, responses

router = APIRouter(prefix="/v1/admin/audit", tags=["audit"])
_Id = Annotated[int | None, Query(ge=1, le=2**63 - 1)]
_Text = Annotated[str | None, Query(max_length=250, pattern="^[^\\x00]*$")]


@router.get("", responses=responses(InvalidError))
def list_audit(
    core: CoreDep,
    actor: _Text = None,
    action: Annotated[
        str | None, Query(max_length=64, pattern="^[a-z_.]+\\*?$", description="Such as search.text, or search.*")
    ] = None,
    outcome: Annotated[
        str | None, Query(max_length=64, pattern="^[a-z0-9_]+$", description="`ok`, or the code of an error.")
    ] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    identity: _Id = None,
    image: _Id = None,
    words: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=250,
            pattern="^[^\\x00]*$",
            description="A part of what people wrote: the purpose, the query, a collection.",
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: _Id = None,
) -> AuditPage:
    """Who looked at what, and why; newest first. Reading it is an access too, and the next page's first entry."""
    wanted = Wanted(actor, action, outcome, since, until, identity, image, words)
    with core.database.read() as session:
        return AuditService(session).page(wanted, limit=limit, before=before)


@router.get("/verify", responses=responses(InvalidError))
def verify_audit(
    core: CoreDep,
    head: Annotated[str | None, Query(max_length=100, description="SEQUENCE:HASH that was noted elsewhere.")] = None,
) -> AuditVerification:
    """Go over every entry: was one changed, removed, put in, moved, or the end cut off since `head` was noted?"""
    noted = None if head is None else Head.parse(head)
    with core.database.read() as session:
        return AuditService(session).verify(noted)
