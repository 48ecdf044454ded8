"""/v1/queries."""

import time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool

from app.core import Core
from app.dependencies import CoreDep, Id
from app.errors import (
    CollectionNotFoundError,
    CursorInvalidError,
    CursorMismatchError,
    EncoderBusyError,
    EncoderTimeoutError,
    FeedbackNotFoundError,
    IdentityMergedError,
    IdentityNotFoundError,
    ImageNotEncodedError,
    ImageNotFoundError,
    InvalidError,
    ModelNotLoadedError,
    NoActiveModelError,
    PurposeRequiredError,
    QueryNotFoundError,
    QueryNotUnderstoodError,
    QueryOutdatedError,
    ResultsTooLargeError,
    StorageError,
    StoreUnreachableError,
    UnavailableError,
    responses,
)
from app.queries.again import Again, options_of
from app.queries.feedback import FeedbackService
from app.queries.schemas import FeedbackList, QueryOut, QueryPage, QueryPatch, SearchAgain, Verdicts
from app.queries.service import QueryService
from app.queries.sheet import MEDIA, Format, check_size, make_sheet, rendered
from app.queries.sheet_html import CSP
from app.registry.active import LoadedModel
from app.search.asking import answer, gathered, sent
from app.search.query import Query as AskedQuery
from app.search.schemas import IMAGES, LIMIT, SearchAnswer
from app.search.written import WrittenAnswer

router = APIRouter(prefix="/v1/queries", tags=["queries"])
QueryId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
_AGAIN_ERRORS = (
    QueryNotFoundError,
    QueryOutdatedError,
    CollectionNotFoundError,
    ImageNotFoundError,
    ImageNotEncodedError,
    IdentityNotFoundError,
    IdentityMergedError,
    QueryNotUnderstoodError,
    PurposeRequiredError,
    ModelNotLoadedError,
    NoActiveModelError,
    EncoderBusyError,
    EncoderTimeoutError,
)


@router.get("", responses=responses(InvalidError))
def list_queries(
    core: CoreDep,
    saved: Annotated[bool | None, Query(description="Saved searches only, or all others; both if absent.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> QueryPage:
    """Searches that were asked, newest first."""
    return QueryService(core.database, core.recorder).page(saved=saved, cursor=cursor, limit=limit)


@router.get("/{query_id}", responses=responses(QueryNotFoundError))
def get_query(query_id: QueryId, core: CoreDep) -> QueryOut:
    """One search: what was asked, for what purpose, and which model version answered."""
    return QueryService(core.database, core.recorder).out(query_id)


@router.patch(
    "/{query_id}", responses=responses(QueryNotFoundError, InvalidError, PurposeRequiredError, UnavailableError)
)
def patch_query(query_id: QueryId, patch: QueryPatch, core: CoreDep) -> QueryOut:
    """Save a search under a name, rename it, or say what it is for: the audit keeps that as it was and as it is.

    Where a search must say what it is for, that can be changed, but not taken away.
    """
    return QueryService(core.database, core.recorder).change(query_id, patch, core.settings)


@router.delete(
    "/{query_id}", status_code=status.HTTP_204_NO_CONTENT, responses=responses(QueryNotFoundError, UnavailableError)
)
def delete_query(query_id: QueryId, core: CoreDep) -> None:
    """Forget a search with the feedback on it."""
    QueryService(core.database, core.recorder).delete(query_id)


@router.post(
    "/{query_id}/search",
    response_model=SearchAnswer,
    responses=responses(*_AGAIN_ERRORS, CursorInvalidError, CursorMismatchError),
)
async def search_again(query_id: QueryId, body: SearchAgain, request: Request, core: CoreDep) -> Response:
    """Ask a query again, with the model version that answers now; its id stays. Also for further pages."""
    return sent(await _ask_again(query_id, body, request, core, sent_as_it_is=True))


async def _ask_again(
    query_id: str, body: SearchAgain, request: Request, core: Core, *, sent_as_it_is: bool
) -> WrittenAnswer:
    started = time.perf_counter()
    row = await run_in_threadpool(QueryService(core.database, core.recorder).find, query_id)

    async def encode(model: LoadedModel) -> AskedQuery:
        again = await run_in_threadpool(Again, core, model, row)
        found = await gathered(again.queued, request, core.settings.query_timeout_s)
        return await run_in_threadpool(again.query, found, learn=body.use_feedback)

    return await answer(core, encode, options_of(row, body), started, sent_as_it_is=sent_as_it_is)


@router.get(
    "/{query_id}/results",
    response_class=Response,
    responses={
        200: {"content": {media.split(";")[0]: {} for media in MEDIA.values()}, "description": "The file"},
        **responses(*_AGAIN_ERRORS, ResultsTooLargeError, StorageError, StoreUnreachableError),
    },
)
async def export_results(
    query_id: QueryId,
    request: Request,
    core: CoreDep,
    format_name: Annotated[Format, Query(alias="format")] = "html",
    limit: Annotated[int | None, Query(ge=1, le=LIMIT)] = None,
    images_per_identity: Annotated[int | None, Query(ge=1, le=IMAGES)] = None,
    use_feedback: bool = False,
) -> Response:
    """The answer to a query as a file, as it is now: csv and json for programs, html and pdf to print.

    It names the query, its purpose and the model version, and says that these are candidates, not identifications.
    """
    body = SearchAgain(limit=limit, images_per_identity=images_per_identity, use_feedback=use_feedback)
    query = await run_in_threadpool(QueryService(core.database, core.recorder).out, query_id)
    row = await run_in_threadpool(QueryService(core.database, core.recorder).find, query_id)
    asked = options_of(row, body)
    check_size(format_name, asked)
    found = await _ask_again(query_id, body, request, core, sent_as_it_is=False)

    def file() -> bytes:
        return rendered(make_sheet(core, query, found.read(), asked, format_name), format_name)

    headers = {
        "Content-Disposition": f'attachment; filename="descry-{query_id[:12]}.{format_name}"',
        "Cache-Control": "private, no-store",
    }
    if format_name == "html":
        headers |= {"Content-Security-Policy": f"{CSP}; frame-ancestors 'none'", "Content-Disposition": "inline"}
    return Response(await run_in_threadpool(file), media_type=MEDIA[format_name], headers=headers)


@router.post(
    "/{query_id}/feedback",
    status_code=status.HTTP_201_CREATED,
    responses=responses(
        QueryNotFoundError,
        IdentityNotFoundError,
        IdentityMergedError,
        ImageNotFoundError,
        InvalidError,
        UnavailableError,
    ),
)
def give_feedback(query_id: QueryId, verdicts: Verdicts, core: CoreDep) -> FeedbackList:
    """Confirm or reject candidates, or single images of them. Searching again can use it, and a retraining."""
    QueryService(core.database, core.recorder).written(query_id)
    with core.database.write() as session:
        return FeedbackService(session).give(query_id, verdicts)


@router.get("/{query_id}/feedback", responses=responses(QueryNotFoundError))
def list_feedback(query_id: QueryId, core: CoreDep) -> FeedbackList:
    """What was said about the candidates of a search."""
    QueryService(core.database, core.recorder).find(query_id)
    with core.database.read() as session:
        return FeedbackService(session).listed(query_id)


@router.delete(
    "/{query_id}/feedback/{feedback_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=responses(QueryNotFoundError, FeedbackNotFoundError, UnavailableError),
)
def delete_feedback(query_id: QueryId, feedback_id: Id, core: CoreDep) -> None:
    """Take a verdict back."""
    QueryService(core.database, core.recorder).written(query_id)
    with core.database.write() as session:
        FeedbackService(session).take_back(query_id, feedback_id)
