"""Ten times as many clients as may be answered, for a while: each is answered or told when to come again, and what
comes after is served as if nothing had been.

`DESCRY_OVERLOAD_S` (3) is how long; `make chaos` gives it a minute."""

import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from tests.end_to_end.test_service_process import checkpoint, data, ingest, pictures, serving

__all__ = ["checkpoint", "data"]
SECONDS = float(os.environ.get("DESCRY_OVERLOAD_S", "3"))
PLACES = 4
CLIENTS = 10 * PLACES
RECOVERY_S = 5.0
BUDGET_S = Settings.model_fields["query_timeout_s"].default


def crowd(url: str, number: int, stop: threading.Event) -> list[tuple[int, str, float]]:
    """What one client hears, and after how long: it asks again and again, impatiently."""
    heard: list[tuple[int, str, float]] = []
    with httpx.Client(base_url=url, timeout=BUDGET_S + 10) as client:
        while not stop.is_set():
            began = time.monotonic()
            # Each asks something else, or the memory of texts would answer.
            words = {"query": f"a person in a red coat with {number} bags and {len(heard)} hats"}
            answer = client.post("/v1/search/text", json=words)
            code = "" if answer.status_code == 200 else answer.json()["code"]
            if answer.status_code in (429, 503):
                assert int(answer.headers["retry-after"]) >= 1
            heard.append((answer.status_code, code, time.monotonic() - began))
    return heard


def test_ten_times_what_can_be_answered(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(data, pictures(tmp_path / "p", 40))
    monkeypatch.setenv("DESCRY_MAX_SEARCHES", str(PLACES))
    with serving(data) as (client, server), ThreadPoolExecutor(CLIENTS) as pool:
        stop = threading.Event()
        asking = [pool.submit(crowd, str(client.base_url), number, stop) for number in range(CLIENTS)]
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:  # what is no search goes on being answered meanwhile
            assert client.get("/healthz").status_code == 200
            assert client.get("/v1/gallery").status_code == 200
        stop.set()
        heard = [one for job in asking for one in job.result()]
        over = time.monotonic()
        while client.post("/v1/search/text", json={"query": "a red coat"}).status_code != 200:
            assert time.monotonic() < over + RECOVERY_S, "it did not recover"
        assert client.get("/readyz").status_code == 200
        assert server.poll() is None
    counts = Counter((status, code) for status, code, _ in heard)
    assert set(counts) == {(200, ""), (429, "server_busy")}, counts
    assert max(seconds for status, _, seconds in heard if status == 200) < BUDGET_S
    assert "Traceback" not in (data.parent / "server.log").read_text()
