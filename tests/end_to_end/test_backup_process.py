"""`descry backup` of a real server that takes in, deletes and answers; `descry restore` elsewhere."""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import URL

from app.backup.container import BackupReader
from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.errors import BackupError
from app.settings import Settings
from tests.contract import postgres
from tests.contract.conftest import postgres_server
from tests.end_to_end.test_service_process import DESCRY, answer, checkpoint, environment, ingest, pictures, serving
from tests.waiting import until

__all__ = ["checkpoint", "postgres_server"]
BEFORE, DURING = 120, 12


@pytest.fixture(params=["sqlite", "postgresql"])
def data(
    request: pytest.FixtureRequest, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A data folder with an active model, in either database."""

    def made() -> Path:
        with opened(Settings(data_dir=tmp_path / "data", device="cpu")) as core:
            activate_version(core, register_checkpoint(core, checkpoint, "random").id)
        return tmp_path / "data"

    if request.param == "sqlite":
        yield made()
        return
    server: URL = request.getfixturevalue("postgres_server")
    with postgres.fresh_database(server) as url:
        monkeypatch.setenv("DESCRY_DATABASE_URL", url)
        yield made()


def rows(settings: Settings) -> tuple[dict[int, int], dict[int, int]]:
    """Sequence of each image's vector, and of each deletion."""
    engine = create_engine(settings.database.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with closing(engine.connect()) as connection:
            vectors = connection.exec_driver_sql("SELECT image_id, sequence FROM embeddings").all()
            deleted = connection.exec_driver_sql("SELECT image_id, sequence FROM deletions").all()
    finally:
        engine.dispose()
    return {row[0]: row[1] for row in vectors}, {row[0]: row[1] for row in deleted}


def by_image(found: list[tuple[int, list[tuple[int, float]]]]) -> dict[int, float]:
    return {image: score for _, images in found for image, score in images}


class Load:
    """Takes in, deletes and searches, each on a thread, until it is stopped; `errors` is what went wrong."""

    def __init__(self, data: Path, folder: Path, client: httpx.Client) -> None:
        self.errors: list[BaseException] = []
        self.counts = {"ingested": 0, "deleted": 0, "searches": 0}
        self._data, self._folder, self._client = data, folder, client
        self._stop = threading.Event()
        works = (self._take_in, self._delete, self._search)
        self._threads = [threading.Thread(target=self._guarded, args=(work,)) for work in works]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        until(lambda: bool(self.errors) or all(self.counts.values()), "each has begun")

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self.errors == []

    def _take_in(self) -> None:
        number = BEFORE
        while not self._stop.is_set():
            ingest(self._data, pictures(self._folder / f"more-{number}", DURING, first=number))
            number += DURING
            self.counts["ingested"] += DURING

    def _delete(self) -> None:
        for gone in range(1, BEFORE - 20):
            if self._stop.is_set():
                return
            assert self._client.delete(f"/v1/images/{gone}").status_code == 204
            self.counts["deleted"] += 1

    def _search(self) -> None:
        while not self._stop.is_set():
            assert answer(self._client)
            self.counts["searches"] += 1

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  shown by the test
            self.errors.append(error)


def test_a_backup_under_load_is_one_state_of_the_gallery(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(data, pictures(tmp_path / "first", BEFORE))
    with serving(data, "--no-worker") as (client, _):
        load = Load(data, tmp_path, client)
        load.start()
        before = dict(load.counts)
        command = [*DESCRY, "backup", str(tmp_path / "b.zip"), "--json"]
        done = subprocess.run(command, env=environment(data), capture_output=True, text=True)
        load.stop()
        assert done.returncode == 0, done.stderr
        assert load.counts["searches"] > before["searches"]
        assert load.counts["ingested"] + load.counts["deleted"] > before["ingested"] + before["deleted"]
        source = by_image(answer(client))
    manifest = json.loads(done.stdout)
    vectors, deleted = rows(Settings(data_dir=data))
    held = {image for image, sequence in vectors.items() if sequence <= manifest["sequence"]}
    _see_restored(tmp_path, monkeypatch, manifest, held, deleted, source)


def _see_restored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    manifest: dict[str, Any],
    held: set[int],
    deleted: dict[int, int],
    source: dict[int, float],
) -> None:
    monkeypatch.delenv("DESCRY_DATABASE_URL", raising=False)
    new = tmp_path / "elsewhere"
    done = subprocess.run(
        [*DESCRY, "restore", str(tmp_path / "b.zip"), "--json"], env=environment(new), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"who was erased after {manifest['finished_at']} is there again" in done.stderr
    report = json.loads(done.stdout)
    assert report["pictures_missing"] == manifest["pictures_missing"] == []
    with opened(Settings(data_dir=new, device="cpu")) as core:
        core.active.follow()
        view = core.active.current().view("text")
        assert view.count == view.stored() == report["images"] == manifest["images"]
        assert len(list(core.store.names())) == report["images"]
    there = set(rows(Settings(data_dir=new))[0])
    assert len(there) == report["images"]
    # What was there at the backup's place in the log, less what was erased before the backup was done.
    erased_later = {image for image, sequence in deleted.items() if sequence > manifest["erased_upto"]}
    assert there - erased_later == held
    assert not there & {image for image, sequence in deleted.items() if sequence <= manifest["erased_upto"]}
    with serving(new, "--no-worker") as (client, _):
        found = by_image(answer(client))
        both = found.keys() & source.keys()
        assert len(both) > 10
        assert {image: found[image] for image in both} == {image: source[image] for image in both}


def test_a_backup_that_is_killed_is_none_and_can_be_taken_again(tmp_path: Path, checkpoint: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "b"
    with opened(Settings(data_dir=data, device="cpu")) as core:
        activate_version(core, register_checkpoint(core, checkpoint, "random").id)
    ingest(data, pictures(tmp_path / "first", 800))
    command = [*DESCRY, "backup", str(target), "--json"]
    partial = tmp_path / "b.partial"
    for _ in range(5):  # one may be over before this process has its turn again
        with subprocess.Popen(
            command, env=environment(data), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as killed:
            until(lambda: (partial / "pictures").is_dir() or killed.poll() is not None, "it copies", pause_s=0)
            killed.kill()
        if not target.exists():
            break
        shutil.rmtree(target)
    assert partial.is_dir()
    assert not target.exists()
    with pytest.raises(BackupError):
        BackupReader(partial)
    done = subprocess.run(command, env=environment(data), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["images"] == 800
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("b")) == ["b"]
    reader = BackupReader(target)
    assert list(reader.verify())[-1] == reader.manifest["parts"]
