"""Shards of an encoding in one process: each image once, whoever has it; what is lost is given out again."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.commands.models import register_checkpoint
from app.core import Core, open_core
from app.database.tables import Image, ModelVersion
from app.errors import JobTakenError, ModelIncompleteError
from app.gallery.sources import open_source
from app.jobs.encoding import ShardWork
from app.jobs.helping import Helper
from app.jobs.repository import JobRepository
from app.jobs.schemas import JobOut
from app.jobs.service import JobService
from app.jobs.shards import PHASE, Seat, Shards, place
from app.registry.service import ModelService
from app.settings import Settings
from app.vectors.repository import LogRepository
from tests.app.conftest import IngestFolder
from tests.app.test_indexing_jobs import active, finish, other, taken
from tests.app.test_search_api import people
from tests.app.toy import picture, toy_checkpoint
from tests.waiting import until

__all__ = ["other"]
COUNT = 24


def queued(core: Core, version: int) -> str:
    """An encoding job, begun by a worker that is not there."""
    with core.database.write() as session:
        JobService(session).create("indexing", {"version": version})
    job_id, work = taken(core, worker="first")
    work.prepare()
    return job_id


def shards(core: Core, job_id: str, worker: str, version: int) -> Shards:
    return Shards(core.database, core.settings, job_id, worker, _row(core, version), Seat())


def encoded(core: Core, version: int) -> list[int]:
    with core.database.read() as session:
        return [LogRepository(session).count(version, space) for space in ("text", "image")]


def done(core: Core, mine: Shards, count: int) -> bool:
    with core.database.write() as session:
        return mine.reach(session, count)


def test_shards_are_disjoint_and_together_everything(core: Core, other: int) -> None:
    job_id = queued(core, other)
    one, two = (shards(core, job_id, name, other) for name in ("first", "second"))
    one.begin()
    spans: list[tuple[int, int]] = []
    while (span := (one, two)[len(spans) % 2].take()) is not None:
        spans.append(span)
        (one, two)[len(spans) % 2 - 1].give_back(done=True)
    assert spans[0][0] == 0
    assert [upto for _, upto in spans[:-1]] == [after for after, _ in spans[1:]]
    assert spans[-1][1] == COUNT
    assert not one.open()
    assert one.take() is None


def test_what_a_worker_loses_goes_to_the_next_one_as_it_is(core: Core, other: int) -> None:
    job_id = queued(core, other)
    one, two = (shards(core, job_id, name, other) for name in ("first", "second"))
    one.begin()
    span = one.take()
    assert span is not None
    assert two.take() != span
    two.give_back(done=False)
    assert two.take() not in (None, span)  # its own again, not what the other one has
    assert done(core, one, 2)
    again = shards(core, job_id, "first", other)  # the same worker, started again
    assert again.take() == span
    assert not one.going()
    with pytest.raises(JobTakenError, match="another worker has the shard"):
        done(core, one, 2)
    one.give_back(done=True)  # of nothing
    assert again.going()
    two.give_back(done=True)
    impatient = core.settings.model_copy(update={"worker_lost_s": 0.0})
    third = Shards(core.database, impatient, job_id, "third", _row(core, other), Seat())
    assert third.take() == span  # the first one is silent by that measure
    with core.database.read() as session:
        told = JobService(session).find(job_id)
        assert (told.done, told.total) == (2, COUNT)
        lines = " ".join(line.message for line in JobRepository(session).lines(job_id))
    assert "third goes on with images 1 to 4 left by first" in lines


def _row(core: Core, version: int) -> ModelVersion:
    with core.database.read() as session:
        return ModelService(session).find(version)


def test_two_workers_encode_each_image_once(client: TestClient, core: Core, other: int) -> None:
    job_id = queued(core, other)
    works = [ShardWork(core, job_id, name, other, Seat()) for name in ("first", "second")]
    works[0].shards.begin()
    errors: list[BaseException] = []

    def work_off(work: ShardWork) -> None:
        try:
            while work.one(lambda: True) is not None:
                pass
        except BaseException as error:  # noqa: BLE001  of a thread
            errors.append(error)

    threads = [threading.Thread(target=work_off, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert encoded(core, other) == [COUNT, COUNT]
    found = client.get(f"/v1/jobs/{job_id}").json()
    assert (found["done"], found["total"], found["progress"]["shards"]) == (COUNT, COUNT, [])
    assert found["progress"]["images_per_second"] > 0


def test_a_cancel_reaches_whoever_has_a_shard(client: TestClient, core: Core, other: int) -> None:
    job_id = queued(core, other)
    work = ShardWork(core, job_id, "second", other, Seat())
    work.shards.begin()
    client.post(f"/v1/jobs/{job_id}/cancel")
    assert work.one(lambda: True) is False
    assert client.get(f"/v1/jobs/{job_id}").json()["done"] == encoded(core, other)[0] <= 4
    with core.database.write() as session:
        JobService(session).finish(JobService(session).find(job_id), "cancelled")
    with pytest.raises(JobTakenError, match="cancelled"):
        work.one(lambda: True)


def test_pictures_that_are_gone_are_named_and_stop_nothing(
    client: TestClient, core: Core, ingest: IngestFolder, tmp_path: Path
) -> None:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    version = register_checkpoint(core, toy_checkpoint(tmp_path / "two", two_spaces=True), "two").id
    with core.database.read() as session:
        names = [row.store_name for row in session.query(Image).order_by(Image.id)]
    (core.settings.images_dir / f"{names[4]}.jpg").unlink()
    (core.settings.images_dir / f"{names[9]}.jpg").write_bytes(b"\xff\xd8\xff damaged")
    job_id = client.post(f"/v1/models/{version}/activate").json()["id"]
    with pytest.raises(ModelIncompleteError, match="2 stored pictures"):
        finish(core)
    assert (active(core), encoded(core, version)) == (1, [COUNT - 2, COUNT - 2])
    items = client.get(f"/v1/jobs/{job_id}/items").json()["items"]
    assert [(item["image_id"], item["status"], item["code"]) for item in items] == [
        (5, "rejected", "file_missing"),
        (10, "rejected", "image_damaged"),
    ]
    assert all(item["name"].endswith(".jpg") for item in items)
    assert client.get(f"/v1/jobs/{job_id}").json()["done"] == COUNT
    with core.database.write() as session:  # as the worker does with what the work raises
        JobService(session).finish(JobService(session).find(job_id), "failed", ModelIncompleteError("2"))
    assert client.delete("/v1/images/5").status_code == client.delete("/v1/images/10").status_code == 204
    again = client.post(f"/v1/jobs/{job_id}/retry").json()["id"]
    assert finish(core) == again
    assert (active(core), encoded(core, version)) == (version, [COUNT - 2, COUNT - 2])


def test_an_image_is_named_once_however_often_it_is_tried(core: Core, other: int) -> None:
    job_id = queued(core, other)
    work = ShardWork(core, job_id, "second", other, Seat())
    next(iter(sorted(core.settings.images_dir.rglob("*.jpg")))).unlink()
    for _ in range(2):
        work.shards.begin()
        while work.one(lambda: True) is not None:
            pass
    with core.database.read() as session:
        job, items = JobService(session).find(job_id), JobRepository(session).items(job_id, after=-1, limit=10)
    assert (job.done, job.total, len(items)) == (COUNT, COUNT, 1)


def helper(core: Core, settings: Settings, idle: Callable[[], bool]) -> Helper:
    return Helper(open_core(settings), "second", idle)


def test_an_idle_worker_helps_unless_that_is_no_faster(core: Core, other: int) -> None:
    job_id = queued(core, other)
    shards(core, job_id, "first", other).begin()
    settings = core.settings.model_copy(update={"help_encoding": "auto"})
    same = helper(core, settings, lambda: True)
    same.look()
    assert not same.busy  # the worker of the job is on the same machine and device
    busy = helper(core, settings.model_copy(update={"help_encoding": "always"}), lambda: False)
    busy.look()
    assert not busy.busy
    elsewhere = helper(core, settings.model_copy(update={"device": "auto"}), lambda: True)
    assert place(settings.model_copy(update={"device": "auto"})) != place(settings)
    elsewhere.look()
    assert elsewhere.busy
    until(lambda: encoded(core, other) == [COUNT, COUNT])
    with core.database.write() as session:
        JobService(session).finish(JobService(session).find(job_id), "cancelled")
    until(lambda: not elsewhere.busy)


def test_a_helper_that_cannot_says_so_once_and_the_job_goes_on(core: Core, other: int, tmp_path: Path) -> None:
    job_id = queued(core, other)
    shards(core, job_id, "first", other).begin()
    settings = core.settings.model_copy(update={"help_encoding": "always"})
    found = helper(core, settings, lambda: True)
    folder = core.settings.models_dir / _row(core, other).folder
    folder.rename(tmp_path / "away")
    found.look()
    until(lambda: not found.busy)
    with core.database.read() as session:
        job, lines = JobService(session).find(job_id), JobRepository(session).lines(job_id)
    assert job.state == "running"
    assert "second cannot help" in lines[-1].message
    found.look()
    assert not found.busy


def test_an_encoding_without_a_switch_is_a_verb_and_a_route(
    client: TestClient, core: Core, other: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = client.post(f"/v1/models/{other}/encode")
    assert (asked.status_code, asked.json()["kind"]) == (202, "indexing")
    assert asked.headers["location"] == f"/v1/jobs/{asked.json()['id']}"
    assert client.post(f"/v1/models/{other}/encode").json()["id"] == asked.json()["id"]
    assert client.get("/v1/models").json()["models"][1]["status"] == "encoding"
    assert client.post("/v1/models/99/encode").status_code == 404
    monkeypatch.setenv("DESCRY_DATA_DIR", str(core.settings.data_dir))
    run = CliRunner()
    again = run.invoke(app, ["index", "encode", "two", "--queue"], catch_exceptions=False)
    assert asked.json()["id"] in again.stdout
    assert finish(core) == asked.json()["id"]
    assert (active(core), encoded(core, other)) == (1, [COUNT, COUNT])
    assert client.get(f"/v1/jobs/{asked.json()['id']}").json()["state"] == "succeeded"
    answered = client.post(f"/v1/models/{other}/encode")
    assert (answered.status_code, answered.json()["status"]) == (200, "ready")
    picture(core.settings.data_dir / "late" / "1.jpg", "red", shade=99)
    list(core.ingest().run(open_source(core.settings.data_dir / "late")))
    shown = run.invoke(app, ["index", "encode", str(other), "--json"], catch_exceptions=False)
    assert '"encoded": 1' in shown.stdout
    assert encoded(core, other) == [COUNT + 1, COUNT + 1]


def test_what_a_job_shows_of_its_shards(core: Core, other: int) -> None:
    job_id = queued(core, other)
    one = shards(core, job_id, "first", other)
    one.begin()
    one.take()
    done(core, one, 3)
    with core.database.read() as session:
        told = JobOut.of(JobService(session).find(job_id), {}).progress
    assert told is not None
    assert told["phase"] == PHASE
    assert told["shards"] == [{"worker": "first", "after": 0, "upto": 4, "done": 3}]
    assert set(told) == {"phase", "shards", "images_per_second", "seconds_left"}
