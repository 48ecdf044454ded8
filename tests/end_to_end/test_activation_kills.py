"""Server and worker are killed at any point of an activation: exactly one version is active, and searches work."""

from collections.abc import Callable
from pathlib import Path

import httpx

from app.core import opened
from app.gallery.repository import ImageRepository
from app.jobs.repository import FINAL
from app.settings import Settings
from app.vectors.repository import LogRepository
from tests.end_to_end.test_jobs_process import Jobs
from tests.end_to_end.test_long_jobs_process import active, encoded, register
from tests.end_to_end.test_service_process import answer, checkpoint, data, ingest, pictures
from tests.end_to_end.violence.stack import Stack
from tests.waiting import LIMIT_S, until

__all__ = ["checkpoint", "data"]
COUNT = 100
Moment = Callable[[Jobs, int], bool]
"""Whether the time has come, by the jobs and the version that is being activated."""
PLAN: list[tuple[tuple[str, ...], Moment]] = [
    (("server 0", "worker"), lambda jobs, version: encoded(jobs, version) > 0),
    (("group",), lambda jobs, version: encoded(jobs, version) == COUNT),  # about to switch, or just after
    (("server 0",), lambda jobs, version: active(jobs) == version),  # before the server has followed, or as it does
]


def test_one_version_is_active_whenever_it_is_killed(data: Path, tmp_path: Path) -> None:
    ingest(data, pictures(tmp_path / "p", COUNT))
    versions = [register(data, tmp_path / f"seed{seed}", seed) for seed in range(len(PLAN))]
    jobs, stack, before = Jobs(data), Stack(data, extra={"DESCRY_WORKER_NICENESS": "0"}), 1
    with stack.running():
        for version, (victims, moment) in zip(versions, PLAN, strict=True):
            queued = httpx.post(f"{stack.url()}/v1/models/{version}/activate", timeout=LIMIT_S)
            assert queued.status_code == 202
            until(lambda version=version, moment=moment: moment(jobs, version), "the moment to kill")  # type: ignore[misc]
            stack.kill(*victims)
            assert active(jobs) in (before, version)
            stack.start()
            with httpx.Client(base_url=stack.url(), timeout=LIMIT_S) as client:
                check(client, {before, version})
                job_id = queued.json()["id"]
                jobs.until(job_id, lambda job: job.state in FINAL)
                assert jobs.get(job_id).state == "succeeded"
                assert (active(jobs), encoded(jobs, version)) == (version, COUNT)
                until(lambda client=client, version=version: answering(client) == version, "the server follows")  # type: ignore[misc]
                check(client, {version})
            before = version
        stack.stop()
    with opened(Settings(data_dir=data, device="cpu")) as core, core.database.read() as session:
        assert ImageRepository(session).count() == COUNT
        assert LogRepository(session).head().active_version_id == versions[-1]
    jobs.database.close()


def check(client: httpx.Client, expected: set[int]) -> None:
    listed = client.get("/v1/models").json()
    assert [model["id"] for model in listed["models"] if model["status"] == "active"] == [listed["active_id"]]
    assert listed["active_id"] in expected
    assert answering(client) in expected
    assert len(answer(client)) == 100  # a page


def answering(client: httpx.Client) -> int:
    response = client.post("/v1/search/text", json={"query": "a person in a red coat"})
    assert response.status_code == 200, response.text
    return int(response.json()["model_version"]["id"])
