"""Long jobs with real workers that are killed: encoding, exports, training. Nothing is done twice, nothing is left."""

import io
import os
import signal
import zipfile
from pathlib import Path

import httpx
import pytest
import torch

from app.commands.models import register_checkpoint
from app.core import opened
from app.jobs.repository import FINAL
from app.jobs.service import JobService
from app.settings import Settings
from app.vectors.repository import LogRepository
from models.checkpoint import save_checkpoint
from models.clip_baseline import compact_spec
from models.registry import build
from tests.end_to_end.test_jobs_process import Jobs, working
from tests.end_to_end.test_service_process import WORDS, answer, checkpoint, data, ingest, pictures, serving
from tests.training.conftest import write_set
from tests.training.engine.test_engine import recipe
from training.recipe import dump_recipe

__all__ = ["checkpoint", "data"]
pytestmark = pytest.mark.long


def register(data: Path, folder: Path, seed: int) -> int:
    torch.manual_seed(seed)
    save_checkpoint(build(compact_spec(WORDS, height=32, width=16)).eval(), folder, card="# random weights\n")
    with opened(Settings(data_dir=data, device="cpu")) as core:
        return register_checkpoint(core, folder, f"seed {seed}").id


def encoded(jobs: Jobs, version: int) -> int:
    with jobs.database.read() as session:
        return LogRepository(session).count(version, "text")


def active(jobs: Jobs) -> int | None:
    with jobs.database.read() as session:
        return LogRepository(session).head().active_version_id


def test_a_killed_encoding_goes_on_and_switches_once(data: Path, tmp_path: Path) -> None:
    count, jobs = 240, Jobs(data)
    ingest(data, pictures(tmp_path / "p", count))
    version = register(data, tmp_path / "second", 8)
    with jobs.database.write() as session:
        job_id = JobService(session).create("indexing", {"version": version, "activate": True}).id
    with working(data, "one") as process:
        jobs.until(job_id, lambda job: job.done >= 40)
        process.send_signal(signal.SIGKILL)
        process.wait()
    job = jobs.get(job_id)
    assert (job.state, job.total) == ("running", count)
    assert 40 <= job.done < count, "too fast to be killed in the middle"
    assert encoded(jobs, version) == job.done  # one commit for both
    assert active(jobs) == 1
    with working(data, "one"):
        job = jobs.until(job_id, lambda job: job.state in FINAL)
    assert (job.state, job.done, job.total) == ("succeeded", count, count)
    assert encoded(jobs, version) == count
    assert active(jobs) == version
    assert "goes on with one at" in jobs.log(job_id)
    jobs.database.close()


def test_a_server_has_jobs_done_and_follows_them(data: Path, tmp_path: Path) -> None:
    jobs = Jobs(data)
    ingest(data, pictures(tmp_path / "p", 40))
    version = register(data, tmp_path / "second", 8)
    with serving(data) as (client, _):
        assert len(answer(client)) == 40
        queued = client.post(f"/v1/models/{version}/activate")
        assert queued.status_code == 202
        assert "event: job" in client.get(f"{queued.headers['location']}/events").text
        assert client.get(queued.headers["location"]).json()["state"] == "succeeded"
        jobs.until(queued.json()["id"], lambda _: answering(client) == version)
        assert len(answer(client)) == 40
        made = client.post("/v1/exports", json={"collection": "default"}).json()["id"]
        jobs.until(made, lambda job: job.state in FINAL)
        whole = client.get(f"/v1/jobs/{made}/result").content
        with zipfile.ZipFile(io.BytesIO(whole)) as packed:
            assert len([name for name in packed.namelist() if name.endswith(".jpg")]) == 40
        again = client.post("/v1/gallery/batches", params={"collection": "copy"}, files={"archive": ("a.zip", whole)})
        jobs.until(again.json()["id"], lambda job: job.state in FINAL)
        assert jobs.outcomes(again.json()["id"]) == {"ingested": 40}
    jobs.database.close()


def answering(client: httpx.Client) -> int:
    found = client.post("/v1/search/text", json={"query": "a person in a red coat"}).json()
    return int(found["model_version"]["id"])


def test_a_training_survives_its_worker_and_leaves_no_orphan(data: Path, tmp_path: Path) -> None:
    jobs = Jobs(data)
    long = recipe(write_set(tmp_path / "set"), schedule={"epochs": 5000, "warmup": 0.5}, save_every=1)
    (tmp_path / "long.yaml").write_text(dump_recipe(long))
    with jobs.database.write() as session:
        parameters = {"recipe": str(tmp_path / "long.yaml"), "device": "cpu"}
        job_id = JobService(session).create("retraining", parameters).id
    with working(data, "one") as process:
        reached = jobs.until(job_id, lambda job: job.done >= 12).done
        assert processes(job_id)
        process.send_signal(signal.SIGKILL)
        process.wait()
        jobs.until(job_id, lambda _: not processes(job_id))
    assert jobs.get(job_id).state == "running"
    with working(data, "one"):
        jobs.until(job_id, lambda job: job.done > reached)
        assert "tiny resumes at step" in jobs.log(job_id)
        with jobs.database.write() as session:
            JobService(session).cancel(job_id)
        assert jobs.until(job_id, lambda job: job.state in FINAL).state == "cancelled"
        assert processes(job_id) == []
        assert (data / "retraining" / job_id / "best" / "spec.json").is_file()
    jobs.database.close()


def processes(job_id: str) -> list[int]:
    """Every process, the supervisor too, that has the job's folder in its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if job_id.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
