"""/v1/images/{id}/support and /heatmap."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response

from app.audit.note import noted
from app.core import Core
from app.dependencies import CoreDep, Id
from app.embedding.service import TextEmbedding
from app.errors import (
    EncoderBusyError,
    EncoderTimeoutError,
    ImageNotEncodedError,
    ImageNotFoundError,
    ModelNotExplainableError,
    NoActiveModelError,
    QueryEmptyError,
    QueryNotUnderstoodError,
    QueryTooLongError,
    StorageError,
    StoreUnreachableError,
    responses,
)
from app.explanations.explainer import Explainer
from app.explanations.schemas import ExplanationQuery, SupportAnswer
from app.explanations.service import ExplanationService, Heatmap
from app.search.asking import encoded
from app.search.understanding import check_query

R = TypeVar("R")
router = APIRouter(prefix="/v1/images", tags=["explanations"])
_ERRORS = (
    ImageNotFoundError,
    QueryEmptyError,
    QueryTooLongError,
    QueryNotUnderstoodError,
    NoActiveModelError,
    EncoderBusyError,
    EncoderTimeoutError,
)
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}


def _explainer(request: Request) -> Explainer:
    found: Explainer = request.app.state.explainer
    return found


ExplainerDep = Annotated[Explainer, Depends(_explainer)]


@router.post("/{image_id}/support", responses=responses(*_ERRORS, ImageNotEncodedError))
async def image_support(
    image_id: Id, body: ExplanationQuery, request: Request, core: CoreDep, explainer: ExplainerDep
) -> SupportAnswer:
    """Which phrases of a description an image bears out. It explains a score; it does not make it more certain."""

    def explain(service: ExplanationService, query: str, embedding: TextEmbedding) -> SupportAnswer:
        return service.support(image_id, query, embedding)

    return await _explained(core, explainer, body, request, explain)


@router.post(
    "/{image_id}/heatmap",
    response_class=Response,
    responses={
        **_PNG,
        **responses(*_ERRORS, ModelNotExplainableError, StorageError, StoreUnreachableError),
    },
)
async def image_heatmap(
    image_id: Id, body: ExplanationQuery, request: Request, core: CoreDep, explainer: ExplainerDep
) -> Response:
    """Where an image speaks for a description or a phrase of it: the picture with heat laid over it, as PNG.

    The hottest place is red whatever the score, which is in the header `Descry-Score`: heat says where, not whether.
    """

    def explain(service: ExplanationService, query: str, embedding: TextEmbedding) -> tuple[Heatmap, int]:
        return service.heatmap(image_id, embedding), service.version_id

    found, version_id = await _explained(core, explainer, body, request, explain)
    headers = {
        "Cache-Control": "private, no-store",  # a picture of a person, which may be erased
        "Descry-Score": f"{found.score:.6f}",
        "Descry-Model-Version": str(version_id),
    }
    return Response(found.png, media_type="image/png", headers=headers)


async def _explained(
    core: Core,
    explainer: Explainer,
    body: ExplanationQuery,
    request: Request,
    explain: Callable[[ExplanationService, str, TextEmbedding], R],
) -> R:
    """Encode the text as a search does, then explain on the explainer's thread, both within the time of a query."""
    noted(query=body.query)
    query, limit = check_query(body.query, core.settings.max_query_chars), core.settings.query_timeout_s
    model = core.active.current()
    noted(facts={"version": model.version_id})
    embedding = await encoded(model.encoder.submit_text(query), request, limit)
    found: R = await encoded(
        explainer.submit(lambda: explain(ExplanationService(core, model), query, embedding)), request, limit
    )
    return found
