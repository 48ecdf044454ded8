"""What is counted where it happens. Every label has few values, none of which says whom or what anybody asked for."""

from typing import Protocol

from prometheus_client import Counter, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
STAGES = ("wait", "encode", "search", "fetch", "total")
"""Of a search. `wait` is the time of one text or picture in the encoder's queue, which `encode` includes."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# In no registry of their own: `app.metrics.service` puts them beside the state of one application.
REQUESTS = Counter("descry_requests", "Requests that were answered.", ("method", "route", "status"), registry=None)
REQUEST_SECONDS = Histogram(
    "descry_request_seconds", "From the head of a request to its end.", ("route",), buckets=_SECONDS, registry=None
)
STAGE_SECONDS = Histogram(
    "descry_search_stage_seconds",
    "Stages of answered searches; wait is that of each text or picture in the encoder's queue.",
    ("stage",),
    buckets=_SECONDS,
    registry=None,
)
for _stage in STAGES:
    STAGE_SECONDS.labels(_stage)


class Milliseconds(Protocol):
    """What a search took: `app.search.schemas.Took`."""

    encode: float
    search: float
    fetch: float
    total: float


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request.

    Args:
        route: a template of `app.access.rules`, never a path.
        status: 0 if the client went away before its answer began.
    """
    REQUESTS.labels(method if method in _METHODS else "other", route, str(status)).inc()
    REQUEST_SECONDS.labels(route).observe(seconds)


def observe_wait(seconds: float) -> None:
    """Count what one text or picture has waited for the encoder."""
    STAGE_SECONDS.labels("wait").observe(seconds)


def observe_search(took: Milliseconds) -> None:
    """Count the stages of a search."""
    for stage in ("encode", "search", "fetch", "total"):
        STAGE_SECONDS.labels(stage).observe(getattr(took, stage) / 1000)
