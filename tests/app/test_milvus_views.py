"""Views in Milvus: what several processes on one store do to each other, what is lost, what is away."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.core import Core, open_core
from app.errors import (
    VectorEngineMissingError,
    VectorStoreInUseError,
    VectorStoreMismatchError,
    VectorStoreUnreachableError,
)
from app.identities.service import IdentityService
from app.main import create_app
from app.registry.active import ActiveModel
from app.settings import Settings
from app.vectors import milvus_server
from app.vectors.contract import Changes
from app.vectors.milvus_engine import MilvusIndex
from app.vectors.milvus_server import Milvus
from app.vectors.repository import LogRepository
from app.vectors.view import VectorView
from tests.app.conftest import IngestFolder
from tests.app.test_index_view import answers, fill
from tests.app.toy import DIM, picture
from tests.contract.milvus import milvus_server as server_process
from tests.contract.milvus import need_milvus_lite
from tests.waiting import until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    need_milvus_lite()
    return Settings(data_dir=tmp_path / "data", ingest_chunk=4, maintenance_s=0.2, device="cpu", vector_engine="milvus")


@pytest.fixture
def filled(core: Core, ingest: IngestFolder, tmp_path: Path) -> Core:
    fill(tmp_path / "p")
    ingest(tmp_path / "p")
    core.active.follow()
    return core


@pytest.fixture
def replica(filled: Core) -> Iterator[ActiveModel]:
    """Another process, as far as Milvus and the database can tell."""
    found = ActiveModel(filled.database, filled.settings)
    found.follow()
    yield found
    found.close(save=False)


def view_of(active: ActiveModel) -> VectorView:
    return active.current().view("text")


def index_of(view: VectorView) -> MilvusIndex:
    assert isinstance(view._index, MilvusIndex)
    return view._index


def delete(core: Core, image_id: int) -> None:
    with core.store.change() as files, core.database.write() as session:
        files.doom(IdentityService(session).delete_image(image_id))


def faiss_answers(core: Core) -> list[tuple[list[int], list[float]]]:
    """What FAISS says of the same database."""
    active = ActiveModel(core.database, core.settings.model_copy(update={"vector_engine": "faiss"}))
    active.follow()
    found = answers(active)
    active.close(save=False)
    return found


def test_a_replica_skips_what_another_has_added(
    filled: Core, replica: ActiveModel, ingest: IngestFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "q" / "late.jpg", "red", "white", shade=99)
    ingest(tmp_path / "q")
    view_of(filled.active).catch_up()
    asked: list[str] = []
    index = index_of(view_of(replica))
    monkeypatch.setattr(index, "_ask", _noting(index, asked))
    view_of(replica).catch_up()
    assert "upsert" not in asked
    assert answers(replica) == answers(filled.active) == faiss_answers(filled)
    assert view_of(replica).count == 25


def _noting(index: MilvusIndex, asked: list[str]) -> Any:  # noqa: ANN401  a function of pymilvus's arguments
    original = index._ask

    def noting(operation: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        asked.append(operation)
        return original(operation, *args, **kwargs)

    return noting


def test_a_slow_replica_does_not_bring_back_what_another_has_deleted(
    filled: Core, replica: ActiveModel, ingest: IngestFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "q" / "late.jpg", "red", "white", shade=99)
    (late,) = (outcome.image_id for outcome in ingest(tmp_path / "q"))
    assert late is not None
    slow = index_of(view_of(replica))
    original = slow._ask
    states: list[int] = []

    def stalled(operation: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Between what the replica has read and what it writes, the other one adds and deletes the image."""
        if operation == "upsert" and not states:
            view_of(filled.active).catch_up()
            delete(filled, late)
            view_of(filled.active).catch_up()
            states.append(view_of(filled.active).count)
        return original(operation, *args, **kwargs)

    monkeypatch.setattr(slow, "_ask", stalled)
    view_of(replica).catch_up()
    assert states == [24]
    assert late in slow.ids().tolist()  # the deletion is undone in Milvus, until
    view_of(replica).catch_up()  # the replica, which is no further than before it, comes to it
    assert late not in slow.ids().tolist()
    assert view_of(filled.active).count == view_of(replica).count == 24
    assert answers(replica) == answers(filled.active) == faiss_answers(filled)


KILLED = """
import os, signal, sys
from pathlib import Path
from app.core import open_core
from app.settings import Settings
from app.vectors.milvus_engine import MilvusIndex
import tests.app.toy

MilvusIndex._write_position = lambda index, sequence: os.kill(os.getpid(), signal.SIGKILL)
open_core(Settings(data_dir=Path(sys.argv[1]), device="cpu", vector_engine="milvus")).active.follow()
"""


def test_a_kill_between_vectors_and_position_is_made_up_for(filled: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    before, held = view_of(filled.active).sequence, answers(filled.active)
    picture(tmp_path / "q" / "late.jpg", "red", "white", shade=99)
    ingest(tmp_path / "q")
    filled.close()
    ran = subprocess.run([sys.executable, "-c", KILLED, str(filled.settings.data_dir)], cwd=ROOT, check=False)
    assert ran.returncode == -signal.SIGKILL
    again = ActiveModel(filled.database, filled.settings)
    index = view_of_unopened(again).storage.reopen(lambda: before)
    assert index is not None
    assert (index.sequence, index.count) == (before, 25)  # the vector is there, and nothing says so
    again.follow()
    assert (view_of(again).count, view_of(again).sequence > before) == (25, True)
    assert answers(again) == faiss_answers(filled) != held
    again.close(save=False)


def view_of_unopened(active: ActiveModel) -> VectorView:
    return active.views(1)["text"]


@pytest.mark.parametrize("harm", ["stray", "missing", "lost", "of another past"])
def test_an_index_that_is_not_the_database_is_found_out_and_repaired(
    filled: Core, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    view = view_of(filled.active)
    index, none = index_of(view), np.empty((0, DIM), np.float16)
    before = answers(filled.active)
    if harm == "stray":  # of a writer that was killed before it came to the deletion
        index.apply(Changes(index.sequence, np.array([777]), np.ones((1, DIM), np.float16), np.array([], np.int64)))
    elif harm == "missing":
        index.apply(Changes(index.sequence, np.array([], np.int64), none, np.array([3, 4])))
    elif harm == "lost":
        index._milvus.ask("drop_collection", index.name)
    else:
        index.apply(Changes(10**6, np.array([888]), np.ones((1, DIM), np.float16), np.array([5])))
    fresh = ActiveModel(filled.database, filled.settings)
    fresh.follow()  # a start finds it
    assert answers(fresh) == before == faiss_answers(filled)
    assert sorted(index_of(view_of(fresh)).ids().tolist()) == list(range(1, 25))
    assert index_of(view_of(fresh))._read_position() == view_of(fresh).sequence
    assert ("rebuilding from the database" in caplog.text) == (harm != "lost")
    fresh.close(save=False)


@pytest.mark.parametrize("harm", ["stray", "lost"])
def test_housekeeping_finds_it_while_the_service_runs(filled: Core, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(filled.active)
    index, before = index_of(view), answers(filled.active)
    if harm == "stray":
        index.apply(Changes(index.sequence, np.array([777]), np.ones((1, DIM), np.float16), np.array([], np.int64)))
        filled.active.maintain()
        assert view.count == 25  # it does not count each time
        monkeypatch.setattr("app.vectors.view.VERIFY_EVERY_S", 0.0)
    else:
        index._milvus.ask("drop_collection", index.name)
    filled.active.maintain()
    assert (view.count, answers(filled.active)) == (24, before)


def test_a_rebuild_is_made_in_place_while_searches_go_on(filled: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.vectors.repository.PAGE", 5)
    before, view, seen = answers(filled.active), view_of(filled.active), []
    view.rebuild(lambda count: seen.append((count, answers(filled.active) == before)))
    assert seen == [(24, True)] * 5


def test_a_second_process_is_told_that_milvus_lite_allows_one(filled: Core) -> None:
    code = (
        "import sys\nfrom app.vectors.milvus_server import Milvus\n"
        "try:\n    Milvus(sys.argv[1]).ask('list_collections')\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    ran = subprocess.run([sys.executable, "-c", code, filled.settings.milvus], capture_output=True, text=True)
    assert ran.stdout.startswith(VectorStoreInUseError.__name__), ran.stderr
    assert "milvus-lite server --data-dir" in ran.stdout


def test_a_collection_of_another_form_is_left_alone(tmp_path: Path) -> None:
    need_milvus_lite()
    milvus = Milvus(str(tmp_path / "milvus.db"))
    index = MilvusIndex(milvus, "descry_x", 4)
    index.apply(Changes(1, np.array([1]), np.ones((1, 4), np.float16), np.array([], np.int64)))
    with pytest.raises(VectorStoreMismatchError, match="dimension 4"):
        MilvusIndex(milvus, "descry_x", 5)
    assert index.count == 1
    milvus.close()


def test_libraries_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(VectorEngineMissingError, match=r"descry\[milvus\]"):
        Milvus("http://127.0.0.1:1").ask("list_collections")


def test_what_the_server_refuses_is_typed() -> None:
    need_milvus_lite()
    from pymilvus.exceptions import MilvusException

    found = milvus_server._meaning(MilvusException(1400, "auth check failure, token: secret"), "http://m:1")
    assert found is not None
    assert (found.code, "secret" in found.message) == ("vector_store_denied", False)
    found = milvus_server._meaning(MilvusException(65535, "disk full\nat line 3"), "http://m:1")
    assert found is not None
    assert (found.code, found.message) == ("vector_store_failed", "Milvus at http://m:1 failed: disk full")
    assert milvus_server._meaning(ValueError("ours"), "http://m:1") is None


def test_a_version_that_is_deleted_takes_its_collection_with_it(filled: Core) -> None:
    view = view_of(filled.active)
    index = index_of(view)
    with filled.database.read() as session:
        history = LogRepository(session).head().history
    assert index._milvus.ask("list_collections") == [index.name]
    filled.active._engine.forget(1, "another")
    filled.active._engine.forget(11, history)
    assert index._milvus.ask("list_collections") == [index.name]
    filled.active._engine.forget(1, history)
    assert index._milvus.ask("list_collections") == []


def test_a_store_that_is_away_is_a_503_and_comes_back(
    filled: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server_process(tmp_path / "server") as server:
        settings = filled.settings.model_copy(update={"milvus_uri": server.uri})
        filled.close()
        with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
            first = client.post("/v1/search/text", json={"query": "a red coat"}).json()["candidates"]
            assert client.get("/readyz").status_code == 200
            assert _searched_elsewhere(settings) == first
            monkeypatch.setattr("app.vectors.milvus_server.TIMEOUT_S", 1.0)
            server.kill()
            away = client.post("/v1/search/text", json={"query": "a red coat"})
            assert (away.status_code, away.json()["code"]) == (503, "vector_store_unreachable")
            assert int(away.headers["Retry-After"]) > 0
            ready = client.get("/readyz").json()
            assert (ready["ready"], ready["missing"]) == (False, ["search: vector_store_unreachable"])
            monkeypatch.undo()
            server.start()
            assert _until_answered(client)["candidates"] == first
            assert client.get("/readyz").status_code == 200


def test_while_it_is_away_one_caller_waits_and_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    need_milvus_lite()
    milvus, waiting, go_on = Milvus("http://127.0.0.1:1"), threading.Event(), threading.Event()
    tries: list[str] = []

    def slow() -> None:
        tries.append("")
        waiting.set()
        assert go_on.wait(60)
        raise VectorStoreUnreachableError("as pymilvus would have it")

    monkeypatch.setattr(milvus_server, "_AFTER_FAILURE_S", 0.0)
    with pytest.raises(VectorStoreUnreachableError):
        milvus.ask("list_collections")
    monkeypatch.setattr(milvus, "_connected", slow)
    monkeypatch.setattr(milvus_server, "_meaning", lambda error, place: error)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(milvus.ask, "list_collections")
        assert waiting.wait(60)
        for _ in range(3):
            with pytest.raises(VectorStoreUnreachableError, match="does not answer"):
                milvus.ask("list_collections")
        go_on.set()
        with pytest.raises(VectorStoreUnreachableError, match="pymilvus"):
            first.result()
    assert len(tries) == 1


def test_a_start_without_the_store_says_so(filled: Core) -> None:
    settings = filled.settings.model_copy(update={"milvus_uri": "http://127.0.0.1:1"})
    core = open_core(settings)
    with pytest.raises(VectorStoreUnreachableError):
        core.active.follow()
    with pytest.raises(VectorStoreUnreachableError, match="does not answer"):
        core.active.current()
    core.close()


def _searched_elsewhere(settings: Settings) -> Any:  # noqa: ANN401  JSON
    """What another process on the same Milvus says, while this one uses it."""
    chosen = {
        "DESCRY_DATA_DIR": str(settings.data_dir),
        "DESCRY_VECTOR_ENGINE": "milvus",
        "DESCRY_MILVUS_URI": settings.milvus_uri,
    }
    code = "import sys, tests.app.toy\nfrom app.cli import main\nmain()"
    command = [sys.executable, "-c", code, "search", "a red coat", "--json"]
    ran = subprocess.run(command, cwd=ROOT, env={**os.environ, **chosen}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)["candidates"]


def _until_answered(client: TestClient) -> dict[str, Any]:
    found = list[dict[str, Any]]()

    def answered() -> bool:
        answer = client.post("/v1/search/text", json={"query": "a red coat"})
        found.append(answer.json())
        assert answer.status_code == 200 or found[-1]["code"] == "vector_store_unreachable"
        return answer.status_code == 200

    until(answered, "the store is back", pause_s=0.1)
    return found[-1]
