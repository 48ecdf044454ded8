"""/v1/search."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.core import Core
from app.dependencies import CoreDep
from app.errors import (
    AttributeProtectedError,
    BodyTooLargeError,
    CollectionNotFoundError,
    CursorInvalidError,
    CursorMismatchError,
    EncoderBusyError,
    EncoderTimeoutError,
    FilterError,
    NoActiveModelError,
    PictureError,
    QueryEmptyError,
    QueryNotUnderstoodError,
    QueryTooLongError,
    TimezoneUnknownError,
    responses,
)
from app.gallery import pictures
from app.registry.active import LoadedModel
from app.search.filters import Filters
from app.search.query import Part, Query
from app.search.schemas import IMAGES, LIMIT, PURPOSE_CHARS, GroupBy, SearchAnswer, SearchOptions, TextQuery
from app.search.service import SearchService, SupersededError, check_query, text_warnings

R = TypeVar("R")
router = APIRouter(prefix="/v1/search", tags=["search"])
_ENCODER_ERRORS = (NoActiveModelError, EncoderTimeoutError, EncoderBusyError)
_DISCONNECT_CHECK_S = 0.25
_SWITCHES = 3
"""Changes of the version that one query follows."""
_OPTION_ERRORS = (
    CollectionNotFoundError,
    CursorInvalidError,
    CursorMismatchError,
    FilterError,
    TimezoneUnknownError,
    AttributeProtectedError,
)


@router.post(
    "/text",
    responses=responses(*_OPTION_ERRORS, QueryEmptyError, QueryTooLongError, QueryNotUnderstoodError, *_ENCODER_ERRORS),
)
async def search_text(body: TextQuery, request: Request, core: CoreDep) -> SearchAnswer:
    """Find people by a description. The answer is a list of candidates, not an identification."""
    started = time.perf_counter()
    query = check_query(body.query, core.settings.max_query_chars)

    async def encode(model: LoadedModel) -> Query:
        embedding = await _encoded(model.encoder.submit_text(query), request, core.settings.query_timeout_s)
        return Query((Part(embedding.vector, "text"),), {"text": query}, tuple(text_warnings(embedding)))

    return await _answer(core, encode, body, started)


def _form_options(
    limit: Annotated[int, Form(ge=1, le=LIMIT)] = 10,
    images_per_identity: Annotated[int, Form(ge=1, le=IMAGES)] = 4,
    collection: Annotated[str | None, Form(description="Search this collection only, by its name.")] = None,
    filters: Annotated[str | None, Form(description="`filters` of the other searches, as JSON.")] = None,
    group_by: Annotated[GroupBy, Form()] = "identity",
    cursor: Annotated[str | None, Form(description="`next_cursor` of the page before.")] = None,
    purpose: Annotated[str | None, Form(max_length=PURPOSE_CHARS)] = None,
) -> SearchOptions:
    return SearchOptions(
        limit=limit,
        images_per_identity=images_per_identity,
        collection=collection,
        filters=None if filters is None else Filters.read(filters),
        group_by=group_by,
        cursor=cursor,
        purpose=purpose,
    )


@router.post("/image", responses=responses(*_OPTION_ERRORS, PictureError, BodyTooLargeError, *_ENCODER_ERRORS))
async def search_image(
    request: Request,
    core: CoreDep,
    file: Annotated[UploadFile, File(description="A JPEG, PNG or WebP picture of one person.")],
    options: Annotated[SearchOptions, Depends(_form_options)],
) -> SearchAnswer:
    """Find people by an example picture. The picture is not kept."""
    started = time.perf_counter()
    core.active.current()
    data = await file.read()
    limits = core.settings
    picture = await run_in_threadpool(
        pictures.decode, data, max_pixels=limits.max_pixels, max_bytes=limits.max_upload_bytes
    )

    async def encode(model: LoadedModel) -> Query:
        pixels = await run_in_threadpool(model.encoder.encoder.preprocess, picture.image)
        vector = await _encoded(model.encoder.submit_picture(pixels), request, limits.query_timeout_s)
        return Query((Part(vector, "image"),), {"picture": hashlib.sha256(data).hexdigest()})

    return await _answer(core, encode, options, started)


async def _answer(
    core: Core, encode: Callable[[LoadedModel], Awaitable[Query]], options: SearchOptions, started: float
) -> SearchAnswer:
    """Encode and search with one version, from beginning to end; again, if another one has taken over meanwhile."""
    for _ in range(_SWITCHES):
        model = core.active.current()
        query = await encode(model)
        service = SearchService(core.database, model, core.active.ready, core.settings.protected_attributes)
        try:
            return await run_in_threadpool(service.answer, query, options, started=started)
        except SupersededError:
            await run_in_threadpool(core.active.follow)
    model = core.active.current()
    query = await encode(model)
    service = SearchService(core.database, model, protected=core.settings.protected_attributes)
    return await run_in_threadpool(service.answer, query, options, started=started)


async def _encoded(future: "Future[R]", request: Request, timeout_s: float) -> R:
    """Wait for the encoder; give the place in the queue back if the client goes away or the time is up."""
    deadline = time.monotonic() + timeout_s
    waiting = asyncio.wrap_future(future)
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=_DISCONNECT_CHECK_S)
            if done:
                return waiting.result()
            if await request.is_disconnected():
                raise ClientDisconnect
            if time.monotonic() > deadline:
                raise EncoderTimeoutError(f"the encoder did not answer within {timeout_s:g} s; try again in a moment")
    finally:
        waiting.cancel()
