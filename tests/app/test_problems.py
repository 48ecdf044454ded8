"""Every error leaves as a problem document with a stable code and says nothing of the inside."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from pydantic import ValidationError
from starlette.testclient import TestClient

from app import errors
from app.core import Core
from app.errors import ConfigurationError, ServiceError
from app.main import create_app
from app.settings import Settings, load_settings
from models.errors import DescryError

FIELDS = {"type", "title", "status", "detail", "code", "instance", "request_id"}
CLASSES = [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, ServiceError)]


def check(response: Any, status: int, code: str) -> dict[str, Any]:  # noqa: ANN401  a response
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert set(problem) - {"errors", "merged_into"} == FIELDS
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:descry:problem:{code}"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["detail"]
    return problem


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.code)
def test_every_error_class_leaves_as_a_problem(error: type[ServiceError], settings: Settings, core: Core) -> None:
    app = create_app(settings)
    router = APIRouter()

    @router.get("/raise")
    def fail() -> None:
        made = error.__new__(error)
        DescryError.__init__(made, "what was wrong")
        raise made

    app.include_router(router)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        response = client.get("/raise")
    assert check(response, error.status, error.code)["title"] == error.title
    assert response.headers.get("retry-after") == (str(error.retry_after) if error.retry_after else None)


def test_codes_are_unique_and_the_tree_in_the_docstring_is_the_tree() -> None:
    assert len({error.code for error in CLASSES}) == len(CLASSES)
    drawn = re.findall(r"\+-- (\w+)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(error.__name__ for error in CLASSES)
    for error in CLASSES:
        line = next(line for line in (errors.__doc__ or "").splitlines() if re.search(rf"\b{error.__name__}\b", line))
        assert error.code in line
        assert (parent := error.__mro__[1]).__name__ in (errors.__doc__ or "") or parent is DescryError


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/nothing/here", {}, 404, "not_found"),
        ("DELETE", "/v1/search/text", {}, 405, "method_not_allowed"),
        ("GET", "/v1/images/abc", {}, 422, "invalid_request"),
        ("GET", "/v1/images/0", {}, 422, "invalid_request"),
        ("GET", f"/v1/images/{2**64}", {}, 422, "invalid_request"),
        ("GET", "/v1/images/77", {}, 404, "image_not_found"),
        ("POST", "/v1/models/77/activate", {}, 404, "model_version_not_found"),
        ("POST", "/v1/search/text", {"json": {"query": "red", "limit": 101}}, 422, "invalid_request"),
        ("POST", "/v1/search/text", {"json": {"query": "red", "surprise": 1}}, 422, "invalid_request"),
        ("POST", "/v1/search/text", {"content": b"{"}, 422, "invalid_request"),
        ("POST", "/v1/search/text", {"content": b"[" * 5000}, 400, "bad_request"),
        ("POST", "/v1/search/image", {"data": {"limit": "3"}}, 422, "invalid_request"),
        ("POST", "/v1/search/text", {"content": b" " * 2_000_000}, 413, "body_too_large"),
        ("POST", "/v1/search/text", {"headers": {"origin": "http://evil.example"}}, 403, "origin_not_allowed"),
        ("GET", "/healthz", {"headers": {"host": "evil.example"}}, 421, "host_not_allowed"),
        ("GET", "/healthz", {"headers": {"host": "127.0.0.1.evil.example"}}, 421, "host_not_allowed"),
        ("GET", "/healthz", {"headers": {"host": "[::1"}}, 421, "host_not_allowed"),
    ],
)
def test_requests_that_go_wrong(
    client: TestClient, method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    if "content" in options:
        options = {**options, "headers": {"content-type": "application/json"}}
    problem = check(client.request(method, path, **options), status, code)
    assert "Traceback" not in str(problem)
    if code == "invalid_request":
        assert all(set(entry) == {"location", "message", "type"} for entry in problem["errors"])


def test_a_body_without_a_length_is_counted(client: TestClient) -> None:
    chunks = (b" " * 100_000 for _ in range(30))
    response = client.post("/v1/search/text", content=chunks, headers={"content-type": "application/json"})
    check(response, 413, "body_too_large")


def test_the_input_is_not_echoed(client: TestClient) -> None:
    response = client.post("/v1/search/text", json={"query": ["a private description"]})
    assert "private" not in check(response, 422, "invalid_request")["detail"] + response.text


def test_an_unexpected_error_tells_nothing(settings: Settings, core: Core) -> None:
    app = create_app(settings)
    router = APIRouter()

    @router.get("/broken")
    def broken() -> None:
        raise RuntimeError("password=hunter2")

    app.include_router(router)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        response = client.get("/broken")
    check(response, 500, "internal_error")
    assert "hunter2" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "127.8.8.8"])
def test_loopback_names_are_answered(client: TestClient, host: str) -> None:
    response = client.get("/healthz", headers={"host": host})
    assert response.status_code == 200
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert response.headers["referrer-policy"] == "no-referrer"


def test_the_own_page_may_post(client: TestClient) -> None:
    response = client.post(
        "/v1/search/text", json={"query": "red"}, headers={"origin": "http://127.0.0.1:8000", "host": "127.0.0.1:8000"}
    )
    assert response.status_code == 200


def test_request_ids_are_taken_over_only_if_harmless(client: TestClient) -> None:
    assert client.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/healthz", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DESCRY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DESCRY_ALLOWED_HOSTS", "a.example, b.example")
    found = load_settings(port=None)
    assert (found.data_dir, found.allowed_hosts, found.port) == (tmp_path, ("a.example", "b.example"), 8000)
    monkeypatch.setenv("DESCRY_PORT", "99999")
    with pytest.raises(ConfigurationError, match="DESCRY_PORT"):
        load_settings()
    with pytest.raises(ValidationError):
        Settings()


def test_openapi_describes_the_errors_as_they_are(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    text = str(document)
    assert "HTTPValidationError" not in text
    assert set(document["components"]["schemas"]["Problem"]["properties"]) == {*FIELDS, "errors", "merged_into"}
    search = document["paths"]["/v1/search/text"]["post"]["responses"]
    assert {"200", "422", "429", "503", "500"} <= set(search)
    assert "query_not_understood" in search["422"]["description"]
    for reference in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert reference in document["components"]["schemas"]


def test_the_reference_needs_no_other_host(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert set(re.findall(r'(?:href|src)="([^"]+)"', page.text)) == {"/docs/style.css", "/openapi.json"}
    assert client.get("/docs/style.css").headers["content-type"].startswith("text/css")
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page.text


JSON_BODY = {"Content-Type": "application/json"}
HALVES = (
    rb'{"query": "\ud800"}',
    rb'{"query": "red \uDFFF\uD83D"}',
    b'{"query": "red \xed\xa0\x80"}',
    '{"query": "red \ud800"}'.encode("utf-16", "surrogatepass"),
    rb'{"query": "red", "collection": "\ud800"}',
    rb'{"query": "red", "\ud800": 1}',
    rb'{"query": "red", "filters": {"cameras": ["\ud800"]}}',
)


@pytest.mark.parametrize("body", HALVES)
def test_half_a_character_is_refused_wherever_text_goes_in(client: TestClient, core: Core, body: bytes) -> None:
    """One query that held it was stored, and no list of queries could be written any more."""
    problem = check(client.post("/v1/search/text", content=body, headers=JSON_BODY), 422, "invalid_request")
    assert "Unicode" in problem["detail"]
    assert client.get("/v1/queries").json()["queries"] == []


def test_whole_characters_and_what_looks_like_halves_are_taken(client: TestClient, core: Core) -> None:
    for text in (rb"red \ud83d\ude00", rb"red \\ud800", "red 😀".encode(), "red \uffff".encode()):
        answer = client.post("/v1/search/text", content=b'{"query": "' + text + b'"}', headers=JSON_BODY)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "", "http://evil.example", "\xff"])
def test_an_origin_that_is_none_is_refused(client: TestClient, origin: str) -> None:
    answer = client.post("/v1/search/text", json={"query": "red"}, headers={b"Origin": origin.encode("latin-1")})
    check(answer, 403, "origin_not_allowed")
