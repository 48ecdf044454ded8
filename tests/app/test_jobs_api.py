"""Jobs over HTTP and at the command line, without a worker: what can be asked, and in which state."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.access.schemas import NewKey
from app.access.service import KeyService
from app.cli import app
from app.core import Core
from app.errors import IdempotencyKeyError, JobTakenError, WorkerNameTakenError
from app.jobs.endpoints import _events
from app.jobs.ingesting import IngestJob
from app.jobs.kinds import Hands
from app.jobs.names import worker_name
from app.jobs.repository import JobRepository
from app.jobs.service import MOST_ATTEMPTS, JobService
from tests.app.test_problems import check
from tests.app.toy import picture
from tests.loops import finished

Queue = Callable[[], str]


@pytest.fixture
def queue(core: Core, tmp_path: Path) -> Queue:
    for number in range(6):
        picture(tmp_path / "p" / f"{number}.jpg", "red", shade=number)
    (tmp_path / "p" / "9.jpg").touch()

    def make() -> str:
        with core.database.write() as session:
            return JobService(session).create("ingest", {"folder": str(tmp_path / "p"), "collection": "default"}).id

    return make


def run(core: Core, worker: str = "w", *, steps: int = 99) -> str:
    """What the worker does, without the worker."""
    with core.database.write() as session:
        job = JobService(session).claim(worker)
        assert job is not None
        assert JobService(session).begin(job.id, worker)
    ingest = IngestJob(Hands(core, job.id, worker, threading.Event()))
    ingest.prepare()
    for _ in range(steps):
        if not ingest.advance():
            break
    else:
        return job.id
    with core.database.write() as session:
        JobService(session).finish(JobService(session).find(job.id), "succeeded")
    return job.id


def test_a_job_is_described_with_its_items_and_its_log(client: TestClient, core: Core, queue: Queue) -> None:
    job_id = queue()
    waiting = client.get(f"/v1/jobs/{job_id}").json()
    assert (waiting["state"], waiting["total"], waiting["error"]) == ("queued", None, None)
    assert run(core) == job_id
    found = client.get(f"/v1/jobs/{job_id}").json()
    assert found["counts"] == {"ingested": 6, "duplicate": 0, "rejected": 1, "waiting": 0}
    assert [line["message"] for line in found["log"]] == ["queued", "started by w", "7 items listed", "succeeded"]
    page = client.get(f"/v1/jobs/{job_id}/items", params={"limit": 5}).json()
    assert [item["name"] for item in page["items"]] == [f"{number}.jpg" for number in range(5)]
    rest = client.get(f"/v1/jobs/{job_id}/items", params={"after": page["next_after"]}).json()
    assert [(item["name"], item["code"]) for item in rest["items"]] == [("5.jpg", None), ("9.jpg", "file_empty")]
    rejected = client.get(f"/v1/jobs/{job_id}/items", params={"status": "rejected"}).json()["items"]
    assert [item["position"] for item in rejected] == [6]
    text = client.get(f"/v1/jobs/{job_id}/events").text
    assert text.count("event: log") == 4
    assert text.count("event: job") == 1


@pytest.mark.parametrize("how", ["revoked", "rotated", "made"])
def test_a_stream_ends_with_the_key_that_asked_for_it(core: Core, queue: Queue, how: str) -> None:
    """`made`: who came while there was no key may stay until there is one."""
    job_id = queue()
    new = NewKey(name="test", scopes=["ingest"])
    key_id = None
    if how != "made":
        with core.database.write() as session:
            key_id = KeyService(session).create(new).id

    async def follow() -> list[str]:
        got = []
        async for piece in _events(core, job_id, key_id):
            got.append(piece)
            if piece.startswith("event: job"):
                with core.database.write() as session:
                    keys = KeyService(session)
                    {"revoked": keys.revoke, "rotated": keys.rotate}[how](key_id) if key_id else keys.create(new)
        return got

    async def in_time() -> list[str]:
        return await asyncio.wait_for(follow(), 30)

    assert [piece.partition("\n")[0] for piece in finished(in_time())] == ["event: log", "event: job"]


def test_jobs_are_listed_in_pages_newest_first(client: TestClient, queue: Queue) -> None:
    made = [queue() for _ in range(3)]
    first = client.get("/v1/jobs", params={"limit": 2}).json()
    second = client.get("/v1/jobs", params={"before": first["next_before"]}).json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == made[::-1]
    assert client.get("/v1/jobs", params={"state": "running"}).json()["jobs"] == []


def test_only_what_failed_is_retried(client: TestClient, core: Core, queue: Queue, tmp_path: Path) -> None:
    job_id = queue()
    check(client.post(f"/v1/jobs/{job_id}/retry"), 409, "job_not_retryable")
    run(core)
    picture(tmp_path / "p" / "9.jpg", "blue")
    again = client.post(f"/v1/jobs/{job_id}/retry")
    assert again.status_code == 202
    assert (again.json()["total"], again.json()["retry_of"]) == (1, job_id)
    assert client.post(f"/v1/jobs/{job_id}/retry").json()["id"] == again.json()["id"]
    run(core)
    assert client.get(f"/v1/jobs/{again.json()['id']}").json()["counts"]["ingested"] == 1
    check(client.post(f"/v1/jobs/{again.json()['id']}/retry"), 409, "job_not_retryable")


def test_a_queued_job_is_cancelled_at_once_and_only_once(client: TestClient, queue: Queue) -> None:
    job_id = queue()
    assert client.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    check(client.post(f"/v1/jobs/{job_id}/cancel"), 409, "job_finished")
    for path in ("", "/items", "/events"):
        check(client.get(f"/v1/jobs/nothing{path}"), 404, "job_not_found")
    assert client.post(f"/v1/jobs/{job_id}/retry").json()["state"] == "queued"


def test_a_worker_that_was_thought_dead_writes_nothing_late(core: Core, queue: Queue) -> None:
    job_id = queue()
    with core.database.write() as session:
        JobService(session).claim("slow")
    late = IngestJob(Hands(core, job_id, "slow", threading.Event()))
    late.prepare()
    with core.database.write() as session:
        assert JobService(session).begin(job_id, "quick")
    with pytest.raises(JobTakenError):
        late.advance()
    with core.database.read() as session:
        assert JobRepository(session).unsettled(job_id, limit=1)


def test_one_job_of_a_resource_runs_at_a_time(core: Core, queue: Queue) -> None:
    queue(), queue()
    with core.database.write() as session:
        assert JobService(session).claim("a") is not None
        assert JobService(session).claim("b") is None
    with core.database.read() as session:
        (waiting,) = JobRepository(session).page(10, None, "queued")
    with pytest.raises(IntegrityError), core.database.write() as session:  # the database holds it too
        JobService(session).find(waiting.id).state = "running"


def test_a_job_that_kills_its_workers_is_given_up(core: Core, queue: Queue) -> None:
    job_id = queue()
    with core.database.write() as session:
        service = JobService(session)
        service.claim("w")
        assert [service.begin(job_id, "w") for _ in range(MOST_ATTEMPTS + 1)] == [True] * MOST_ATTEMPTS + [False]
        assert service.find(job_id).error_code == "job_given_up"


def test_an_idempotency_key_makes_one_job(core: Core) -> None:
    with core.database.write() as session:
        service = JobService(session)
        made = service.create("ingest", {"folder": "x"}, key="k", fingerprint="f")
        assert service.create("ingest", {"folder": "y"}, key="k", fingerprint="f") is made
        with pytest.raises(IdempotencyKeyError):
            service.create("ingest", {"folder": "x"}, key="k", fingerprint="g")


def test_names_of_workers_are_distinct_and_come_back(tmp_path: Path) -> None:
    with worker_name(tmp_path) as first, worker_name(tmp_path) as second:
        assert first != second
        with pytest.raises(WorkerNameTakenError), worker_name(tmp_path, first):
            pass
    with worker_name(tmp_path) as again:
        assert again == first


def test_jobs_at_the_command_line(core: Core, queue: Queue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DESCRY_DATA_DIR", str(core.settings.data_dir))
    monkeypatch.setenv("COLUMNS", "200")

    def verb(*words: str) -> str:
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    job_id = json.loads(verb("ingest", str(tmp_path / "p"), "--queue", "--json"))["id"]
    run(core)
    assert json.loads(verb("jobs", "show", job_id, "--json"))["rejected"][0]["name"] == "9.jpg"
    assert "file_empty" in verb("jobs", "show", job_id)
    again = json.loads(verb("jobs", "retry", job_id, "--json"))["id"]
    assert json.loads(verb("jobs", "cancel", again, "--json"))["state"] == "cancelled"
    assert [job["id"] for job in json.loads(verb("jobs", "list", "--json"))] == [again, job_id]
    assert job_id in verb("jobs", "list")
