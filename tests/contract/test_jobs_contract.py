"""Jobs and batches on PostgreSQL: the tests of the API once more, and real processes that are killed."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import engine
from starlette.testclient import TestClient

from app.core import Core
from app.database.sessions import Database
from app.jobs.repository import FINAL
from tests.app.test_batches_api import (
    URL,
    left,
    send_archive,
    test_an_archive_is_unpacked,
    test_files_with_a_manifest_become_a_job,
    test_the_same_key_is_the_same_job_and_nothing_more,
    test_what_nobody_needs_is_swept,
    zipped,
)
from tests.app.test_job_retries import (
    test_a_batch_is_retried_after_a_limit_was_raised,
    test_a_cancelled_batch_keeps_its_files_and_is_retried_whole,
    test_a_folder_may_change_between_a_job_and_its_retry,
    test_what_would_be_rejected_again_is_not_kept,
    work,
)
from tests.app.test_jobs_api import (
    queue,
    test_a_job_is_described_with_its_items_and_its_log,
    test_a_job_that_kills_its_workers_is_given_up,
    test_a_queued_job_is_cancelled_at_once_and_only_once,
    test_a_worker_that_was_thought_dead_writes_nothing_late,
    test_an_idempotency_key_makes_one_job,
    test_jobs_are_listed_in_pages_newest_first,
    test_one_job_of_a_resource_runs_at_a_time,
    test_only_what_failed_is_retried,
)
from tests.app.test_problems import check
from tests.app.toy import picture
from tests.contract import postgres
from tests.end_to_end.test_jobs_process import Jobs, working
from tests.end_to_end.test_service_process import checkpoint, data, pictures, serving

__all__ = [
    "checkpoint",
    "data",
    "queue",
    "test_a_batch_is_retried_after_a_limit_was_raised",
    "test_a_cancelled_batch_keeps_its_files_and_is_retried_whole",
    "test_a_folder_may_change_between_a_job_and_its_retry",
    "test_a_job_is_described_with_its_items_and_its_log",
    "test_a_job_that_kills_its_workers_is_given_up",
    "test_a_queued_job_is_cancelled_at_once_and_only_once",
    "test_a_worker_that_was_thought_dead_writes_nothing_late",
    "test_an_archive_is_unpacked",
    "test_an_idempotency_key_makes_one_job",
    "test_files_with_a_manifest_become_a_job",
    "test_jobs_are_listed_in_pages_newest_first",
    "test_one_job_of_a_resource_runs_at_a_time",
    "test_only_what_failed_is_retried",
    "test_the_same_key_is_the_same_job_and_nothing_more",
    "test_what_nobody_needs_is_swept",
    "test_what_would_be_rejected_again_is_not_kept",
]
COUNT = 250


@pytest.fixture
def database_url(postgres_server: engine.URL, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """PostgreSQL alone: the same tests run over SQLite where they were written. For processes as well."""
    with postgres.fresh_database(postgres_server) as url:
        monkeypatch.setenv("DESCRY_DATABASE_URL", url)
        yield url


def test_two_requests_with_one_key_at_once_get_the_same_job(client: TestClient, core: Core, tmp_path: Path) -> None:
    data = zipped({"1.jpg": picture(tmp_path / "1.jpg", "red").read_bytes()})
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: send_archive(client, data, **{"Idempotency-Key": "k"}), range(8)))
    assert [answer.status_code for answer in answers] == [202] * 8, answers[0].text
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1
    assert len(left(core)) == 1  # what the others staged is gone
    other = client.post(URL, files={"archive": ("a", zipped({"2.jpg": b"x"}))}, headers={"Idempotency-Key": "k"})
    check(other, 409, "idempotency_key_reused")


def test_names_that_no_database_keeps_are_reported_all_the_same(client: TestClient, core: Core) -> None:
    lines = b'{"file": "a\\u0000b.jpg"}\n{"file": "\\ud800.jpg"}\n{"file": "x.jpg", "camera": "\\u0000"}\n'
    answer = client.post(URL, files={"archive": ("a", zipped({"manifest.jsonl": lines, "x.jpg": b"x"}))})
    assert work(core) == answer.json()["id"]
    items = client.get(f"/v1/jobs/{answer.json()['id']}/items").json()["items"]
    assert [item["code"] for item in items] == ["path_outside_folder", "file_missing", "manifest_entry_invalid"]


def test_a_batch_is_finished_by_another_worker_when_its_own_is_killed(
    database_url: str, data: Path, tmp_path: Path
) -> None:
    jobs = Jobs(data)
    jobs.database.close()
    jobs.database = Database(database_url)
    files = pictures(tmp_path / "p", COUNT)
    archive = zipped({path.name: path.read_bytes() for path in files.iterdir()})
    with serving(data, "--no-worker") as (client, _):
        job_id = client.post(URL, files={"archive": ("a", archive)}).json()["id"]
        with working(data, "one") as first:
            jobs.until(job_id, lambda job: job.done >= 50)
            first.send_signal(signal.SIGKILL)
            first.wait()
        interrupted = jobs.get(job_id)
        assert (interrupted.state, interrupted.worker) == ("running", "one")
        assert interrupted.done < COUNT
        with working(data, "two"):
            job = jobs.until(job_id, lambda job: job.state in FINAL)
            assert (job.state, job.done, job.worker) == ("succeeded", COUNT, "two")
            jobs.until(job_id, lambda _: not list((data / "staging").iterdir()))
        assert jobs.outcomes(job_id) == {"ingested": COUNT}
        assert jobs.images() == client.get("/v1/gallery").json()["images"] == COUNT
    jobs.database.close()
    assert not (data / "descry.sqlite3").exists()
