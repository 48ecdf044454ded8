"""/metrics."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.metrics.service import Metrics

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}},
)
def metrics(request: Request) -> Response:
    """What this server counts, in all of its processes. Behind several replicas each is to be asked by itself."""
    held: Metrics = request.app.state.metrics
    return Response(held.text(), headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE_LATEST)
