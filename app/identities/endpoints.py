"""/v1/identities and /v1/images."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import FileResponse

from app.access.principal import Principal
from app.access.rules import Need
from app.audit.note import noted
from app.database.tables import Image
from app.dependencies import CoreDep, Id
from app.errors import (
    CollectionNotFoundError,
    CursorInvalidError,
    ExternalIdTakenError,
    IdentityEventNotFoundError,
    IdentityMergedError,
    IdentityNamesDifferError,
    IdentityNotFoundError,
    ImageNotFoundError,
    InvalidError,
    MergeNotUndoableError,
    ScopeMissingError,
    StorageError,
    StoreUnreachableError,
    responses,
)
from app.identities.answers import history, split
from app.identities.changes import IdentityChanges
from app.identities.erasing import Eraser
from app.identities.schemas import (
    HistoryList,
    IdentityDetail,
    IdentityPatch,
    ImageOut,
    ImagePatch,
    MergeAnswer,
    MergeRequest,
    SplitAnswer,
    SplitRequest,
    Timeline,
)
from app.identities.service import IdentityService
from app.identities.timeline import GAP_S, MOST_GAP_S, MOST_PAGE, PAGE, timeline

router = APIRouter(prefix="/v1")
_UNKNOWN = (IdentityNotFoundError, IdentityMergedError)
_JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}, 304: {"description": "Not modified"}}


@router.get("/identities/{identity_id}", tags=["identities"], responses=responses(*_UNKNOWN))
def get_identity(identity_id: Id, core: CoreDep) -> IdentityDetail:
    """A person with every image."""
    with core.database.read() as session:
        found = IdentityService(session).detail(identity_id)
    noted(images=[image.id for image in found.images])
    return found


@router.patch(
    "/identities/{identity_id}",
    tags=["identities"],
    responses=responses(*_UNKNOWN, ExternalIdTakenError, InvalidError),
)
def patch_identity(identity_id: Id, patch: IdentityPatch, core: CoreDep) -> IdentityDetail:
    """Name a person, or replace the attributes."""
    with core.database.write() as session:
        IdentityService(session).change(identity_id, patch)
    with core.database.read() as session:
        return IdentityService(session).detail(identity_id)


@router.delete(
    "/identities/{identity_id}",
    tags=["identities"],
    status_code=status.HTTP_204_NO_CONTENT,
    responses=responses(*_UNKNOWN, StorageError, StoreUnreachableError),
)
def delete_identity(identity_id: Id, core: CoreDep) -> None:
    """Delete a person with every image, vector and file. Once answered, no search returns them."""
    Eraser(core).identity(identity_id)


@router.post(
    "/identities/{identity_id}/merge",
    tags=["identities"],
    responses=responses(*_UNKNOWN, IdentityNamesDifferError, InvalidError),
)
def merge_identities(identity_id: Id, request: MergeRequest, core: CoreDep) -> MergeAnswer:
    """Merge others into this identity: they are one person. Searches show it at once; a split can undo it."""
    with core.database.write() as session:
        noted(identities=request.identities)
        events = IdentityChanges(session).merge(identity_id, request.identities, drop_names=request.drop_names)
    with core.database.read() as session:
        return MergeAnswer(identity=IdentityService(session).detail(identity_id), events=events)


@router.post(
    "/identities/{identity_id}/split",
    tags=["identities"],
    responses=responses(*_UNKNOWN, ImageNotFoundError, IdentityEventNotFoundError, MergeNotUndoableError, InvalidError),
)
def split_identity(identity_id: Id, request: SplitRequest, core: CoreDep) -> SplitAnswer:
    """Take images out of an identity into a new one, or undo a merge. No association puts them together again."""
    with core.database.write() as session:
        noted(images=request.image_ids or ())
        return split(session, identity_id, request)


@router.get(
    "/identities/{identity_id}/history", tags=["identities"], responses=responses(IdentityNotFoundError, InvalidError)
)
def identity_history(
    identity_id: Id,
    core: CoreDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
) -> HistoryList:
    """What was merged into an identity and split from it, oldest first; also of one that is gone."""
    with core.database.read() as session:
        return history(session, identity_id, after=after, limit=limit)


@router.get(
    "/identities/{identity_id}/timeline",
    tags=["identities"],
    responses=responses(*_UNKNOWN, CollectionNotFoundError, CursorInvalidError, InvalidError),
)
def identity_timeline(
    identity_id: Id,
    core: CoreDep,
    gap_s: Annotated[
        float,
        Query(ge=0, le=MOST_GAP_S, allow_inf_nan=False, description="Seconds that do not yet part two sightings."),
    ] = GAP_S,
    collection: Annotated[str | None, Query(description="Images of this collection only, by its name.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_PAGE, description="Most sightings of a page.")] = PAGE,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> Timeline:
    """Where and when a person was seen: sightings by camera and time, earliest first."""
    with core.database.read() as session:
        found = timeline(session, identity_id, gap_s=gap_s, collection=collection, limit=limit, cursor=cursor)
    shown = [image for group in (*found.sightings, *found.undated) for image in group.image_ids]
    noted(images=shown, collection=collection)
    return found


@router.get("/images/{image_id}", tags=["images"], responses=responses(ImageNotFoundError))
def get_image(image_id: Id, core: CoreDep) -> ImageOut:
    """What is known of an image."""
    return ImageOut.of(_image(image_id, core))


@router.patch("/images/{image_id}", tags=["images"], responses=responses(ImageNotFoundError, InvalidError))
def patch_image(image_id: Id, patch: ImagePatch, core: CoreDep) -> ImageOut:
    """Describe an image, or describe it otherwise. Searches do not change; a retraining learns from it."""
    with core.database.write() as session:
        IdentityService(session).image(image_id).description = patch.description
    return ImageOut.of(_image(image_id, core))


@router.delete(
    "/images/{image_id}",
    tags=["images"],
    status_code=status.HTTP_204_NO_CONTENT,
    responses=responses(ImageNotFoundError, StorageError, StoreUnreachableError),
)
def delete_image(image_id: Id, core: CoreDep) -> None:
    """Delete an image with its vectors and files. Once answered, no search returns it."""
    Eraser(core).image(image_id)


@router.get(
    "/images/{image_id}/file",
    tags=["images"],
    response_class=FileResponse,
    responses={**_JPEG, **responses(ImageNotFoundError, ScopeMissingError, StorageError, StoreUnreachableError)},
)
def get_file(
    image_id: Id,
    request: Request,
    core: CoreDep,
    original: Annotated[
        bool, Query(description="While heads are blurred: without that. Needs a key with the scope `admin` then.")
    ] = False,
) -> Response:
    """The picture: upright JPEG, without the metadata of the original; with blurred heads if the server blurs them."""
    if original and core.showing.blurred:
        principal: Principal = request.state.principal
        principal.require(Need.ADMIN)
        noted(facts={"original": True})
    row = _image(image_id, core)
    return _send(request, core, row, thumbnail=False, original=original)


@router.get(
    "/images/{image_id}/thumbnail",
    tags=["images"],
    response_class=FileResponse,
    responses={**_JPEG, **responses(ImageNotFoundError, StorageError, StoreUnreachableError)},
)
def get_thumbnail(image_id: Id, request: Request, core: CoreDep) -> Response:
    """The picture as a JPEG of at most 256 pixels a side."""
    row = _image(image_id, core)
    return _send(request, core, row, thumbnail=True)


def _image(image_id: int, core: CoreDep) -> Image:
    with core.database.read() as session:
        found = IdentityService(session).image(image_id)
    noted(identities=[found.identity_id])
    return found


def _send(request: Request, core: CoreDep, row: Image, *, thumbnail: bool, original: bool = False) -> Response:
    # An image never changes, but it may be deleted, and heads may be blurred from some day on: browsers may keep it,
    # and must ask before they show it again.
    shown = core.showing
    kind = ("t" if thumbnail else "f") + ("b" if shown.blurred and not original else "")
    headers = {"ETag": f'"{row.id}-{row.sha256[:16]}-{kind}"', "Cache-Control": "private, no-cache"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    if (path := shown.path(row.store_name, thumbnail=thumbnail, original=original)) is not None:
        return FileResponse(path, media_type="image/jpeg", headers=headers)
    name = row.store_name
    data = shown.thumbnail(name) if thumbnail else shown.picture(name, original=original)
    if data is None:
        raise ImageNotFoundError(row.id)
    return Response(data, media_type="image/jpeg", headers=headers)
