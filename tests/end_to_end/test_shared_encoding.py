"""Several workers at one encoding, for real: cancelled, killed with a shard in hand. Each image once, none left out."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from app.database.tables import Job
from app.jobs.repository import FINAL
from app.jobs.service import JobService
from tests.contract import postgres
from tests.end_to_end.test_jobs_process import Jobs
from tests.end_to_end.test_long_jobs_process import active, encoded, register
from tests.end_to_end.test_service_process import DESCRY, checkpoint, data, environment, ingest, pictures

__all__ = ["checkpoint", "data"]
COUNT = 400
SLOW, FAST = "0.05", "1"


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[URL]:
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def victim(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Who is killed: the helper, or on PostgreSQL the worker that has the job."""
    if request.param == "sqlite":
        yield "helper"
        return
    with postgres.fresh_database(request.getfixturevalue("postgres_server")) as url:
        monkeypatch.setenv("DESCRY_DATABASE_URL", url)
        yield "owner"


@contextmanager
def working(data: Path, name: str, share: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker with small chunks that helps others; with the share SLOW it pauses 19 times as long as it works."""
    extra = {"DESCRY_INGEST_CHUNK": "8", "DESCRY_WORKER_POLL_S": "0.1", "DESCRY_HEARTBEAT_S": "0.2"}
    extra |= {"DESCRY_WORKER_LOST_S": "3", "DESCRY_HELP_ENCODING": "always", "DESCRY_ENCODE_SHARE": share}
    with (data.parent / f"{name}.log").open("ab") as log:
        command = [*DESCRY, "worker", "--name", name]
        process = subprocess.Popen(command, env={**environment(data), **extra}, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def begin(data: Path, tmp_path: Path) -> tuple[Jobs, int, str]:
    """A version for which nothing is encoded, and the job that encodes it and switches to it."""
    jobs = Jobs(data)
    ingest(data, pictures(tmp_path / "p", COUNT))
    version = register(data, tmp_path / "second", 8)
    with jobs.database.write() as session:
        return jobs, version, JobService(session).create("indexing", {"version": version, "activate": True}).id


def at_it(*names: str) -> Callable[[Job], bool]:
    """Whether each of some workers has a shard in hand of which a part is done."""

    def asked(job: Job) -> bool:
        assert job.state not in FINAL, "too fast to be met in the middle"
        shards = (job.progress or {}).get("shards", ())
        busy = {one["worker"] for one in shards if 0 < one["done"] < one["upto"] - one["after"]}
        return busy.issuperset(names)

    return asked


def kill(process: "subprocess.Popen[bytes]") -> str:
    """Kill a worker; returns its name."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert isinstance(process.args, list)
    return str(process.args[-1])


def cancelled(jobs: Jobs, job_id: str) -> int:
    """Cancel a job that two workers are at; returns how many images it had done."""
    with jobs.database.write() as session:
        JobService(session).cancel(job_id)
    job = jobs.until(job_id, lambda job: job.state in FINAL)
    assert job.state == "cancelled"
    assert 0 < job.done < COUNT
    return job.done


def test_an_encoding_by_several_workers(victim: str, data: Path, tmp_path: Path) -> None:
    jobs, version, job_id = begin(data, tmp_path)
    before = 0
    with working(data, "one", SLOW) as one, working(data, "two", SLOW) as two:
        jobs.until(job_id, at_it("one", "two"))
        if victim == "helper":
            before = cancelled(jobs, job_id)
            assert encoded(jobs, version) == before
            with jobs.database.write() as session:
                job_id = JobService(session).retry(job_id).id
            jobs.until(job_id, at_it("one", "two"))
        slow = {"owner": one, "helper": two} if jobs.get(job_id).worker == "one" else {"owner": two, "helper": one}
        name = kill(slow[victim])
        # A helper comes back under its name and goes on at once; a worker that had the job does not come back.
        with working(data, name if victim == "helper" else "third", FAST):
            job = jobs.until(job_id, lambda job: job.state in FINAL)
    assert (job.state, job.done, job.total) == ("succeeded", COUNT - before, COUNT - before), job.error_message
    assert (encoded(jobs, version), active(jobs)) == (COUNT, version)
    assert f"left by {name}" in jobs.log(job_id)
    jobs.database.close()
