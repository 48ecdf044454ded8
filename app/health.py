"""/healthz and /readyz."""

import time

from fastapi import APIRouter, Response, status
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from app.core import Core
from app.dependencies import CoreDep
from app.errors import StorageError
from app.search.query import Part, Query
from app.search.schemas import SearchOptions
from app.search.service import SearchService
from app.vectors.repository import LogRepository
from models.errors import DescryError

router = APIRouter(tags=["health"])
_PROBE = "a person in a black coat"


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class Readiness(BaseModel):
    """Whether a search would be answered now; if not, what is missing."""

    ready: bool
    missing: list[str]


@router.get("/healthz")
async def healthz() -> Health:
    """The process is alive. It says nothing about whether it can search: that is /readyz."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready"}})
def readyz(core: CoreDep, response: Response) -> Readiness:
    """Runs a real query, from the words to the page."""
    missing = _missing(core)
    if missing:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return Readiness(ready=not missing, missing=missing)


def _missing(core: Core) -> list[str]:
    try:
        with core.database.read() as session:
            active = LogRepository(session).head().active_version_id
    except SQLAlchemyError:
        return ["database"]
    try:
        core.store.check()
    except StorageError as error:
        return [f"image store {core.store.place}: {error.code}: {error.message}"]
    loaded = core.active.loaded
    if loaded is None:
        return [
            "active model: none" if active is None else f"model version {active}: not loaded (yet); the log says why"
        ]
    if (trouble := loaded.encoder.trouble) is not None:
        return [trouble]  # at once: a probe would wait as long as every other query
    started = time.perf_counter()
    try:
        probe = loaded.encoder.submit_text(_PROBE, probe=True).result(core.settings.query_timeout_s)
        query = Query((Part(probe.vector, "text"),), {"text": _PROBE})
        options = SearchOptions(limit=1, images_per_identity=1)
        SearchService(core.database, loaded).answer(query, options, started=started)
    except DescryError as error:
        return [f"search: {error.code}"]
    except (TimeoutError, SQLAlchemyError, RuntimeError):
        return ["search"]
    return []
