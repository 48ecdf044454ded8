"""A video job with a real worker that is killed in the middle: the same tracks and crops as without."""

import signal
from pathlib import Path

import pytest
from sqlalchemy import select

from app.database.tables import Image
from app.jobs.repository import FINAL
from app.video.plan import Plan
from app.video.service import queue_video
from tests.app.videos import walk_by, write
from tests.end_to_end.test_jobs_process import Jobs, working
from tests.end_to_end.test_service_process import checkpoint, data

__all__ = ["checkpoint", "data"]
SECONDS, PEOPLE = 24, 8


def crops(jobs: Jobs, collection: int) -> list[tuple[str, str | None]]:
    with jobs.database.read() as session:
        rows = session.scalars(select(Image).where(Image.collection_id == collection).order_by(Image.captured_at))
        return [(row.sha256, row.track) for row in rows]


def test_a_killed_worker_goes_on_with_the_same_people(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESCRY_VIDEO_DETECTOR", "motion")
    monkeypatch.setenv("DESCRY_VIDEO_PIECE_S", "2")
    jobs = Jobs(data)
    video = write(tmp_path / "20261121_100000.mp4", walk_by(PEOPLE), seconds=SECONDS, size=(320, 240))
    killed, whole = (queue_video(jobs.database, Plan(video, video.name, name, "gate"))[0].id for name in ("a", "b"))
    with working(data, "one") as process:
        jobs.until(killed, lambda job: job.done > 0)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    job = jobs.get(killed)
    assert job.state == "running"
    assert 0 < job.done < SECONDS
    with working(data, "one"):
        ended = jobs.until(killed, lambda job: job.state in FINAL)
        assert jobs.until(whole, lambda job: job.state in FINAL).state == "succeeded"
    assert (ended.state, ended.done) == ("succeeded", SECONDS)
    assert "goes on with one" in jobs.log(killed)
    first, second = crops(jobs, 2), crops(jobs, 3)
    assert first == second
    assert len({track for _, track in first}) == PEOPLE
    assert ended.progress is not None
    assert ended.progress["ingested"] == len(first)
    jobs.database.close()
