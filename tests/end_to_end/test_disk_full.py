"""Disks that are really full, under a real server and its worker: typed errors, nothing is lost.

Searches go on as long as the audit can be written: without its entry no answer leaves.

File systems of a few megabytes are mounted where that is permitted; a limit on the size of files, set on the running
processes, works everywhere on Linux.
"""

import hashlib
import resource
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.database.sessions import Database
from app.database.tables import Image
from app.settings import Settings
from tests.end_to_end.test_service_process import checkpoint
from tests.end_to_end.violence.ledger import Batch, images_of, jpeg, search
from tests.end_to_end.violence.stack import Caller, Stack, workers_of
from tests.waiting import until

__all__ = ["checkpoint"]
SIZES = {"": "48m", "images": "4m", "staging": "4m"}


@dataclass
class Starved:
    data: Path
    stack: Stack
    caller: Caller
    mounted: bool
    sent: int = 0

    def post(self, count: int, first: int | None = None) -> tuple[int, dict[str, object], Batch]:
        """Status, answer, and the batch of new pictures that was sent."""
        start = self.sent if first is None else first
        self.sent = max(self.sent, start + count)
        batch = Batch("", {f"{number:03}.jpg": number for number in range(start, start + count)})
        response = self.caller.ask("POST", "/v1/gallery/batches", files={"archive": ("a.zip", batch.archive())})
        assert response is not None, "the server died"
        return response.status_code, response.json(), batch

    def job(self, job_id: object) -> dict[str, object]:
        response = self.caller.ask("GET", f"/v1/jobs/{job_id}")
        assert response is not None
        found: dict[str, object] = response.json()
        return found

    def ended(self, job_id: object) -> dict[str, object]:
        until(lambda: self.job(job_id)["state"] in ("succeeded", "failed"), "the job ends")
        return self.job(job_id)

    def retried(self, job_id: object) -> None:
        """The job succeeds, if need be when it is tried again."""
        job = self.ended(job_id)
        if job["state"] == "failed":
            error = job["error"]
            assert isinstance(error, dict)
            assert error["code"] in ("database_write_failed", "storage_failed")
            again = self.caller.ask("POST", f"/v1/jobs/{job_id}/retry")
            assert again is not None
            assert again.status_code == 202, again.text
            assert self.ended(again.json()["id"])["state"] == "succeeded"

    def found(self) -> list[int]:
        return sorted(images_of(search(self.caller, jpeg(0))))

    def refused(self) -> None:
        """No search is answered that the audit cannot hold; SQLite's files may have room for a few more inside."""

        def full() -> bool:
            response = self.caller.ask("POST", "/v1/search/image", files={"file": ("q.jpg", jpeg(0))})
            assert response is not None
            assert response.status_code in (200, 503), response.text
            return response.status_code == 503 and response.json()["code"] == "audit_unavailable"

        until(full, "the audit cannot be written")

    def complete(self) -> None:
        """Every picture that was sent is there once, with its file, and is found."""
        database = Database(Settings(data_dir=self.data).database)
        with database.read() as session:
            rows = {row.id: row for row in session.scalars(select(Image))}
        database.close()
        expected = sorted(hashlib.sha256(jpeg(number)).hexdigest() for number in range(self.sent))
        assert sorted(row.sha256 for row in rows.values()) == expected
        assert self.found() == sorted(rows)
        folder = self.data / "images"
        files = {str(path.relative_to(folder))[:-4] for path in folder.glob("??/??/*.jpg")}
        assert {name for name in files if not name.endswith(".thumb")} == {row.store_name for row in rows.values()}
        until(lambda: not list((folder / "journal").glob("*")), "no journal is left")


@contextmanager
def mounts(data: Path) -> Iterator[bool]:
    """Small file systems at the data folder, its images and its staging area; False where that is not permitted."""
    with ExitStack() as stack:
        for name, size in SIZES.items():
            (data / name).mkdir(parents=True, exist_ok=True)
            command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "descry-test", str(data / name)]
            try:
                subprocess.run(command, check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                yield False
                return
            stack.callback(subprocess.run, ["umount", str(data / name)], check=True)
        yield True


@pytest.fixture(scope="module")
def starved(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Starved]:
    data = tmp_path_factory.mktemp("starved") / "data"
    with mounts(data) as mounted:
        with opened(Settings(data_dir=data, device="cpu")) as core:
            activate_version(core, register_checkpoint(core, checkpoint, "random").id)
        stack = Stack(data, extra={"DESCRY_MIN_FREE_BYTES": "0"})  # or the reserve answers before the disk
        with stack.running(), Caller(stack) as caller:
            found = Starved(data, stack, caller, mounted)
            status, job, _ = found.post(12)
            assert status == 202
            assert found.ended(job["id"])["state"] == "succeeded"
            yield found


@contextmanager
def small_files(pid: int) -> Iterator[None]:
    """No file that a process writes may grow beyond 4 KiB."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def ballast(folder: Path, free: int = 0) -> Iterator[None]:
    """Fill a file system but for some bytes."""
    path = folder / "ballast"
    try:
        with path.open("wb", buffering=0) as handle:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        handle.write(bytes(size))
                except OSError:
                    continue
            handle.truncate(handle.tell() - free)
        yield
    finally:
        path.unlink()


def test_a_server_that_cannot_write_says_so_and_shows_nobody_unaudited(starved: Starved) -> None:
    before = starved.found()
    (server,) = (process.pid for process in starved.stack.started())
    with small_files(server):
        status, problem, batch = starved.post(6)
        assert (status, problem["code"]) in {(507, "storage_failed"), (507, "database_write_failed")}
        assert not list((starved.data / "staging").iterdir())
        response = starved.caller.ask("DELETE", f"/v1/images/{before[0]}")
        assert response is not None
        assert (response.status_code, response.json()["code"]) == (507, "database_write_failed")
        starved.refused()
    assert starved.found() == before
    status, job, _ = starved.post(6, first=min(batch.numbers.values()))
    assert status == 202
    assert starved.ended(job["id"])["state"] == "succeeded"
    starved.complete()


def test_a_worker_that_cannot_write_waits_and_goes_on(starved: Starved) -> None:
    before = starved.found()
    (worker,) = workers_of(starved.data)
    with small_files(worker):
        status, job, _ = starved.post(8)
        assert status == 202
        until(lambda: "DatabaseWriteError" in starved.stack.logs, "the worker meets the limit")
        assert starved.found() == before
        assert starved.job(job["id"])["state"] in ("queued", "running")
    starved.retried(job["id"])
    assert workers_of(starved.data) == [worker], "the worker has survived"
    starved.complete()


def test_full_disks(starved: Starved) -> None:
    if not starved.mounted:
        pytest.skip("mounting a file system is not permitted here; the limit on files was tested")
    before = starved.found()
    with ballast(starved.data / "staging"):
        status, problem, batch = starved.post(8)
        assert status == 507
        assert problem["code"] == "disk_low"  # told by the length of the request, before anything is written
        assert [path.name for path in (starved.data / "staging").iterdir()] == ["ballast"]
        assert starved.found() == before
    status, job, _ = starved.post(8, first=min(batch.numbers.values()))
    assert status == 202
    assert starved.ended(job["id"])["state"] == "succeeded"
    with ballast(starved.data / "images", free=1 << 14):
        status, job, _ = starved.post(40)
        assert status == 202
        failed = starved.ended(job["id"])
        error = failed["error"]
        assert isinstance(error, dict)
        assert (failed["state"], error["code"]) == ("failed", "storage_failed")
        assert set(before) <= set(starved.found())
    starved.retried(job["id"])
    starved.complete()


def test_a_full_disk_under_the_database(starved: Starved) -> None:
    if not starved.mounted:
        pytest.skip("mounting a file system is not permitted here; the limit on files was tested")
    before, jobs = starved.found(), []
    with ballast(starved.data):
        refused = None
        for _ in range(60):  # until the room that SQLite's files have inside is used up
            status, answer, batch = starved.post(3)
            if status != 202:
                refused = answer
                break
            jobs.append(answer["id"])
        assert refused is not None, "the disk never was full"
        assert (status, refused["code"]) == (507, "database_write_failed")
        starved.refused()
    assert set(before) <= set(starved.found())
    for job_id in jobs:
        starved.retried(job_id)
    status, job, _ = starved.post(3, first=min(batch.numbers.values()))
    assert status == 202
    starved.retried(job["id"])
    starved.complete()
    assert "unexpected error" not in starved.stack.logs
