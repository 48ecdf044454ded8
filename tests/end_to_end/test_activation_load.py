"""Sixteen clients search two replicas all the time while the gallery grows, shrinks, is encoded for another model
version, switched to it and rolled back: no request fails, and each answer is of exactly one version."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import httpx
import pytest
import torch

from app.commands.models import activate_version, register_checkpoint
from app.core import Core, opened
from app.gallery.repository import ImageRepository
from app.gallery.sources import open_source
from app.settings import Settings
from app.vectors.repository import LogRepository
from models.checkpoint import load_checkpoint, save_checkpoint
from tests.contract import postgres
from tests.end_to_end.test_service_process import checkpoint, pictures
from tests.end_to_end.violence.crowd import Crowd, check_scores
from tests.end_to_end.violence.stack import Stack
from tests.waiting import LIMIT_S, until

__all__ = ["checkpoint"]
IMAGES, MORE = 96, 16
QUERIES = ("a person in a red coat", "green", "a blue person", "red and green coat")


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    plain = Settings(data_dir=tmp_path / "data", device="cpu", ingest_chunk=16)
    if request.param == "sqlite":
        yield plain
        return
    with postgres.server() as server, postgres.fresh_database(server) as url:
        yield plain.model_copy(update={"database_url": url})


def perturbed(source: Path, folder: Path) -> Path:
    """The same checkpoint with slightly other weights, as a short training leaves them."""
    encoder = load_checkpoint(source)
    random = torch.Generator().manual_seed(1)
    for parameter in encoder.parameters():
        parameter.mul_(1 + 0.1 * torch.randn(parameter.shape, generator=random))  # what pads stays zero
    save_checkpoint(encoder, folder, card="# perturbed\n")
    return folder


def prepare(settings: Settings, checkpoint: Path, folder: Path) -> int:
    with opened(settings) as core:
        activate_version(core, register_checkpoint(core, checkpoint, "first").id)
        assert len(list(core.ingest().run(open_source(pictures(folder / "first", IMAGES))))) == IMAGES
        return register_checkpoint(core, perturbed(checkpoint, folder / "other"), "second").id


def test_activation_and_rollback_under_load(settings: Settings, checkpoint: Path, tmp_path: Path) -> None:
    second = prepare(settings, checkpoint, tmp_path)
    extra = {
        "DESCRY_DATABASE_URL": settings.database_url,
        "DESCRY_WORKER_NICENESS": "0",
        "DESCRY_INGEST_CHUNK": "16",
    }
    stack = Stack(settings.data_dir, servers=2, separate=True, extra=extra)
    with stack.running():
        with httpx.Client(base_url=stack.url(), timeout=LIMIT_S) as admin, Crowd(stack, QUERIES) as crowd:
            until(lambda: all(crowd.heard), "every client has an answer")
            queued = admin.post(f"/v1/models/{second}/activate")
            assert queued.status_code == 202
            batch = upload(admin, pictures(tmp_path / "more", MORE, first=IMAGES))
            for image in (3, IMAGES):  # one that comes early in the encoding, one that comes late
                assert admin.delete(f"/v1/images/{image}").status_code == 204
                crowd.gone.add(image)
            until(lambda: state(admin, batch) == "succeeded", "the pictures are taken in")
            until(lambda: state(admin, queued.json()["id"]) == "succeeded", "the gallery is encoded")
            crowd.follow(second)
            back = admin.post(f"/v1/models/{second}/rollback")
            assert (back.status_code, back.json()["status"]) == (200, "active")
            crowd.follow(1)
        stack.stop()
    assert crowd.failures == []
    assert "Traceback" not in stack.logs
    with opened(settings) as core:
        check(core, crowd, second)


def upload(admin: httpx.Client, folder: Path) -> str:
    files = [("files", (path.name, path.read_bytes())) for path in sorted(folder.iterdir())]
    sent = admin.post("/v1/gallery/batches", files=files)
    assert sent.status_code == 202, sent.text
    return str(sent.json()["id"])


def state(admin: httpx.Client, job_id: str) -> str:
    job = admin.get(f"/v1/jobs/{job_id}").json()
    assert job["state"] not in ("failed", "cancelled"), job
    return str(job["state"])


def check(core: Core, crowd: Crowd, second: int) -> None:
    """Every answer against the vectors of the version that it names."""
    with core.database.read() as session:
        images = ImageRepository(session).count()
        assert images == IMAGES + MORE - 2
        assert [LogRepository(session).count(version, "text") for version in (1, second)] == [images, images]
    check_scores(core, crowd, (1, second))
    for heard in crowd.heard:
        assert [version for version, _ in groupby(one.version for one in heard)] == [1, second, 1]  # and no way back
