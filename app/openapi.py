"""The OpenAPI document: our own problem documents in place of the framework's validation error, and what the layers
round the routes add to each of them: keys, limits of the rate and of the body."""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.access.rules import Need, need_of
from app.errors import (
    AuditUnavailableError,
    BodyTimeoutError,
    BodyTooLargeError,
    HostNotAllowedError,
    InvalidError,
    KeyInvalidError,
    KeyRequiredError,
    OriginNotAllowedError,
    RateLimitedError,
    ScopeMissingError,
    ServiceError,
    responses,
)
from app.problems import Problem
from app.search.schemas import ComposedQuery

_FRAMEWORK = ("HTTPValidationError", "ValidationError")
SCHEME = "key"
_SCHEMES = {
    SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of Descry: `descry_PREFIX_SECRET`. On loopback none is needed until the first is made.",
    }
}
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait before the next attempt.", "schema": {"type": "integer"}}
}


def install(app: FastAPI) -> None:
    """Let an application describe its errors as they are."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _corrected(
                get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            )
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way that FastAPI documents


def _corrected(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FRAMEWORK:
        schemas.pop(name, None)
    for model in (Problem, ComposedQuery):  # which no signature names
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    document["components"]["securitySchemes"] = _SCHEMES
    for path, item in document["paths"].items():
        for method, operation in item.items():
            answers = operation["responses"]
            if "HTTPValidationError" in str(answers.get("422")):
                answers["422"] = InvalidError.openapi()
            answers.setdefault("500", ServiceError.openapi())
            _guarded(method.upper(), operation)
            _behind_the_door(operation, need_of(method.upper(), re.sub(r"\{[^}]+\}", "1", path)))
    return document


def _guarded(method: str, operation: dict[str, Any]) -> None:
    """What `app.guard` answers in a route's place."""
    _add(operation, HostNotAllowedError)
    if method != "GET":
        _add(operation, OriginNotAllowedError)
    if "requestBody" in operation:
        _add(operation, BodyTooLargeError, BodyTimeoutError)
        # The framework's own answer to a body that is not what its Content-Type says.
        operation["responses"].setdefault(
            "400", {**InvalidError.openapi(), "description": "Bad request (`bad_request`)"}
        )


def _behind_the_door(operation: dict[str, Any], need: Need) -> None:
    """What `app.access.door` asks for, and answers in a route's place. The name of a scope is that of the need.

    Refusals are in the audit, whatever the route is: each may fail for want of its entry.
    """
    if need is Need.PUBLIC:
        return
    operation["security"] = [{SCHEME: [] if need is Need.ANY else [need.value]}]
    _add(operation, KeyRequiredError, KeyInvalidError, RateLimitedError, AuditUnavailableError)
    if need is not Need.ANY:
        _add(operation, ScopeMissingError)
    operation["responses"]["429"]["headers"] = _RETRY_AFTER


def _add(operation: dict[str, Any], *errors: type[ServiceError]) -> None:
    """Add errors to the answers of an operation; those of one status share an entry."""
    answers = operation["responses"]
    for status, entry in responses(*errors).items():
        there = answers.setdefault(str(status), entry)
        if there is not entry and entry["description"] not in there["description"]:
            there["description"] += f"; {entry['description']}"
