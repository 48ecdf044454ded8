"""`descry serve --processes 3`: killed one by one under load, killed as a whole, and the same whichever answers.

`DESCRY_CHAOS_SEED` sets the dice; `DESCRY_CHAOS_PROCESSES=3 make chaos` is the same for longer, on PostgreSQL too.
"""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import func, select

from app.database.tables import Image
from app.settings import Settings
from tests.end_to_end.test_service_process import checkpoint, data
from tests.end_to_end.violence.ledger import Batch, jpeg
from tests.end_to_end.violence.rounds import Rounds, check_from_scratch
from tests.end_to_end.violence.stack import Stack, workers_of
from tests.waiting import LIMIT_S, alive, until

__all__ = ["checkpoint", "data"]
SEED = os.environ.get("DESCRY_CHAOS_SEED", "1")
KILLED = (("child 1", "child 1"), ("child 0", "child 2"))
"""One of them twice, the second time as it starts; then the first one, with the worker, and another."""
TIMES = 12
"""Requests of one kind, each over a connection of its own: one process of two gets all of them once in 2,048 times."""


def test_nothing_is_wrong_or_left_while_processes_are_killed_one_by_one(data: Path) -> None:
    settings, stack = Settings(data_dir=data, device="cpu"), Stack(data, processes=3)
    with stack.running():
        violence = Rounds(stack, settings, SEED)
        for number, victims in enumerate(KILLED):
            before = stack.children()
            violence.run(number, victims)
            after = stack.children()
            killed = {int(name.split()[1]) for name in victims}
            assert {place for place in before if before[place] != after[place]} == killed, "the others were left alone"
        assert violence.searches
        with violence.database.read() as session:
            images = session.scalar(select(func.count()).select_from(Image))
        violence.database.close()
        last, port = [*stack.children().values(), *workers_of(data)], urlsplit(stack.url()).port
        stack.kill("server 0")
        until(lambda: not any(map(alive, last)), "servers and worker end with the supervisor")
        # Of a process that is dead some threads may still be ending, which have its sockets.
        until(lambda: is_free(port), "the port is free")
        until(lambda: f"@descry-{port}-" not in Path("/proc/net/unix").read_text(), "no name is left")
    assert "Traceback" not in stack.logs
    check_from_scratch(settings, images or 0)


def is_free(port: int | None) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port or 0)):
            return True
    except OSError:
        return False


@pytest.fixture
def two(data: Path) -> Iterator[Stack]:
    stack = Stack(data, processes=2)
    with stack.running():
        yield stack


class Asker:
    """Requests of which each takes a new connection, so that any process may answer."""

    def __init__(self, stack: Stack) -> None:
        self._url = stack.url()
        self.headers: dict[str, str] = {}

    def ask(self, method: str, path: str, status: int = 200, **words: object) -> httpx.Response:
        found = self.tried(method, path, **words)
        assert found.status_code == status, found.text
        return found

    def tried(self, method: str, path: str, **words: object) -> httpx.Response:
        headers = self.headers | dict(words.pop("headers", {}))  # type: ignore[call-overload]
        return httpx.request(
            method,
            self._url + path,
            headers=headers,
            timeout=LIMIT_S,
            trust_env=False,
            **words,  # type: ignore[arg-type]
        )

    def send(self, batch: Batch) -> str:
        body, key = {"archive": ("batch.zip", batch.archive())}, {"Idempotency-Key": batch.key}
        return str(self.ask("POST", "/v1/gallery/batches", 202, files=body, headers=key).json()["id"])


def test_what_one_process_began_goes_on_at_another(two: Stack) -> None:
    asker = Asker(two)
    batch = Batch("one", {f"{number:03}.jpg": number for number in range(40)})
    with ThreadPoolExecutor(TIMES) as pool:
        (job,) = set(pool.map(asker.send, [batch] * 4))  # the same key at the same time
        # Its events, from wherever: each stream ends with the job.
        streams = list(pool.map(lambda _: asker.ask("GET", f"/v1/jobs/{job}/events").text, range(4)))
    assert all('"state":"succeeded"' in one.replace(" ", "") for one in streams)
    deleted: list[int] = []
    for number in range(TIMES):
        form = {"limit": 5, "images_per_identity": 20}
        picture = {"file": ("q.jpg", jpeg(number))}
        first = asker.ask("POST", "/v1/search/image", files=picture, data=form).json()
        verdict = [{"identity_id": first["candidates"][0]["identity"]["id"], "verdict": "confirm"}]
        path = f"/v1/queries/{first['query_id']}"
        assert len(asker.ask("POST", f"{path}/feedback", 201, json=verdict).json()["feedback"]) == 1
        assert len(asker.ask("GET", f"{path}/feedback").json()["feedback"]) == 1
        form["cursor"] = first["next_cursor"]
        second = asker.ask("POST", "/v1/search/image", files={"file": ("q.jpg", jpeg(number))}, data=form).json()
        people = [one["identity"]["id"] for page in (first, second) for one in page["candidates"]]
        assert len(people) == len(set(people)) == 10
        images = {image["id"] for page in (first, second) for one in page["candidates"] for image in one["images"]}
        assert not images.intersection(deleted)
        if number % 2:
            asker.ask("DELETE", f"/v1/images/{min(images)}", 204)
            deleted.append(min(images))
            asker.ask("GET", f"/v1/images/{min(images)}", 404)
    keys_and_sessions(two, asker)


def keys_and_sessions(two: Stack, asker: Asker) -> None:
    """Where one process makes, signs in and revokes, all know."""
    admin = asker.ask("POST", "/v1/admin/keys", 201, json={"name": "all", "scopes": ["admin"]}).json()
    until(lambda: {asker.tried("GET", "/v1/jobs").status_code for _ in range(TIMES)} == {401}, "nobody is open")
    asker.headers = {"Authorization": f"Bearer {admin['key']}"}
    made = asker.ask("POST", "/v1/admin/keys", 201, json={"name": "one", "scopes": ["search"]}).json()
    signed = asker.ask("POST", "/v1/session", headers={"Authorization": f"Bearer {made['key']}"})
    page = Asker(two)
    page.headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in signed.cookies.items())}
    for _ in range(TIMES):
        assert page.ask("GET", "/v1/session").json()["name"] == "one"
    asker.ask("DELETE", f"/v1/admin/keys/{made['id']}")
    # 429: a revoked key counts as one that is guessed.
    until(
        lambda: {page.tried("GET", "/v1/queries").status_code for _ in range(TIMES)} <= {401, 429}, "it ends everywhere"
    )
