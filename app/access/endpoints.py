"""/v1/admin/keys and /v1/session."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status

from app.access.directory import Directory
from app.access.door import COOKIE
from app.access.principal import OPEN
from app.access.rules import SCOPES, Need, granted
from app.access.schemas import KeyList, KeyMade, KeyOut, NewKey, SessionOut
from app.access.service import KeyService
from app.audit.note import noted
from app.collections.service import CollectionService
from app.dependencies import CoreDep, Id, PrincipalDep
from app.errors import (
    CollectionNotFoundError,
    KeyNotFoundError,
    KeyRefusedError,
    responses,
)
from app.search.purpose import purpose_required

router = APIRouter(prefix="/v1")


def _directory(request: Request) -> Directory:
    directory: Directory = request.app.state.directory
    return directory


DirectoryDep = Annotated[Directory, Depends(_directory)]


@router.get("/admin/keys", tags=["access"])
def list_keys(core: CoreDep) -> KeyList:
    """Every key, revoked ones too; never a secret."""
    with core.database.read() as session:
        return KeyList(keys=KeyService(session).all())


@router.post(
    "/admin/keys",
    tags=["access"],
    status_code=status.HTTP_201_CREATED,
    responses=responses(KeyRefusedError, CollectionNotFoundError),
)
def create_key(body: NewKey, core: CoreDep, directory: DirectoryDep) -> KeyMade:
    """Make a key. The answer is the only place where it can be read. With the first key, open access ends."""
    with core.database.write() as session:
        made = KeyService(session).create(body)
        noted(facts={"key": made.id}, name=made.name)
    directory.forget()
    return made


@router.get("/admin/keys/{key_id}", tags=["access"], responses=responses(KeyNotFoundError))
def get_key(key_id: Id, core: CoreDep) -> KeyOut:
    """One key."""
    with core.database.read() as session:
        return KeyService(session).get(key_id)


@router.delete("/admin/keys/{key_id}", tags=["access"], responses=responses(KeyNotFoundError))
def revoke_key(key_id: Id, core: CoreDep, directory: DirectoryDep) -> KeyOut:
    """End a key, at once here and within a second on other replicas. It stays in the list, for the audit."""
    with core.database.write() as session:
        revoked = KeyService(session).revoke(key_id)
    directory.forget()
    return revoked


@router.post("/admin/keys/{key_id}/rotate", tags=["access"], responses=responses(KeyNotFoundError, KeyRefusedError))
def rotate_key(key_id: Id, core: CoreDep, directory: DirectoryDep) -> KeyMade:
    """Give a key a new secret; the one before ends at once."""
    with core.database.write() as session:
        made = KeyService(session).rotate(key_id)
    directory.forget()
    return made


@router.get("/session", tags=["access"])
def who(principal: PrincipalDep, core: CoreDep) -> SessionOut:
    """Who makes this request, and what they may do."""
    names, settings = None, core.settings
    if principal.collections is not None:
        with core.database.read() as session:
            names = [one.name for one in CollectionService(session).all() if one.id in principal.collections]
    scopes = [scope for scope in SCOPES if granted(Need(scope), principal.scopes)]
    free = [one for one in settings.purpose_free_collections if names is None or one in names]
    return SessionOut.model_validate(
        {
            "open": principal is OPEN,
            "key_id": principal.key_id,
            "name": principal.name,
            "scopes": scopes,
            "collections": names,
            "purpose_required": purpose_required(settings, closed=principal is not OPEN),
            "purpose_free_collections": free,
        }
    )


@router.post("/session", tags=["access"])
def sign_in(request: Request, response: Response, principal: PrincipalDep, core: CoreDep) -> SessionOut:
    """Let the page use the key of this request: as a cookie that scripts cannot read, until the browser is closed."""
    _, _, key = request.headers.get("authorization", "").partition(" ")
    if key:
        response.set_cookie(
            COOKIE, key.strip(), httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
        )
    return who(principal, core)


@router.delete("/session", tags=["access"], status_code=status.HTTP_204_NO_CONTENT)
def sign_out(response: Response) -> None:
    """Let the browser forget the key."""
    response.delete_cookie(COOKIE, path="/")
