"""/v1/search."""

import hashlib
import time
from contextvars import copy_context
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from starlette.responses import Response
from torch import Tensor

from app.audit.note import noted
from app.dependencies import CoreDep
from app.errors import (
    AttributeProtectedError,
    BodyTooLargeError,
    CollectionNotFoundError,
    CursorInvalidError,
    CursorMismatchError,
    EncoderBusyError,
    EncoderFailedError,
    EncoderStalledError,
    EncoderTimeoutError,
    FilterError,
    ModelNotLoadedError,
    NoActiveModelError,
    PictureError,
    PurposeRequiredError,
    QueryEmptyError,
    QueryLanguageUnsupportedError,
    QueryNotUnderstoodError,
    QueryTooLongError,
    ServerBusyError,
    TimezoneUnknownError,
    responses,
)
from app.gallery import pictures
from app.registry.active import LoadedModel
from app.search.asking import answer, encoded, gathered, sent
from app.search.filters import Filters
from app.search.query import Part, Query
from app.search.schemas import IMAGES, LIMIT, PURPOSE_CHARS, GroupBy, SearchAnswer, SearchOptions, TextQuery
from app.search.wording import DescriptionEncoder

router = APIRouter(prefix="/v1/search", tags=["search"])
_ENCODER_ERRORS = (
    NoActiveModelError,
    ModelNotLoadedError,
    EncoderTimeoutError,
    EncoderBusyError,
    ServerBusyError,
    EncoderStalledError,
    EncoderFailedError,
)
_OPTION_ERRORS = (
    CollectionNotFoundError,
    CursorInvalidError,
    CursorMismatchError,
    FilterError,
    TimezoneUnknownError,
    AttributeProtectedError,
    PurposeRequiredError,
)


@router.post(
    "/text",
    response_model=SearchAnswer,
    responses=responses(
        *_OPTION_ERRORS,
        QueryEmptyError,
        QueryTooLongError,
        QueryNotUnderstoodError,
        QueryLanguageUnsupportedError,
        *_ENCODER_ERRORS,
    ),
)
async def search_text(body: TextQuery, request: Request, core: CoreDep) -> Response:
    """Find people by a description. The answer is a list of candidates, not an identification."""
    started = time.perf_counter()
    noted(query=body.query)

    async def encode(model: LoadedModel) -> Query:
        encoder = DescriptionEncoder(model, body.query, core.settings.max_query_chars)
        return encoder.query(await gathered(encoder.begin(), request, core.settings.query_timeout_s))

    return sent(await answer(core, encode, body, started))


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


@router.post(
    "/image",
    response_model=SearchAnswer,
    responses=responses(*_OPTION_ERRORS, PictureError, BodyTooLargeError, *_ENCODER_ERRORS),
)
async def search_image(
    request: Request,
    core: CoreDep,
    file: Annotated[UploadFile, File(description="A JPEG, PNG or WebP picture of one person.")],
    options: Annotated[SearchOptions, Depends(_form_options)],
) -> Response:
    """Find people by an example picture. It is not kept; its vector is, with the query, until that is forgotten."""
    started = time.perf_counter()
    limits = core.settings

    def decode(model: LoadedModel) -> tuple[str, Tensor]:
        # The bytes stay in the upload's own file until it is this one's turn.
        file.file.seek(0)
        data = file.file.read()
        sha256 = hashlib.sha256(data).hexdigest()
        noted(picture={"sha256": sha256})  # also of one that is no picture
        picture = pictures.decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_upload_bytes)
        return sha256, model.encoder.encoder.preprocess(picture.image)

    async def encode(model: LoadedModel) -> Query:
        decoded = core.decoding.submit(partial(copy_context().run, decode, model))
        sha256, pixels = await encoded(decoded, request, limits.query_timeout_s)
        vector = await encoded(model.encoder.submit_picture(pixels), request, limits.query_timeout_s)
        return Query((Part(vector, "image"),), {"picture": {"sha256": sha256}}, uploaded={sha256: vector})

    return sent(await answer(core, encode, options, started))
