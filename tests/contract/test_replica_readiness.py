"""Replicas that are behind, have lost the database, or lack the version that answers: not ready, and ready again."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from starlette.testclient import TestClient

from app.commands.models import activate_version, register_checkpoint
from app.core import Core, opened
from app.database.sessions import Database
from app.gallery.sources import open_source
from app.main import create_app
from app.registry.active import LoadedModel
from app.settings import Settings
from app.vectors.view import VectorView
from tests.app.conftest import IngestFolder
from tests.app.toy import picture, toy_checkpoint
from tests.contract import postgres
from tests.contract.line import Line, line_to
from tests.waiting import until

COLOURS = ("red", "green", "blue")
BASE = "http://127.0.0.1:8000"


def codes(client: TestClient) -> list[str]:
    response = client.get("/readyz")
    ready = response.json()
    assert (response.status_code == 200) is ready["ready"] is (ready["reasons"] == [])
    assert ready["missing"] == [reason["message"] for reason in ready["reasons"]]
    return [reason["code"] for reason in ready["reasons"]]


def ask(client: TestClient) -> Any:  # noqa: ANN401  a response
    return client.post("/v1/search/text", json={"query": "red", "limit": 100})


def found(client: TestClient) -> set[int]:
    response = ask(client)
    assert response.status_code == 200, response.text
    return {image["id"] for candidate in response.json()["candidates"] for image in candidate["images"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for colour in COLOURS:
        picture(tmp_path / "people" / f"{colour}.png", colour)
    return tmp_path / "people"


@contextmanager
def replica(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url=BASE, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def line(postgres_server: URL) -> Iterator[Line]:
    with postgres.fresh_database(postgres_server) as url, line_to(url) as found:
        yield found


@pytest.fixture
def far(line: Line, folder: Path, tmp_path: Path) -> Settings:
    """Settings of a replica with three images, whose database is at the other end of a line."""
    settings = Settings(data_dir=tmp_path / "data", database_url=line.url, device="cpu", ready_within_s=0.5)
    with opened(settings) as core:
        activate_version(core, register_checkpoint(core, toy_checkpoint(tmp_path / "toy"), "toy").id)
        assert len(list(core.ingest().run(open_source(folder)))) == len(COLOURS)
    return settings


def test_a_database_that_is_cut_off_is_a_503_and_comes_back(far: Settings, line: Line) -> None:
    with replica(far) as client:
        until(lambda: codes(client) == [], "ready")
        line.cut()
        response = ask(client)
        assert (response.status_code, response.json()["code"]) == (503, "database_unreachable")
        assert int(response.headers["Retry-After"]) > 0
        assert client.delete("/v1/images/1").json()["code"] == "database_unreachable"
        assert codes(client) == ["database_unreachable"]
        assert client.get("/healthz").status_code == 200
        line.mend()
        until(lambda: codes(client) == [], "ready again")
        assert found(client) == {1, 2, 3}
        assert client.delete("/v1/images/1").status_code == 204
        assert found(client) == {2, 3}


def test_a_database_that_goes_silent_does_not_make_readyz_hang(far: Settings, line: Line) -> None:
    with replica(far) as client:
        until(lambda: codes(client) == [], "ready")
        line.silence()
        began = time.monotonic()
        assert codes(client) == ["database_unreachable"]
        first = client.get("/readyz").json()["behind"]
        assert time.monotonic() - began < 60  # and not the minutes that the system would wait
        assert first["seconds"] >= 0.5
        line.mend()
        until(lambda: codes(client) == [], "ready again")
        assert found(client) == {1, 2, 3}


def test_a_machine_that_is_gone_without_a_word_is_noticed_at_both_ends(line: Line) -> None:
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    database = Database(line.url)
    with database.read() as session:
        # The server shows 0 where it is reached through a file; that it was told is all there is to see.
        statement = text("SELECT name, source FROM pg_settings WHERE name = ANY(:names)")
        found = {row.name: row.source for row in session.execute(statement, {"names": [*names]})}
        assert found == dict.fromkeys(names, "session")
        raw = session.connection().connection.driver_connection
        assert raw is not None
        with socket.socket(fileno=os.dup(raw.fileno())) as near:
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            assert [near.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [10, 5, 3, 20_000]
    database.close()


def test_a_replica_that_does_not_catch_up_says_how_far_it_is_behind(
    core: Core, settings: Settings, ingest: IngestFolder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, stuck = threading.Event(), VectorView._replay

    def replay(*args: Any, **words: Any) -> None:  # noqa: ANN401
        assert free.wait(60)
        stuck(*args, **words)

    with replica(settings.model_copy(update={"ready_within_s": 0.3})) as client:
        until(lambda: codes(client) == [], "ready")
        head = client.get("/readyz").json()["behind"]["head"]
        # The view of this replica alone: another process writes.
        monkeypatch.setattr(VectorView, "_replay", replay)
        ingest(folder)
        until(lambda: codes(client) == ["replica_behind"], "it is seen")
        ready = client.get("/readyz").json()
        assert ready["behind"]["head"] == head + len(COLOURS)
        assert (ready["behind"]["applied"], ready["behind"]["entries"]) == (head, len(COLOURS))
        assert "3 entries" in ready["missing"][0]
        free.set()
        until(lambda: codes(client) == [], "ready again")
        assert len(found(client)) == len(COLOURS)


def test_a_replica_that_starts_while_another_version_is_activated_answers_with_that(
    core: Core, settings: Settings, ingest: IngestFolder, folder: Path, tmp_path: Path
) -> None:
    ingest(folder)
    other = register_checkpoint(core, toy_checkpoint(tmp_path / "other", words=("red", "coat")), "other").id
    with opened(settings) as starting:
        load, loads = starting.active.load, list[int]()

        def meanwhile(version_id: int) -> LoadedModel:
            loads.append(version_id)
            found = load(version_id)
            if len(loads) == 1:
                activate_version(core, other)
            return found

        starting.active.load = meanwhile  # type: ignore[method-assign]
        starting.active.follow()
        assert loads == [1, other]
        assert starting.active.current().version_id == other


def test_a_replica_without_the_active_version_is_not_ready_and_leaves_no_image_out(
    core: Core, settings: Settings, ingest: IngestFolder, folder: Path, tmp_path: Path
) -> None:
    ingest(folder)
    own = tmp_path / "replica"  # a copy of the data folder that is made anew now and then
    shutil.copytree(settings.data_dir, own)
    other = register_checkpoint(core, toy_checkpoint(tmp_path / "other", words=("red", "coat")), "other").id
    with replica(settings.model_copy(update={"data_dir": own, "query_timeout_s": 3.0})) as client:
        until(lambda: codes(client) == [], "ready")
        activate_version(core, other)
        core.active.follow()
        until(lambda: codes(client) == ["model_not_loaded"], "it is seen")
        assert ask(client).json()["model_version"]["id"] == 1  # which has every image still
        picture(folder / "white.png", "white")
        ingest(folder)  # encoded for the active version alone
        response = ask(client)
        assert (response.status_code, response.json()["code"]) == (503, "model_not_loaded")
        assert int(response.headers["Retry-After"]) > 0
        shutil.copytree(settings.models_dir, own / "models", dirs_exist_ok=True)
        until(lambda: codes(client) == [], "ready again")
        assert ask(client).json()["model_version"]["id"] == other
        assert len(found(client)) == len(COLOURS) + 1
