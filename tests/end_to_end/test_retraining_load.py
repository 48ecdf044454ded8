"""Sixteen clients search two replicas all the time while pictures come in, a retraining trains on them, the gate
accepts its candidate, the candidate answers and is rolled back. None of their requests fails, and each answer is of
exactly one version.
"""

import json
import shutil
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx

from app.commands.models import activate_version
from app.core import opened
from app.gallery.repository import ImageRepository
from app.gallery.sources import open_source
from app.settings import Settings
from app.vectors.repository import LogRepository
from tests.app.test_retraining_gallery import POLICY, QUICK, register_random, write_people
from tests.end_to_end.test_activation_load import state
from tests.end_to_end.violence.crowd import Crowd, check_scores
from tests.end_to_end.violence.stack import Stack
from tests.waiting import LIMIT_S, until

IMAGES, FIRST = 192, 132
"""Of 64 people, and of those who are there before."""
CONFIRMED = "somebody in a blue and green outfit"
QUERIES = ("a person in a red shirt", "blue", "a person, green and white")
PAUSE_S, LONG_S = 0.25, 400.0
"""A client's pause after an answer: without one sixteen of them leave nothing for a training to run on. And the longest
wait for the retraining, far above what a busy machine needs."""


def split_people(folder: Path) -> tuple[Path, Path]:
    """The pictures that are there before, as a folder, and the others, as an archive; both with their manifest."""
    before = write_people(folder / "before")
    lines = (before / "manifest.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == IMAGES
    (before / "manifest.jsonl").write_text("".join(lines[:FIRST]))
    others = folder / "others"
    others.mkdir()
    for line in lines[FIRST:]:
        shutil.move(before / json.loads(line)["file"], others)
    (others / "manifest.jsonl").write_text("".join(lines[FIRST:]))
    return before, Path(shutil.make_archive(str(others), "zip", others))


def prepare(settings: Settings, folder: Path) -> Path:
    """A gallery under a model with random weights; returns what is to come in later."""
    before, others = split_people(folder)
    with opened(settings) as core:
        activate_version(core, register_random(core, folder / "random"))
        assert len(list(core.ingest().run(open_source(before)))) == FIRST
    return others


def test_ingest_retraining_gate_activation_and_rollback_under_load(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", device="cpu", ingest_chunk=16)
    others = prepare(settings, tmp_path)
    limits = {"DESCRY_WORKER_NICENESS": "0", "DESCRY_INGEST_CHUNK": "16", "DESCRY_TRAINING_THREADS": "1"}
    stack = Stack(settings.data_dir, servers=2, separate=True, extra=limits)
    with stack.running():
        with (
            httpx.Client(base_url=stack.url(), timeout=LIMIT_S) as admin,
            Crowd(stack, QUERIES, PAUSE_S) as crowd,
        ):
            until(lambda: all(crowd.heard), "every client has an answer")
            archive = ("others.zip", others.read_bytes())
            wait(crowd, admin, admin.post("/v1/gallery/batches", files={"archive": archive}))
            confirm(admin)
            asked = {"set": QUICK, "device": "cpu", "policy": POLICY, "activate": "auto", "feedback": True}
            assert pairs(admin, asked) > pairs(admin, {**asked, "feedback": False})
            retrained = wait(crowd, admin, admin.post("/v1/admin/retraining-jobs", json=asked, timeout=LONG_S))
            told = retrained["progress"]
            assert told["accepted"], told
            version = admin.get(f"/v1/models/{told['version']}").json()
            until(lambda: state(admin, told["activation"]) == "succeeded", "the gallery is encoded", LONG_S)
            crowd.follow(version["id"])
            back = admin.post(f"/v1/models/{version['id']}/rollback")
            rolled_back = time.monotonic()
            assert (back.status_code, back.json()["id"], back.json()["status"]) == (200, 1, "active")
            crowd.follow(1, asked_after=rolled_back)
        stack.stop()
    assert crowd.failures == []
    assert "Traceback" not in stack.logs
    assert (version["parent_id"], version["job_id"]) == (1, retrained["id"])
    assert version["gate"]["sets"][0]["R@1"]["low"] > 0
    check(settings, crowd, version["id"], rolled_back)


def confirm(admin: httpx.Client) -> None:
    """Somebody says of the first candidates of a query that they are right: its words become training pairs."""
    found = admin.post("/v1/search/text", json={"query": CONFIRMED, "limit": 5}).raise_for_status().json()
    verdicts = [{"identity_id": one["identity"]["id"], "verdict": "confirm"} for one in found["candidates"]]
    admin.post(f"/v1/queries/{found['query_id']}/feedback", json=verdicts).raise_for_status()


def pairs(admin: httpx.Client, asked: dict[str, Any]) -> int:
    """How many pairs a retraining would be trained on."""
    plan = admin.post("/v1/admin/retraining-jobs", json={**asked, "dry_run": True}, timeout=LONG_S)
    return int(plan.raise_for_status().json()["pairs"])


def wait(crowd: Crowd, admin: httpx.Client, queued: httpx.Response) -> dict[str, Any]:
    """A job that was asked for, once it has succeeded."""
    assert queued.status_code == 202, queued.text
    job_id = str(queued.json()["id"])
    until(lambda: bool(crowd.failures) or state(admin, job_id) == "succeeded", "the job succeeds", LONG_S)
    assert crowd.failures == []
    found: dict[str, Any] = admin.get(f"/v1/jobs/{job_id}").json()
    return found


def check(settings: Settings, crowd: Crowd, version: int, rolled_back: float) -> None:
    """What was heard, and what is stored."""
    with opened(settings) as core:
        with core.database.read() as session:
            assert ImageRepository(session).count() == IMAGES
            assert [LogRepository(session).count(one, "text") for one in (1, version)] == [IMAGES, IMAGES]
        check_scores(core, crowd, (1, version))
    for heard in crowd.heard:
        assert [number for number, _ in groupby(one.version for one in heard)] == [1, version, 1]  # and no way back
        # The version before is in the memory of every replica: none asks the one that was rolled back once more.
        assert {one.version for one in heard if one.began > rolled_back} == {1}
