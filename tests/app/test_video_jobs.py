"""Videos into the gallery: over HTTP, as jobs, by the verbs, from a watched folder."""

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app as verbs
from app.core import Core
from app.database.tables import Image, Job
from app.errors import SourceError, VideoStartError
from app.jobs.kinds import Hands
from app.jobs.repository import JobRepository
from app.jobs.service import JobService
from app.main import create_app
from app.settings import Settings
from app.video.kept import Kept, sweep_videos
from app.video.plan import Plan
from app.video.service import plans, queue_video
from app.video.taking import VideoTaking
from app.video.watching import Watcher
from app.video.work import VideoJob
from models.errors import DescryError
from tests.app.test_problems import check
from tests.app.videos import walk_by, write

URL = "/v1/gallery/videos"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", device="cpu", video_piece_s=2.0, video_detector="motion")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people walk by, one after the other, in 10 seconds."""
    return write(tmp_path_factory.mktemp("video") / "20261121_100000.mp4", walk_by(3), seconds=10.0)


def run(core: Core, *, steps: int = 99, worker: str = "w") -> Job:
    """What the worker does with the oldest job, without the worker; at most so many steps of one piece."""
    with core.database.write() as session:
        jobs = JobService(session)
        mine = JobRepository(session).running(worker=worker)
        job = mine[0] if mine else jobs.claim(worker)
        assert job is not None
        assert jobs.begin(job.id, worker)
    try:
        work = VideoJob(Hands(core, job.id, worker, threading.Event()))
        work.prepare()
        for _ in range(steps):
            if not work.advance():
                break
    except DescryError as error:
        with core.database.write() as session:
            JobService(session).finish(JobService(session).find(job.id), "failed", error)
    with core.database.read() as session:
        return JobService(session).find(job.id)


def images(core: Core) -> list[Image]:
    with core.database.read() as session:
        return list(session.scalars(select(Image).order_by(Image.captured_at, Image.id)))


def needed(core: Core, job_id: str) -> list[str] | None:
    """What the worker keeps of the uploaded file when the job has ended; None is all."""
    with core.database.read() as session:
        return JobService(session).needed(JobService(session).find(job_id))


def post(client: TestClient, data: bytes, name: str = "a.mp4", key: str | None = None, **query: str) -> Any:  # noqa: ANN401
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(URL, content=data, params={"name": name, **query}, headers=headers)


def test_a_video_becomes_people_with_time_camera_and_provenance(client: TestClient, core: Core, people: Path) -> None:
    answer = post(client, people.read_bytes(), people.name, camera="gate")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    done = run(core)
    assert (done.state, done.done, done.total) == ("succeeded", 10, 10), done.error_message
    told = client.get(answer.headers["location"]).json()
    assert (told["kind"], told["unit"], told["progress"]["tracks"]) == ("video", "seconds", 3)
    assert told["progress"]["share"] == 1.0
    assert told["progress"]["lost"] == []
    found = images(core)
    assert told["progress"]["ingested"] == len(found) >= 6
    assert len({image.identity_id for image in found}) == len({image.track for image in found}) == 3
    first = found[0]
    assert (first.camera, first.track and first.track[:11]) == ("gate", "2026-11-21/")
    assert first.captured_at is not None
    assert f"{first.captured_at:%Y-%m-%d %H:%M}" == "2026-11-21 10:00"
    assert first.attributes["video"] == people.name
    assert first.captured_at.second + first.captured_at.microsecond / 1e6 == pytest.approx(
        first.attributes["video_time_s"], abs=1e-3
    )
    assert len(first.attributes["video_box"]) == 4
    detail = client.get(f"/v1/identities/{first.identity_id}").json()
    assert (detail["external_id"], detail["provisional"]) == (None, True)
    ends = client.get(f"/v1/identities/{first.identity_id}/timeline").json()
    assert [sighting["camera"] for sighting in ends["sightings"]] == ["gate"]
    # Each person's track is found by what they wear.
    for place, colour in enumerate(("red", "green", "blue")):
        best = client.post("/v1/search/text", json={"query": f"a person in a {colour} coat"}).json()["candidates"][0]
        assert best["identity"]["id"] == found[0].identity_id + place


def test_a_job_that_is_started_again_and_again_ends_as_one_that_was_not(core: Core, people: Path) -> None:
    for collection in ("whole", "pieces"):
        queue_video(core.database, Plan(people, people.name, collection, "gate"))
    assert run(core).state == "succeeded"
    wanted = [(image.sha256, image.track, image.captured_at) for image in images(core)]
    attempts = 0
    import app.video.work as work

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "PIECES_A_STEP", 1)
        while (job := run(core, steps=1)).state == "running":
            attempts += 1
            state = json.loads((core.settings.video_dir / job.id / "state.json").read_text())
            assert state["tally"]["rejected"] == 0
    assert (job.state, attempts) == ("succeeded", 5)
    with core.database.read() as session:
        rows = session.scalars(select(Image).where(Image.collection_id != 1).order_by(Image.captured_at, Image.id))
        by_collection: dict[int, list[Any]] = {}
        for row in rows:
            by_collection.setdefault(row.collection_id, []).append((row.sha256, row.track, row.captured_at))
    first, second = by_collection.values()
    assert first == second == wanted
    assert job.progress is not None
    assert job.progress["ingested"] == len(wanted)
    assert not list(core.settings.video_dir.iterdir())


def test_a_piece_that_was_ingested_before_its_state_was_kept_is_no_duplicate(core: Core, people: Path) -> None:
    queue_video(core.database, Plan(people, people.name, camera="gate"))
    import app.video.kept as kept

    def full(*_: object) -> None:
        raise OSError("killed here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept.Kept, "save", full)
        with pytest.raises(OSError, match="killed here"):
            run(core)
    job = run(core)
    assert job.state == "succeeded"
    assert job.progress is not None
    assert (job.progress["ingested"], job.progress["duplicate"]) == (len(images(core)), 0)
    assert len({image.track for image in images(core)}) == 3


def test_the_same_video_twice_is_duplicates_of_the_same_tracks(core: Core, people: Path) -> None:
    for _ in range(2):
        queue_video(core.database, Plan(people, people.name, camera="gate"))
        job = run(core)
    assert job.progress is not None
    assert (job.progress["ingested"], job.progress["duplicate"]) == (0, len(images(core)))


def test_cancel_stops_within_a_piece_and_a_retry_goes_on(client: TestClient, core: Core, people: Path) -> None:
    job_id = post(client, people.read_bytes(), people.name).json()["id"]
    import app.video.work as work

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "PIECES_A_STEP", 1)
        assert run(core, steps=2).done == 4
        client.post(f"/v1/jobs/{job_id}/cancel")
        cancelled = run(core)
    assert (cancelled.state, cancelled.done) == ("cancelled", 4)
    assert client.get(f"/v1/jobs/{job_id}").json()["retryable"]
    again = client.post(f"/v1/jobs/{job_id}/retry").json()["id"]
    done = run(core)
    assert (done.id, done.state) == (again, "succeeded")
    assert needed(core, again) == []
    assert len({image.track for image in images(core)}) == 3
    assert done.progress is not None
    assert done.progress["frames"] == 50


def test_what_cannot_be_read_fails_its_job_with_a_code(client: TestClient, core: Core, people: Path) -> None:
    data = people.read_bytes()
    for body, code in ((b"no video at all" * 100, "not_a_video"), (data[: data.index(b"moov") - 4], "video_damaged")):
        job_id = post(client, body).json()["id"]
        run(core)
        told = client.get(f"/v1/jobs/{job_id}").json()
        assert (told["state"], told["error"]["code"]) == ("failed", code)
        assert needed(core, job_id) is None  # a retry may come


def test_a_video_that_breaks_off_is_taken_as_far_as_it_goes(core: Core, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", walk_by(3), seconds=10.0, options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.7)])
    queue_video(core.database, Plan(cut, cut.name))
    job = run(core)
    assert (job.state, job.done, job.total) == ("succeeded", 10, 10)
    assert job.progress is not None
    assert job.progress["lost"][-1]["to_s"] == pytest.approx(10.0, abs=0.2)
    with core.database.read() as session:
        lines = [line.message for line in JobRepository(session).lines(job.id)]
    assert any("cannot be decoded" in line for line in lines)
    assert images(core)


def test_the_same_key_is_the_same_job(client: TestClient, core: Core, people: Path) -> None:
    data = people.read_bytes()
    first, again = (post(client, data, key="k", camera="gate") for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    check(post(client, data, key="k", camera="yard"), 409, "idempotency_key_reused")
    check(post(client, data + b"x", key="k", camera="gate"), 409, "idempotency_key_reused")
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1
    assert len([path for path in core.settings.staging_dir.rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"name": "../evil.mp4"}, 422, "batch_entry_refused"),
        ({"name": "a.mp4", "start": "yesterday"}, 422, "video_start_invalid"),
        ({"name": "a.mp4", "collection": "\n"}, 422, "collection_name_invalid"),
        ({"name": "a.mp4", "fps": "0"}, 422, "invalid_request"),
        ({"name": "a.mp4", "camera": "x\0y"}, 422, "manifest_entry_invalid"),
        ({}, 422, "invalid_request"),
    ],
)
def test_requests_that_are_refused_leave_nothing(
    client: TestClient, core: Core, query: dict[str, str], status: int, code: str
) -> None:
    check(client.post(URL, content=b"video", params=query), status, code)
    assert [path for path in core.settings.staging_dir.rglob("*") if path.is_file()] == []
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_empty_and_too_large_bodies_are_refused(core: Core, tmp_path: Path) -> None:
    small = core.settings.model_copy(update={"max_video_bytes": 1000})
    with TestClient(create_app(small), base_url="http://127.0.0.1:8000") as client:
        check(post(client, b""), 422, "video_empty")
        check(post(client, b"x" * 1001), 413, "body_too_large")
        check(client.post(URL, content=iter([b"x" * 600] * 2), params={"name": "a.mp4"}), 413, "body_too_large")
        assert [path for path in small.staging_dir.rglob("*") if path.is_file()] == []


def test_the_verb_takes_files_and_folders_and_names_what_is_wrong(core: Core, people: Path, tmp_path: Path) -> None:
    folder = tmp_path / "footage" / "yard"
    folder.mkdir(parents=True)
    (folder / people.name).write_bytes(people.read_bytes())
    (folder / "broken.mp4").write_text("no video")
    words = ["ingest-video", str(folder.parent), "--data-dir", str(core.settings.data_dir), "--json"]
    done = CliRunner().invoke(verbs, words, env={"DESCRY_VIDEO_DETECTOR": "motion", "DESCRY_DEVICE": "cpu"})
    assert done.exit_code == 0, done.output
    good, bad = sorted(json.loads(done.stdout), key=lambda report: "code" in report)
    assert (bad["video"], bad["code"]) == ("yard/broken.mp4", "not_a_video")
    assert (good["camera"], good["tracks"], good["start_known_by"]) == ("yard", 3, "name")
    assert good["ingested"] == len(images(core))
    strict = CliRunner().invoke(verbs, [*words, "--strict"], env={"DESCRY_DEVICE": "cpu"})
    assert strict.exit_code == 3
    assert not list(core.settings.video_dir.iterdir()) or all(
        not (kept / "state.json").exists() for kept in core.settings.video_dir.iterdir()
    )


def test_one_start_is_for_one_video_and_paths_must_exist(tmp_path: Path, people: Path) -> None:
    from app.video.clock import read_start

    with pytest.raises(VideoStartError):
        list(plans([people, people], Plan(Path(), "", start=read_start("2026-01-01T00:00:00"))))
    with pytest.raises(SourceError):
        list(plans([tmp_path / "absent"], Plan(Path(), "")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError):
        list(plans([tmp_path / "empty"], Plan(Path(), "")))


def test_a_watched_file_is_taken_once_when_it_has_stopped_growing(core: Core, tmp_path: Path) -> None:
    folder, now = tmp_path / "in", [0.0]
    (folder / "gate").mkdir(parents=True)
    growing = folder / "gate" / "a.mp4"

    def watcher() -> Watcher:
        return Watcher(core.database, folder, Plan(Path(), ""), settle_s=10.0, clock=lambda: now[0])

    def look(one: Watcher, at: float) -> int:
        now[0] = at
        return len(list(one.look()))

    one = watcher()
    growing.write_bytes(b"12")
    assert look(one, 0) == 0
    growing.write_bytes(b"1234")
    assert look(one, 8) == look(one, 16) == 0
    assert look(one, 18) == 1
    assert look(one, 40) == 0
    again = watcher()  # another process: the database remembers
    assert look(again, 50) == look(again, 70) == 0
    other = Watcher(core.database, folder, Plan(Path(), "", camera="x"), settle_s=0.0, clock=lambda: now[0])
    assert look(other, 71) == 0
    growing.write_bytes(b"another recording")
    assert look(again, 80) == 0
    assert look(again, 91) == 1
    with core.database.read() as session:
        jobs = JobRepository(session).page(10, None, None)
    assert [job.parameters["camera"] for job in jobs] == ["gate", "gate"]
    with pytest.raises(SourceError):
        Watcher(core.database, tmp_path / "absent", Plan(Path(), ""))


def test_states_that_nobody_needs_are_swept(core: Core) -> None:
    kept = core.settings.model_copy(update={"staging_keep_s": 0.001})
    for name in ("needed", "left"):
        (kept.video_dir / name).mkdir(parents=True)
    threading.Event().wait(0.01)
    sweep_videos(kept, {"needed"})
    assert Counter(path.name for path in kept.video_dir.iterdir()) == {"needed": 1}


def test_crops_are_on_the_disk_only_until_the_gallery_has_them(core: Core, people: Path) -> None:
    """An erasure finds them there, and would not find them here."""
    kept = Kept(core.settings.video_dir / "one")
    taking = VideoTaking(core, Plan(people, people.name, camera="gate"), kept)
    going, pieces = True, 0
    while going:
        going = taking.run(lambda: True, lambda *_: None)
        pieces += 1
        assert not list(core.settings.video_dir.rglob("*.jpg"))
    taking.close()
    assert pieces > 2
    assert taking.tally.ingested == len(images(core)) > 0


def test_crops_of_a_killed_worker_are_swept_before_the_state(core: Core) -> None:
    for name in ("open", "old", "new", "here-verb"):
        (Kept(core.settings.video_dir / name).crops / "1.jpg").write_bytes(b"x")
        if name != "new":
            os.utime(core.settings.video_dir / name, (time.time() - 3600,) * 2)
    sweep_videos(core.settings, {"open"})
    left = {path.parent.parent.name for path in core.settings.video_dir.rglob("*.jpg")}
    assert left == {"open", "new", "here-verb"}
    assert len(list(core.settings.video_dir.iterdir())) == 4
