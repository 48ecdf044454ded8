"""/v1/search/composed."""

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.audit.note import noted
from app.dependencies import CoreDep
from app.errors import (
    BodyTooLargeError,
    CollectionNotFoundError,
    CursorInvalidError,
    CursorMismatchError,
    EncoderBusyError,
    EncoderTimeoutError,
    IdentityMergedError,
    IdentityNotFoundError,
    ImageNotEncodedError,
    ImageNotFoundError,
    ModelNotLoadedError,
    NoActiveModelError,
    PictureError,
    PicturesDifferError,
    PurposeRequiredError,
    QueryEmptyError,
    QueryNotUnderstoodError,
    QueryTooLongError,
    ServerBusyError,
    responses,
)
from app.registry.active import LoadedModel
from app.search.asking import answer, gathered, sent
from app.search.encoding import QueryEncoder
from app.search.query import Query
from app.search.schemas import PARTS, ComposedQuery, SearchAnswer

router = APIRouter(prefix="/v1/search", tags=["search"])
_QUERY = {"$ref": "#/components/schemas/ComposedQuery"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _QUERY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["query"],
                    "properties": {
                        "query": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": _QUERY,
                            "description": "A ComposedQuery as JSON; a part's `picture` is the name of a file.",
                        },
                        "files": {
                            "type": "array",
                            "maxItems": 2 * PARTS,
                            "items": {"type": "string", "format": "binary"},
                            "description": "JPEG, PNG or WebP pictures of one person each, under different names.",
                        },
                    },
                }
            },
        },
    }
}


@router.post(
    "/composed",
    response_model=SearchAnswer,
    openapi_extra=_BODY,
    responses=responses(
        CollectionNotFoundError,
        ImageNotFoundError,
        IdentityNotFoundError,
        IdentityMergedError,
        CursorInvalidError,
        CursorMismatchError,
        QueryEmptyError,
        QueryTooLongError,
        QueryNotUnderstoodError,
        PicturesDifferError,
        PurposeRequiredError,
        PictureError,
        BodyTooLargeError,
        ModelNotLoadedError,
        NoActiveModelError,
        EncoderTimeoutError,
        EncoderBusyError,
        ServerBusyError,
        ImageNotEncodedError,
    ),
)
async def search_composed(request: Request, core: CoreDep) -> Response:
    """Find people by several descriptions, pictures and examples of the gallery at once, less what is denied.

    Send JSON, or multipart/form-data where pictures come with it. Pictures are not kept; their vectors are, with the
    query, until that is forgotten. The answer is a list of candidates, not an identification.
    """
    started = time.perf_counter()
    core.active.current()
    asked, files = await _read(request)
    noted(**asked.model_dump(mode="json", include={"parts", "negatives"}, exclude_none=True))

    async def encode(model: LoadedModel) -> Query:
        encoder = QueryEncoder(core, model, asked, files)
        queued = await run_in_threadpool(encoder.begin)
        found = await gathered(queued, request, core.settings.query_timeout_s)
        return await run_in_threadpool(encoder.query, found)

    return sent(await answer(core, encode, asked, started))


async def _read(request: Request) -> tuple[ComposedQuery, dict[str, bytes]]:
    """The query and its pictures by name, from either kind of body."""
    kind = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=2 * PARTS, max_fields=1) as form:
            return _validated(_field(form), "query"), await _pictures(form)
    if kind != "application/json" and not kind.endswith("+json"):
        raise HTTPException(415, "send the query as application/json, or with pictures as multipart/form-data")
    return _validated(await request.body()), {}


def _field(form: FormData) -> str:
    if not isinstance(query := form.get("query"), str):
        raise RequestValidationError([{"loc": ("body", "query"), "msg": "the field is missing", "type": "missing"}])
    return query


async def _pictures(form: FormData) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for field, value in form.multi_items():
        if not isinstance(value, UploadFile):
            continue
        name = value.filename or ""
        if field != "files":
            raise PicturesDifferError(f"a file came in the field {field[:200]!r}; send pictures in `files`")
        if name in found:
            raise PicturesDifferError(f"two files are named {name[:200]!r}; give each a name of its own")
        found[name] = await value.read()
    return found


def _validated(body: str | bytes, *place: str) -> ComposedQuery:
    try:
        return ComposedQuery.model_validate_json(body)
    except ValidationError as error:
        found = [{**e, "loc": ("body", *place, *e["loc"])} for e in error.errors(include_context=False)]
        raise RequestValidationError(found) from None
