"""What a server keeps of model versions that were replaced, and of requests that ended badly: nothing."""

import gc
import json
import socket
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.commands.models import register_checkpoint
from app.core import Core
from app.embedding import batcher
from app.settings import Settings
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import people
from tests.app.toy import toy_checkpoint
from tests.served import serving
from tests.waiting import until

_IDLE_S = 0.05
_OURS = ("app.", "models.", "sqlalchemy.orm.session", "starlette.", "uvicorn.", "anyio.", "asyncio.", "_asyncio.")
"""Modules of what a request makes. SQLite's driver keeps statements and cursors of its own, up to some hundred each."""


@pytest.fixture
def no_collections() -> Iterator[None]:
    """Chance must not decide what is freed."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_a_version_that_was_replaced_is_freed_without_a_full_collection(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_collections: None
) -> None:
    """Two are in memory, the one that answers and the one before; not those before them."""
    monkeypatch.setattr(batcher, "IDLE_S", _IDLE_S)
    encoders, views = [], []
    for number in range(5):
        words = ("red", *(f"word{one}" for one in range(number)))
        version = register_checkpoint(core, toy_checkpoint(tmp_path / str(number), words=words), f"v{number}")
        core.switch(version.id)
        loaded = core.active.current()
        loaded.encoder.submit_text("red").result(30)
        encoders.append(weakref.ref(loaded.encoder))
        views.append(weakref.ref(next(iter(loaded.views.values()))))
        del loaded
    until(lambda: not _threads("descry-encode"), "the queues have put their threads away")
    assert [view() is None for view in views] == [True, True, True, False, False]  # with the last reference, at once
    for seen in encoders[:-1]:  # the last one answers, and is asked all the time
        if (encoder := seen()) is not None:
            encoder.used_at -= 3600
    del encoder
    core.tidy()
    assert [seen() is None for seen in encoders] == [True, True, True, False, False]


def test_rounds_of_trouble_leave_nothing_behind(
    core: Core, settings: Settings, ingest: IngestFolder, tmp_path: Path
) -> None:
    """Switches, refusals, searches that nobody waits for and bodies that end early: thirty rounds are as ten."""
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    other = register_checkpoint(core, toy_checkpoint(tmp_path / "other", words=("red", "blue")), "other")
    core.activation.encode_missing(other.id, core.active.load_encoder(other.id)[2])
    held = []
    with serving(settings) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        for number in range(30):
            _round(client, url, (other.id, 1)[number % 2])
            if number in (9, 29):
                until(lambda: _requests() <= 1, "what was cut has ended", pause_s=0.05)
                held.append(_held())
    before, after = held
    grown = {name: (before[name], count) for name, count in after.items() if count > before[name] + 5}
    assert not grown


def _round(client: httpx.Client, url: str, version: int) -> None:
    assert client.post(f"/v1/models/{version}/activate").status_code == 200
    for query in ("red", "blue"):
        assert client.post("/v1/search/text", json={"query": query}).status_code == 200
    assert client.get("/v1/images/999999").status_code == 404
    assert client.post("/v1/search/image", files={"file": ("q.jpg", b"no picture")}).status_code == 422
    assert client.post("/v1/models/999/rollback").status_code == 404
    place = urlsplit(url)
    body = json.dumps({"query": "red", "limit": 100}).encode()
    for length in (len(body), len(body) + 1000):  # nobody waits for the answer; and a body that does not end
        head = "POST /v1/search/text HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        with socket.create_connection((str(place.hostname), place.port or 0)) as cut:
            cut.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + body)


def _threads(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


def _requests() -> int:
    """Requests that the server knows of; a kept connection has its last one."""
    gc.collect()
    return sum(type(one).__name__ == "RequestResponseCycle" for one in gc.get_objects())


def _held() -> Counter[str]:
    """Objects of each kind after a collection; threads and files too."""
    gc.collect()
    kinds = (f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    found = Counter(kind for kind in kinds if kind.startswith(_OURS))
    found["files"] = len(list(Path("/proc/self/fd").iterdir()))
    found["threads"] = threading.active_count()
    return found
