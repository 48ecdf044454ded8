"""Retries: of a batch only what could end otherwise, from the files that were kept for it and no others."""

import json
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.collections.service import CollectionService
from app.core import Core
from app.errors import ServiceError
from app.jobs.ingesting import IngestJob
from app.jobs.kinds import Hands
from app.jobs.service import JobService
from app.jobs.worker import Worker
from tests.app.test_access_api import make
from tests.app.test_batches_api import URL, left, zipped
from tests.app.test_jobs_api import Queue, queue
from tests.app.test_problems import check
from tests.app.toy import picture

__all__ = ["queue"]


def work(core: Core) -> str:
    """What a worker does with the next job, to its end, without DBOS."""
    with core.database.write() as session:
        job = JobService(session).claim("w")
        assert job is not None
        assert JobService(session).begin(job.id, "w")
    doing, error = IngestJob(Hands(core, job.id, "w", threading.Event())), None
    try:
        doing.prepare()
        while doing.advance():
            pass
    except ServiceError as found:
        error = found
    Worker(core, "w")._end(job.id, error)
    return job.id


def limited(core: Core, **limits: int) -> Core:
    """The same service as a worker sees it that was started with other limits."""
    other = Core(core.settings.model_copy(update=limits), core.database, core.store)
    other._active = core.active  # whose threads the fixture ends
    return other


def batch(client: TestClient, folder: Path, *, manifest: bool) -> str:
    """1.jpg is large, 2.jpg a picture, 3.jpg no picture, 4.jpg large again."""
    entries = {f"{n}.jpg": picture(folder / f"{n}.jpg", "red", size=size, shade=n).read_bytes() for n, size in SIZES}
    entries["3.jpg"] = b"no picture"
    if manifest:
        lines = [json.dumps({"file": name, "identity": f"p{name[0]}"}) for name in (*entries, "absent.jpg")]
        entries["manifest.jsonl"] = "\n".join(lines).encode()
    answer = client.post(URL, files={"archive": ("a.zip", zipped(entries))})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


SIZES = ((1, (300, 300)), (2, (30, 60)), (4, (310, 300)))


@pytest.mark.parametrize("manifest", [False, True])
def test_a_batch_is_retried_after_a_limit_was_raised(
    client: TestClient, core: Core, tmp_path: Path, *, manifest: bool
) -> None:
    job_id = batch(client, tmp_path / "made", manifest=manifest)
    assert client.get(f"/v1/jobs/{job_id}").json()["retryable"] is False  # it waits
    narrow = limited(core, max_pixels=50_000)
    assert work(narrow) == job_id
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert (job["state"], job["retryable"], job["counts"]["rejected"]) == ("succeeded", True, 3 + manifest)
    kept = {"1.jpg", "4.jpg", "manifest.jsonl"} if manifest else {"1.jpg", "4.jpg"}
    assert {path.name for path in left(core)} == kept

    again = client.post(f"/v1/jobs/{job_id}/retry").json()
    assert (again["total"], again["retry_of"]) == (2, job_id)
    assert client.get(f"/v1/jobs/{job_id}").json()["retryable"] is False  # the retry is, if it fails
    assert work(narrow) == again["id"]
    assert client.get(f"/v1/jobs/{again['id']}").json()["retryable"] is True

    third = client.post(f"/v1/jobs/{job_id}/retry").json()  # of the first one, whose retry has ended
    assert (third["retry_of"], third["total"]) == (again["id"], 2)
    assert work(core) == third["id"]
    done = client.get(f"/v1/jobs/{third['id']}").json()
    assert (done["counts"]["ingested"], done["retryable"]) == (2, False)
    assert list(core.settings.staging_dir.iterdir()) == []
    items = client.get(f"/v1/jobs/{third['id']}/items").json()["items"]
    assert [(item["name"], item["status"]) for item in items] == [("1.jpg", "ingested"), ("4.jpg", "ingested")]
    assert client.get("/v1/gallery").json()["images"] == 3
    assert client.post(f"/v1/jobs/{job_id}/retry").json()["id"] == third["id"]  # nothing more to do


def test_a_retry_is_one_and_the_same_whoever_asks(client: TestClient, core: Core, tmp_path: Path) -> None:
    with core.database.write() as session:
        CollectionService(session).create("north")
    admin = make(client, "admin")
    secret = admin["Authorization"].removeprefix("Bearer ")
    north = make(client, "ingest", admin=secret, collections=["north"])
    image = picture(tmp_path / "1.jpg", "red", size=(300, 300)).read_bytes()
    sent = {"files": {"files": ("1.jpg", image)}, "params": {"collection": "north"}, "headers": north}
    job_id = client.post(URL, **sent).json()["id"]  # type: ignore[arg-type]
    assert work(limited(core, max_pixels=50_000)) == job_id
    again = client.post(f"/v1/jobs/{job_id}/retry", headers=admin).json()
    assert (again["retry_of"], again["total"]) == (job_id, 1)
    for headers in (admin, north):
        answer = client.post(f"/v1/jobs/{job_id}/retry", headers=headers)
        assert (answer.status_code, answer.json().get("id")) == (202, again["id"]), answer.text
        assert client.get(f"/v1/jobs/{job_id}", headers=headers).json()["retryable"] is False
    assert work(core) == again["id"]
    assert client.get(f"/v1/jobs/{again['id']}", headers=north).json()["counts"]["ingested"] == 1


def test_what_would_be_rejected_again_is_not_kept(client: TestClient, core: Core) -> None:
    answer = client.post(URL, files={"archive": ("a.zip", zipped({"3.jpg": b"no picture"}))})
    job_id = work(core)
    assert job_id == answer.json()["id"]
    assert client.get(f"/v1/jobs/{job_id}").json()["retryable"] is False
    assert list(core.settings.staging_dir.iterdir()) == []
    problem = check(client.post(f"/v1/jobs/{job_id}/retry"), 409, "job_not_retryable")
    assert "correct the files" in problem["detail"]


def test_a_cancelled_batch_keeps_its_files_and_is_retried_whole(client: TestClient, core: Core, tmp_path: Path) -> None:
    job_id = batch(client, tmp_path / "made", manifest=False)
    assert client.post(f"/v1/jobs/{job_id}/cancel").json()["retryable"] is True
    assert len(left(core)) == 4
    client.post(f"/v1/jobs/{job_id}/retry")
    again = work(core)
    assert client.get(f"/v1/jobs/{again}").json()["counts"]["ingested"] == 3
    assert list(core.settings.staging_dir.iterdir()) == []


def test_a_folder_may_change_between_a_job_and_its_retry(
    client: TestClient, core: Core, queue: Queue, tmp_path: Path
) -> None:
    queue()
    (tmp_path / "p" / "8.jpg").touch()
    job_id = work(core)
    picture(tmp_path / "p" / "9.jpg", "blue")
    picture(tmp_path / "p" / "00.jpg", "green")  # moves all others by one
    (tmp_path / "p" / "8.jpg").unlink()
    assert client.get(f"/v1/jobs/{job_id}").json()["retryable"] is True
    client.post(f"/v1/jobs/{job_id}/retry")
    again = work(core)
    items = client.get(f"/v1/jobs/{again}/items").json()["items"]
    assert [(item["name"], item["code"]) for item in items] == [("8.jpg", "file_missing"), ("9.jpg", None)]
