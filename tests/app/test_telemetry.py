"""Logs as text and as JSON, and traces: they say what was done, and nothing of what was asked."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from PIL import Image
from starlette.testclient import TestClient

from app.core import Core
from app.errors import TracesNotInstalledError
from app.settings import Settings, load_settings
from app.telemetry import LogFormat, formatter
from app.tracing import configure_tracing, end_tracing, span, wanted
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import people


class Lines:
    """What the handlers of `configure_logging` would write, in one format."""

    def __init__(self, kind: LogFormat) -> None:
        self.stream = io.StringIO()
        self._handler = logging.StreamHandler(self.stream)
        self._handler.setFormatter(formatter(kind))
        self._logger = logging.getLogger("app")

    def __enter__(self) -> Self:
        self._before = self._logger.level
        self._logger.setLevel("DEBUG")
        self._logger.addHandler(self._handler)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self._handler)
        self._logger.setLevel(self._before)

    @property
    def text(self) -> str:
        return self.stream.getvalue()


def use(client: TestClient, headers: dict[str, str]) -> None:
    """Searches that succeed and that fail, with words and a picture that must not be written down."""
    body = {"query": "a person in a purple coat zebrawort", "purpose": "case turquoise"}
    assert client.post("/v1/search/text", json=body, headers=headers).status_code == 200
    assert (
        client.post("/v1/search/text?words=turquoise", json={**body, "limit": -1}, headers=headers).status_code == 422
    )
    held, told = io.BytesIO(), {"purpose": "case turquoise"}
    Image.new("RGB", (32, 64), (150, 40, 170)).save(held, "JPEG")
    sent = {"file": ("turquoise.jpg", held.getvalue(), "image/jpeg")}
    assert client.post("/v1/search/image", files=sent, data=told, headers=headers).status_code == 200
    sent = {"file": ("turquoise.jpg", b"x", "image/jpeg")}
    assert client.post("/v1/search/image", files=sent, data=told, headers=headers).status_code == 422


@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_log_has_key_route_and_time_and_never_what_was_asked(
    client: TestClient, ingest: IngestFolder, tmp_path: Path, kind: LogFormat
) -> None:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    key = client.post("/v1/admin/keys", json={"name": "desk", "scopes": ["admin"]}).json()["key"]
    with Lines(kind) as lines:
        use(client, {"Authorization": f"Bearer {key}", "X-Request-ID": "r-1"})
        client.get("/v1/gallery", headers={"Authorization": f"Bearer {key}x"})
    assert lines.text.count("/v1/search/text") >= 2
    for secret in ("zebrawort", "turquoise", "purple", key.split("_", 2)[2]):
        assert secret not in lines.text
    if kind == "text":
        assert "request=r-1 POST /v1/search/text status=200" in lines.text
        assert "key=1" in lines.text
        return
    found = [json.loads(line) for line in lines.text.splitlines()]
    access = next(line for line in found if line.get("route") == "/v1/search/text")
    assert (access["request_id"], access["key_id"], access["method"], access["status"]) == ("r-1", 1, "POST", 200)
    assert access["ms"] > 0
    assert access["time"].endswith("+00:00")
    assert {"level", "logger", "message"} <= set(access)


def test_a_database_error_does_not_write_parameters_into_the_log(core: Core) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    with pytest.raises(SQLAlchemyError) as caught, core.database.read() as session:
        session.execute(text("SELECT * FROM nowhere WHERE words = :words"), {"words": "zebrawort"})
    assert "zebrawort" not in str(caught.value)


def test_lines_of_one_of_several_processes_say_which() -> None:
    record = logging.LogRecord("app", logging.INFO, __file__, 1, "told", None, None)
    assert " app process=2 request=- told" in formatter("text", 2).format(record)
    assert json.loads(formatter("json", 2).format(record))["process"] == 2
    assert "process" not in formatter("text").format(record)
    assert "process" not in json.loads(formatter("json").format(record))


def test_json_lines_are_one_line_with_their_traceback() -> None:
    with Lines("json") as lines:
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("app.test").exception("it\nfailed")
    (line,) = lines.text.splitlines()
    found = json.loads(line)
    assert found["message"] == "it\nfailed"
    assert "ValueError: two\nlines" in found["traceback"]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    assert configure_tracing(Settings(traces=True), "server", exporter)
    yield exporter
    end_tracing()


def test_a_search_leaves_the_spans_of_its_stages(
    client: TestClient, ingest: IngestFolder, tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    use(client, {"X-Request-ID": "r-2"})
    found = spans.get_finished_spans()
    requests = {one.context.span_id: one for one in found if one.name == "POST /v1/search/text"}
    assert len(requests) == 2
    (answered,) = (one for one in requests.values() if (one.attributes or {})["http.response.status_code"] == 200)
    assert (answered.attributes or {})["descry.request_id"] == "r-2"
    below = {one.name: one for one in found if one.parent and one.parent.span_id == answered.context.span_id}
    assert set(below) == {"encode", "search", "fetch"}
    for one in below.values():
        assert (one.start_time or 0) >= (answered.start_time or 0)
        assert (one.start_time or 0) <= (one.end_time or 0) <= (answered.end_time or 0)
    told = " ".join(one.to_json() for one in found)
    for secret in ("zebrawort", "turquoise", "purple"):
        assert secret not in told


def test_an_error_leaves_its_class_and_not_its_words(spans: InMemorySpanExporter) -> None:
    def fail() -> None:
        with span("outer"), span("inner", {"a": 1}) as told:
            told["b"] = 2
            raise ValueError("zebrawort")

    with pytest.raises(ValueError, match="zebrawort"):
        fail()
    inner, outer = spans.get_finished_spans()
    assert dict(inner.attributes or {}) == {"a": 1, "b": 2, "error.type": "ValueError"}
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert "zebrawort" not in inner.to_json() + outer.to_json()


def test_traces_are_off_unless_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert not configure_tracing(Settings(), "server")
    with span("nothing") as told:
        told["a"] = 1
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert wanted(Settings())
    assert not wanted(Settings(traces=False))


def test_asked_for_and_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(TracesNotInstalledError, match="otel"):
        configure_tracing(Settings(traces=True), "worker")
    assert not configure_tracing(Settings(traces=False), "worker")


def test_the_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCRY_LOG_FORMAT", "json")
    monkeypatch.setenv("DESCRY_TRACES", "true")
    assert (load_settings().log_format, load_settings().traces) == ("json", True)
