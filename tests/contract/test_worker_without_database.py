"""A worker whose database goes away in the middle of a job, and comes back: the job goes on, nothing twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from app.database.sessions import Database
from app.jobs.repository import FINAL
from tests.contract import postgres
from tests.contract.line import Line, line_to
from tests.end_to_end.test_jobs_process import Jobs, working
from tests.end_to_end.test_service_process import checkpoint, data, pictures

__all__ = ["checkpoint", "data"]
COUNT = 120


@pytest.fixture
def database_url(postgres_server: URL) -> Iterator[str]:
    with postgres.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def line(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """The way to the database for whoever reads the environment."""
    with line_to(database_url) as found:
        monkeypatch.setenv("DESCRY_DATABASE_URL", found.url)
        yield found


def test_a_job_outlives_the_loss_of_the_database(line: Line, database_url: str, data: Path, tmp_path: Path) -> None:
    jobs = Jobs(data)
    jobs.database.close()
    jobs.database = Database(database_url)
    job_id = jobs.ingest(pictures(tmp_path / "p", COUNT))
    log = data.parent / "worker.log"
    with working(data, "worker") as worker:
        jobs.until(job_id, lambda job: job.done >= 24)
        line.cut()
        jobs.until(job_id, lambda _: "the database does not answer" in log.read_text())
        cut = jobs.get(job_id)
        assert (cut.state, cut.worker) == ("running", "worker")
        assert cut.done < COUNT, "too fast to be cut in the middle"
        line.mend()
        job = jobs.until(job_id, lambda job: job.state in FINAL)
        assert (job.state, job.done, job.error_message) == ("succeeded", COUNT, None)
        assert worker.poll() is None
    assert jobs.outcomes(job_id) == {"ingested": COUNT}
    assert jobs.images() == COUNT
    jobs.database.close()
