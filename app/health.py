"""/healthz and /readyz."""

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel

from app.readiness import Readiness, ReadinessWatch

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


@router.get("/healthz")
async def healthz() -> Health:
    """The process is alive. It says nothing about whether it can search: that is /readyz."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready"}})
async def readyz(request: Request, response: Response) -> Readiness:
    """Whether a search would be answered now: looks at the log, catches up with it, and runs a real query."""
    watch: ReadinessWatch = request.app.state.readiness
    found = await watch.readiness()
    if not found.ready:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return found
