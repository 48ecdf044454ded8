"""Jobs that encode the gallery for a version and switch to it, and jobs that rebuild an index."""

import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.commands.models import register_checkpoint
from app.core import Core
from app.errors import JobTakenError
from app.gallery.sources import open_source
from app.jobs.kinds import KINDS, Hands, Work
from app.jobs.service import JobService
from app.registry.encoding import GalleryEncoding
from app.vectors.repository import LogRepository
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import ask, people
from tests.app.toy import picture, toy_checkpoint


@pytest.fixture
def other(core: Core, ingest: IngestFolder, tmp_path: Path) -> int:
    """A second version, with two spaces, for which nothing of the 24 images is encoded."""
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    return register_checkpoint(core, toy_checkpoint(tmp_path / "two", two_spaces=True), "two").id


def taken(core: Core, stopping: threading.Event | None = None, *, worker: str = "w") -> tuple[str, Work]:
    """The next job in the hands of a worker that is not there."""
    with core.database.write() as session:
        job = JobService(session).claim(worker)
        assert job is not None
        assert JobService(session).begin(job.id, worker)
    return job.id, KINDS[job.kind].start(Hands(core, job.id, worker, stopping or threading.Event()))


def finish(core: Core, *, worker: str = "w") -> str:
    job_id, work = taken(core, worker=worker)
    work.prepare()
    while work.advance():
        pass
    return job_id


def active(core: Core) -> int | None:
    with core.database.read() as session:
        return LogRepository(session).head().active_version_id


def test_an_incomplete_version_is_activated_by_a_job(client: TestClient, core: Core, other: int) -> None:
    queued = client.post(f"/v1/models/{other}/activate")
    assert (queued.status_code, queued.json()["kind"], queued.json()["counts"]) == (202, "indexing", None)
    assert queued.headers["location"] == f"/v1/jobs/{queued.json()['id']}"
    assert client.post(f"/v1/models/{other}/activate").json()["id"] == queued.json()["id"]
    assert ask(client, "red")["model_version"]["name"] == "toy"
    job_id, work = taken(core)
    work.prepare()
    assert client.get(f"/v1/jobs/{job_id}").json()["total"] == 24
    assert not work.advance()
    found = client.get(f"/v1/jobs/{job_id}").json()
    assert (found["state"], found["done"], found["total"], found["unit"]) == ("succeeded", 24, 24, "images")
    assert active(core) == other
    answered = client.post(f"/v1/models/{other}/activate")  # complete now: at once
    assert (answered.status_code, answered.json()["status"]) == (200, "active")
    assert ask(client, "red coat")["model_version"]["name"] == "two"
    assert client.post("/v1/models/1/activate").status_code == 200
    assert client.post("/v1/models/99/activate").status_code == 404


def test_a_cancelled_encoding_keeps_what_it_has_and_does_not_switch(
    client: TestClient, core: Core, other: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client.post(f"/v1/models/{other}/activate").json()["id"]
    _, work = taken(core)
    work.prepare()
    original, chunks = GalleryEncoding._append, []

    def cancelling(*arguments: object) -> bool:
        chunks.append(1)
        if len(chunks) == 2:
            client.post(f"/v1/jobs/{first}/cancel")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(GalleryEncoding, "_append", cancelling)
    assert not work.advance()
    found = client.get(f"/v1/jobs/{first}").json()
    assert (found["state"], found["done"]) == ("cancelled", 8)
    assert active(core) == 1
    again = client.post(f"/v1/jobs/{first}/retry").json()
    assert (again["state"], again["retry_of"]) == ("queued", first)
    assert finish(core) == again["id"]
    assert client.get(f"/v1/jobs/{again['id']}").json()["total"] == 16
    assert active(core) == other
    assert client.post(f"/v1/jobs/{again['id']}/retry").json()["code"] == "job_not_retryable"


def test_a_stopping_worker_leaves_the_rest_to_the_next(client: TestClient, core: Core, other: int) -> None:
    stopping = threading.Event()
    job_id = client.post(f"/v1/models/{other}/activate").json()["id"]
    _, work = taken(core, stopping)
    work.prepare()
    stopping.set()
    assert work.advance()
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "running"
    with core.database.write() as session:
        assert JobService(session).begin(job_id, "next")
    stopping.clear()
    with pytest.raises(JobTakenError):
        work.advance()
    following = KINDS["indexing"].start(Hands(core, job_id, "next", threading.Event()))
    following.prepare()
    assert not following.advance()
    assert active(core) == other


def test_images_that_come_while_a_job_encodes_are_encoded_too(
    client: TestClient, core: Core, other: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = client.post(f"/v1/models/{other}/activate").json()["id"]
    picture(tmp_path / "late" / "1.jpg", "red", shade=77)
    original, calls = core.activation.__class__.complete, list[object]()

    def late(*arguments: object, **named: object) -> None:
        if not calls:
            calls.append(list(core.ingest().run(open_source(tmp_path / "late"))))
        original(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(core.activation.__class__, "complete", late)
    finish(core)
    found = client.get(f"/v1/jobs/{job_id}").json()
    assert (found["state"], found["done"], found["total"]) == ("succeeded", 25, 25)
    with core.database.read() as session:
        assert [LogRepository(session).count(other, space) for space in ("text", "image")] == [25, 25]


def test_an_index_is_rebuilt_by_a_job(core: Core, other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCRY_DATA_DIR", str(core.settings.data_dir))
    run = CliRunner()
    assert run.invoke(app, ["models", "activate", str(other), "--queue"], catch_exceptions=False).exit_code == 0
    finish(core)
    shown = run.invoke(app, ["index", "rebuild", "--queue"], catch_exceptions=False).stdout
    assert "indexing queued" in shown
    job_id = finish(core)
    with core.database.read() as session:
        job = JobService(session).find(job_id)
    assert (job.state, job.done, job.total) == ("succeeded", 24, 24)
    assert sorted(path.name for path in core.settings.index_dir.glob("version-2-*")) == [
        "version-2-image.index",
        "version-2-text.index",
    ]
    core.active.follow()
    assert [view.count for view in core.active.current().views.values()] == [24, 24]
