"""/docs."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from app.reference.page import reference_page
from app.reference.style import STYLE

router = APIRouter(prefix="/docs", include_in_schema=False)


@router.get("")
def docs(request: Request) -> HTMLResponse:
    """The API reference."""
    return HTMLResponse(reference_page(request.app.openapi()))


@router.get("/style.css")
def style() -> Response:
    """The look of the reference."""
    return Response(STYLE, media_type="text/css")
