"""RFC 9457 problem documents, for every error that leaves the server."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.audit.note import noted_outcome
from app.errors import PROBLEM_JSON, IdentityMergedError, ServiceError
from app.telemetry import request_id
from models.errors import DescryError

_log = logging.getLogger(__name__)
_HTTP_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


class FieldProblem(BaseModel):
    """One field of a request that cannot be accepted."""

    location: str = Field(examples=["body.limit"])
    message: str
    type: str


class Problem(BaseModel):
    """An error, as RFC 9457 shapes it. Programs match on `code`."""

    type: str = Field(examples=["urn:descry:problem:image_not_found"])
    title: str
    status: int
    detail: str
    code: str
    instance: str = Field(description="Path of the request.")
    request_id: str = Field(description="Names the request in the server's log.")
    errors: list[FieldProblem] | None = None
    merged_into: int | None = Field(default=None, description="With `identity_merged`: where the identity went.")


def problem_response(
    path: str,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: list[FieldProblem] | None = None,
    merged_into: int | None = None,
) -> Response:
    """A response that carries one problem."""
    noted_outcome(code)
    problem = Problem(
        type=f"urn:descry:problem:{code}",
        title=title,
        status=status,
        detail=detail,
        code=code,
        instance=path,
        request_id=request_id(),
        errors=errors,
        merged_into=merged_into,
    )
    # Bytes made here cannot be UTF-8 that a client's own broken text would spoil.
    content = json.dumps(problem.model_dump(exclude_none=True)).encode()
    return Response(content, status, {"Cache-Control": "no-store", **(headers or {})}, media_type=PROBLEM_JSON)


def service_problem(path: str, error: DescryError) -> Response:
    """The response to an error that was raised on purpose."""
    if not isinstance(error, ServiceError):
        return problem_response(path, status=500, code=error.code, title="Internal error", detail=error.message)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    return problem_response(
        path,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.message,
        headers=headers,
        merged_into=error.merged_into if isinstance(error, IdentityMergedError) else None,
    )


def unexpected_problem(path: str) -> Response:
    """The response to an error that nobody foresaw: it says nothing of the inside."""
    return problem_response(
        path,
        status=500,
        code=ServiceError.code,
        title=ServiceError.title,
        detail="something went wrong inside; the server's log has the details under this request_id",
    )


def install(app: FastAPI) -> None:
    """Let every error of an application leave as a problem document."""
    app.add_exception_handler(DescryError, _on_service_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DescryError)
    if getattr(error, "status", 500) >= 500:
        _log.warning("%s: %s", error.code, error.message)
    return service_problem(request.url.path, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Never the input itself: it may be a description of a person, or broken text.
    fields = [
        FieldProblem(
            location=".".join(str(part) for part in item["loc"]), message=str(item["msg"]), type=str(item["type"])
        )
        for item in error.errors()
    ]
    first = f"{fields[0].location}: {fields[0].message}" if fields else "the request cannot be read"
    return problem_response(
        request.url.path, status=422, code="invalid_request", title="Invalid request", detail=first, errors=fields
    )


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    detail = str(error.detail)
    if status == 404:
        detail = f"there is nothing at {request.url.path}"
    elif status == 405:
        detail = f"{request.method} is not possible at {request.url.path}"
    return problem_response(
        request.url.path,
        status=status,
        code=_HTTP_CODES.get(status, "http_error"),
        title=HTTPStatus(status).phrase,
        detail=detail,
        headers=error.headers,
    )
