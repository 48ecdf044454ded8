"""The client and the OpenAPI document agree: every route has a method, every model the fields of its schema."""

import ast
import json
from pathlib import Path

import pytest

import descry_client.models
from descry_client.models import Model

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
WITHOUT_A_METHOD = {
    ("POST", "/v1/session"): "sets the page's cookie; a client sends its key with each request",
    ("DELETE", "/v1/session"): "takes the page's cookie away",
    ("GET", "/metrics"): "for Prometheus, in its own text format",
}
FORMS = {"Body_search_image_v1_search_image_post", "Body_register_model_v1_models_post"}
MODELS: dict[str, type[Model]] = {
    name: kind
    for name, kind in vars(descry_client.models).items()
    if isinstance(kind, type) and issubclass(kind, Model) and kind is not Model
}


def asked(source: str) -> set[tuple[str, str]]:
    """Method and path of each request that a module makes."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        words = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        paths = [word for word in words if word.startswith("/") and word != "/"]
        verbs = [word for word in words if word in ("GET", "POST", "PATCH", "DELETE", "PUT")]
        if paths:
            found.add((verbs[0] if verbs else "GET", paths[0]))
    return found


@pytest.mark.parametrize("kind", ["_async", "_sync"])
def test_every_route_has_a_method_or_a_reason(kind: str) -> None:
    routes = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    called = {pair for path in (ROOT / "descry_client" / kind).glob("*.py") for pair in asked(path.read_text())}
    assert called | set(WITHOUT_A_METHOD) == routes
    assert not called & set(WITHOUT_A_METHOD)


def test_every_schema_has_a_model_with_its_fields() -> None:
    assert set(SCHEMAS) - FORMS == set(MODELS)
    for name in set(SCHEMAS) - FORMS:
        fields = MODELS[name].model_fields
        assert {one.alias or key for key, one in fields.items()} == set(SCHEMAS[name].get("properties", ())), name
        required = {one.alias or key for key, one in fields.items() if one.is_required()}
        assert required == set(SCHEMAS[name].get("required", ())), name


def test_a_route_that_wants_a_key_says_so_and_what_it_answers_without() -> None:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            public = path in ("/healthz", "/readyz") or (method, path) == ("delete", "/v1/session")
            assert ("security" not in operation) == public, (method, path)
            assert ("401" in operation["responses"]) == (not public), (method, path)
            assert ("429" in operation["responses"]) == (not public), (method, path)
    search = DOCUMENT["paths"]["/v1/search/text"]["post"]
    assert search["security"] == [{"key": ["search"]}]
    assert DOCUMENT["paths"]["/v1/session"]["get"]["security"] == [{"key": []}]
    assert "scope_missing" in search["responses"]["403"]["description"]
    assert DOCUMENT["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
