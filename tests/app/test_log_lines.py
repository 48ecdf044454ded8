"""What comes from outside forges no line of the log, whatever it is put into."""

import io
import json
import logging
from collections.abc import Iterator
from typing import get_args
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from app.core import Core
from app.main import create_app
from app.settings import Settings
from app.telemetry import LogFormat, formatter
from tests.app.conftest import IngestFolder
from tests.app.test_batches_api import zipped

FORGED = "2026-11-21 12:00:00,000 INFO app.access everything is fine"
ENDS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x1b[2K\x1b[1G", "\u202e"]


@pytest.fixture(params=get_args(LogFormat))
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What the service would write."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter(request.param))
    loggers = [logging.getLogger(name) for name in ("app", "models", "uvicorn")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel("DEBUG")
    yield written
    for logger, level in zip(loggers, before, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def check(log: io.StringIO) -> None:
    """Nothing in it is a line that we did not write, by any notion of a line, or moves the cursor."""
    text = log.getvalue()
    assert not [line for line in text.splitlines() if line.lstrip().startswith(FORGED[:20])]
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_requests_forge_no_line(settings: Settings, core: Core, ingest: IngestFolder, log: io.StringIO) -> None:
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        for end in ENDS:
            evil = f"x{end}{FORGED}"
            path = quote(evil, safe="")
            for url in (f"/v1/jobs/{path}", f"/v1/queries/{path}", f"/{path}", f"/static/{path}"):
                assert client.get(url).status_code in (404, 422)
            sent = {
                b"X-Request-ID": evil.encode("latin-1", "replace"),
                b"User-Agent": evil.encode("latin-1", "replace"),
            }
            client.get("/v1/gallery", params={"a": evil}, headers=sent)
            client.post("/v1/search/text", json={"query": evil, "collection": evil, "purpose": evil}, headers=sent)
            client.post("/v1/search/text", json={"query": evil, "filters": {evil: evil}})
            client.post("/v1/gallery/batches", files={"files": (evil, b"x")}, params={"collection": evil})
            client.post("/v1/gallery/batches", files={"archive": ("a", zipped({evil: b"x"}))})
            client.post("/v1/gallery/videos", params={"name": evil, "camera": evil, "start": evil}, content=b"x")
            client.post("/v1/collections", json={"name": evil})
            client.post("/v1/models", data={"name": evil}, files={"weights": (evil, evil.encode())})
    assert log.getvalue().count("\n") >= 11 * len(ENDS)
    check(log)


@pytest.mark.parametrize("end", ENDS)
def test_errors_that_quote_data_forge_no_line(log: io.StringIO, end: str) -> None:
    try:
        raise ValueError(f"a value that somebody sent: {end}{FORGED}")
    except ValueError:
        logging.getLogger("app.test").exception("while reading %s", f"x{end}{FORGED}")
    text = log.getvalue()
    check_lines = [line for line in text.split("\n") if line.startswith(FORGED[:20])]
    assert check_lines == []
    assert "ValueError" in text
    for line in text.splitlines() if text.startswith("{") else []:
        assert json.loads(line)["level"] == "ERROR"
