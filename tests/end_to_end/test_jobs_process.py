"""Jobs with real workers: killed in the middle, silent, cancelled. Every picture once, every item with its outcome."""

import fcntl
import io
import signal
import subprocess
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.database.sessions import Database
from app.database.tables import Job
from app.gallery.repository import ImageRepository
from app.jobs.repository import FINAL, JobRepository
from app.jobs.service import JobService
from app.settings import Settings
from tests.end_to_end.test_service_process import DESCRY, answer, checkpoint, data, environment, pictures, serving
from tests.waiting import LIMIT_S, until

__all__ = ["checkpoint", "data"]
COUNT = 900


@contextmanager
def working(data: Path, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    extra = {"DESCRY_INGEST_CHUNK": "8", "DESCRY_WORKER_POLL_S": "0.1", "DESCRY_HEARTBEAT_S": "0.2"}
    with (data.parent / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [*DESCRY, "worker", "--name", name],
            env={**environment(data), **extra, "DESCRY_WORKER_LOST_S": "2"},
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Jobs:
    def __init__(self, data: Path) -> None:
        self.database = Database(Settings(data_dir=data).database)

    def ingest(self, folder: Path) -> str:
        with self.database.write() as session:
            return JobService(session).create("ingest", {"folder": str(folder), "collection": "default"}).id

    def get(self, job_id: str) -> Job:
        with self.database.read() as session:
            return JobService(session).find(job_id)

    def until(self, job_id: str, reached: Callable[[Job], bool]) -> Job:
        deadline = time.monotonic() + LIMIT_S
        while not reached(job := self.get(job_id)):
            assert time.monotonic() < deadline, (job.state, job.done, job.error_message)
            time.sleep(0.005)
        return job

    def outcomes(self, job_id: str) -> Counter[str | None]:
        with self.database.read() as session:
            return Counter(item.status for item in JobRepository(session).items(job_id, after=-1, limit=10**6))

    def log(self, job_id: str) -> str:
        with self.database.read() as session:
            return "\n".join(line.message for line in JobRepository(session).lines(job_id))

    def images(self) -> int:
        with self.database.read() as session:
            return ImageRepository(session).count()


def test_a_killed_worker_goes_on_where_it_was(data: Path, tmp_path: Path) -> None:
    folder, jobs = pictures(tmp_path / "p", COUNT), Jobs(data)
    (folder / "bad.png").write_bytes(b"no picture")
    job_id, reached = jobs.ingest(folder), 0
    for number in (signal.SIGKILL, signal.SIGTERM):
        with working(data, "one") as process:
            mark = reached + 100
            job = jobs.until(job_id, lambda job, mark=mark: job.done >= mark)  # type: ignore[misc]
            process.send_signal(number)
            assert process.wait(LIMIT_S) == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        job = jobs.get(job_id)
        assert (job.state, job.worker) == ("running", "one")
        assert job.done < COUNT, "too fast to be killed in the middle"
        assert jobs.images() == jobs.outcomes(job_id)["ingested"] == job.done  # one commit for both
        reached = job.done
    with working(data, "one"):
        job = jobs.until(job_id, lambda job: job.state in FINAL)
    assert (job.state, job.done, job.total) == ("succeeded", COUNT + 1, COUNT + 1)
    assert jobs.outcomes(job_id) == {"ingested": COUNT, "rejected": 1}
    assert jobs.images() == COUNT
    jobs.database.close()


def test_another_worker_takes_over_and_what_is_cancelled_can_be_finished(data: Path, tmp_path: Path) -> None:
    jobs = Jobs(data)
    first, second = jobs.ingest(pictures(tmp_path / "p", COUNT)), jobs.ingest(pictures(tmp_path / "q", 20, first=COUNT))
    with working(data, "lost") as lost, working(data, "kept") as kept:
        started = jobs.until(first, lambda job: job.done >= 50)
        assert jobs.get(second).state == "queued"  # the same resource, though a worker is idle
        (lost if started.worker == "lost" else kept).kill()
        other = "kept" if started.worker == "lost" else "lost"
        jobs.until(first, lambda job: job.worker == other and job.done > started.done)
        assert "no sign of life" in jobs.log(first)
        with jobs.database.write() as session:
            JobService(session).cancel(first)
        cancelled = jobs.until(first, lambda job: job.state in FINAL)
        assert (cancelled.state, jobs.images()) == ("cancelled", cancelled.done)
        assert cancelled.done < COUNT
        with jobs.database.write() as session:
            again = JobService(session).retry(first).id
        done = jobs.until(again, lambda job: job.state in FINAL)
        assert (done.state, done.total) == ("succeeded", COUNT - cancelled.done)
        assert jobs.until(second, lambda job: job.state in FINAL).state == "succeeded"
    assert jobs.outcomes(first)["ingested"] + jobs.outcomes(again)["ingested"] == COUNT
    assert jobs.images() == COUNT + 20
    jobs.database.close()


def test_the_server_brings_a_worker_and_takes_it_along(data: Path, tmp_path: Path) -> None:
    jobs = Jobs(data)
    with serving(data) as (client, server):
        job_id = jobs.ingest(pictures(tmp_path / "p", 30))
        events = [line for line in client.get(f"/v1/jobs/{job_id}/events").text.splitlines() if line]
        assert events[0] == "event: log"
        assert '"state":"succeeded"' in events[-1]
        worker = client.get(f"/v1/jobs/{job_id}").json()["worker"]
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as packed:
            for path in pictures(tmp_path / "q", 40, first=30).iterdir():
                packed.write(path, path.name)
        batch = client.post("/v1/gallery/batches", files={"archive": ("a.zip", archive.getvalue())}).json()["id"]
        assert jobs.until(batch, lambda job: job.state in FINAL).state == "succeeded"
        assert len(answer(client)) == 70
        jobs.until(batch, lambda _: not list((data / "staging").iterdir()))
        server.kill()
        server.wait()
    # The worker's name is free as soon as it has noticed that nobody needs it.
    with (data / "workers" / f"{worker}.lock").open() as lock:
        until(lambda: _free(lock.fileno()), "the worker's name is free")
    jobs.database.close()


def _free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
