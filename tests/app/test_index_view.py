"""A view can lose its file in every way and answers the same."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn

from app.core import Core
from app.main import create_app
from app.registry.active import ActiveModel
from app.vectors.engines import FaissEngine, SnapshotFile
from app.vectors.snapshot import SnapshotKey
from app.vectors.view import VectorView
from tests.app.conftest import IngestFolder
from tests.app.snapshots import ids_of
from tests.app.toy import COLOURS, picture


def file_of(view: VectorView) -> Path:
    assert isinstance(view.storage, SnapshotFile)
    return view.storage.path


def fill(folder: Path) -> None:
    for number, (top, bottom) in enumerate((a, b) for a in COLOURS for b in list(COLOURS)[:3]):
        picture(folder / f"{number}.jpg", top, bottom, shade=number % 5)


def answers(active: ActiveModel) -> list[tuple[list[int], list[float]]]:
    loaded = active.current()
    queries = [loaded.encoder.submit_text(f"a {colour} coat").result().vector for colour in COLOURS]
    hits = [loaded.view("text").search(query, 10) for query in queries]
    return [(hit.ids.tolist(), hit.scores.tolist()) for hit in hits]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-9] ^= 4
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def nonsense(path: Path) -> None:
    path.write_bytes(b"[1]\n" * 50)


def ahead(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"sequence": ', b'"sequence": 9', 1))


def other_history(path: Path) -> None:
    head, _, rest = path.read_bytes().partition(b'"history": "')
    path.write_bytes(head + b'"history": "' + b"0" * 32 + rest[32:])


def cut_off_write(path: Path) -> None:
    path.with_name(f"{path.name}.1.partial").write_bytes(path.read_bytes()[:50])
    path.unlink()


DAMAGE: list[Callable[[Path], None]] = [
    truncate, flip, empty, nonsense, ahead, other_history, cut_off_write, os.unlink,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_snapshot_is_rebuilt(
    core: Core,
    ingest: IngestFolder,
    tmp_path: Path,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(tmp_path / "p")
    ingest(tmp_path / "p")
    core.active.follow()
    before = answers(core.active)
    view = core.active.current().view("text")
    view.save()
    damage(file_of(view))
    exists = file_of(view).exists()
    with caplog.at_level(logging.WARNING, "app.vectors"):
        fresh = ActiveModel(core.database, core.settings)
        fresh.follow()
    assert answers(fresh) == before
    assert ("rebuilding from the database" in caplog.text) == exists
    assert len(ids_of(file_of(view), view.key, view.sequence)) == view.count == 24  # a good one is there again
    fresh.close(save=False)


def test_nothing_is_answered_before_a_damaged_snapshot_is_rebuilt(
    core: Core, ingest: IngestFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "p")
    ingest(tmp_path / "p")
    core.active.follow()
    view = core.active.current().view("text")
    view.save()
    flip(file_of(view))
    entered, gate, whole = threading.Event(), threading.Event(), VectorView._build

    def build(self: VectorView, progress: Callable[[int], None]) -> None:
        entered.set()
        assert gate.wait(60)
        whole(self, progress)

    monkeypatch.setattr(VectorView, "_build", build)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create_app(core.settings), log_config=None, access_log=False, lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert entered.wait(60)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=0.5) as early, pytest.raises(httpx.TransportError):
                early.get("/readyz")
            gate.set()
            with httpx.Client(base_url=url, timeout=60) as client:
                assert client.get("/readyz").status_code == 200
                found = client.post("/v1/search/text", json={"query": "red", "limit": 100}).json()["candidates"]
                assert len(found) == 24
        finally:
            gate.set()
            server.should_exit = True
            thread.join()


def test_a_good_snapshot_is_used_and_the_rest_of_the_log_followed(
    core: Core, ingest: IngestFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "p")
    ingest(tmp_path / "p")
    core.active.follow()
    core.active.current().view("text").save()
    picture(tmp_path / "q" / "late.jpg", "red", "white", shade=99)
    ingest(tmp_path / "q")

    def never(self: VectorView, progress: object) -> None:
        raise AssertionError("a good snapshot was not used")

    monkeypatch.setattr(VectorView, "_build", never)
    fresh = ActiveModel(core.database, core.settings)
    fresh.follow()
    core.active.follow()
    assert answers(fresh) == answers(core.active)
    assert fresh.current().view("text").count == 25
    fresh.close(save=False)


def test_deleted_vectors_leave_the_snapshot(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    from app.identities.service import IdentityService

    fill(tmp_path / "p")
    first = next(outcome.image_id for outcome in ingest(tmp_path / "p"))
    assert first is not None
    core.active.follow()
    view = core.active.current().view("text")
    view.save()
    with core.store.change() as files, core.database.write() as session:
        files.doom(IdentityService(session).delete_image(first))
    core.active.maintain()
    saved = ids_of(file_of(view), view.key, view.sequence)
    assert first not in saved
    assert len(saved) == 23


def test_a_view_follows_long_logs_in_pieces(
    core: Core, ingest: IngestFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "p")
    ingest(tmp_path / "p")
    core.active.follow()
    before = answers(core.active)
    monkeypatch.setattr("app.vectors.repository.PAGE", 5)
    view = core.active.current().view("text")
    seen: list[int] = []
    view.rebuild(seen.append)
    assert seen == [5, 10, 15, 20, 24]
    assert answers(core.active) == before


def test_a_snapshot_of_another_model_does_not_fit(core: Core, tmp_path: Path) -> None:
    view = core.active.current().view("text")
    key = SnapshotKey(view.key.history, "f" * 64, "text", view.key.dim)
    storage = FaissEngine(core.settings.index_dir).storage(view.version_id, key)
    other = VectorView(core.database, view.version_id, key, storage)
    other.open()
    assert np.array_equal(other.scores(np.zeros(view.key.dim, np.float32), np.array([1])).ids, [])
