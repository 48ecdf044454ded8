"""The OpenAPI document: our own problem documents in place of the framework's validation error."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.errors import InvalidError, ServiceError
from app.problems import Problem
from app.search.schemas import ComposedQuery

_FRAMEWORK = ("HTTPValidationError", "ValidationError")


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
    for path in document["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            if "HTTPValidationError" in str(answers.get("422")):
                answers["422"] = InvalidError.openapi()
            answers.setdefault("500", ServiceError.openapi())
    return document
