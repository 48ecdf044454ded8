"""A video in a real browser: it is asked for camera and time, uploaded, looked at while it is watched, and searched."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, expect

from app.jobs.companion import companion
from app.settings import Settings
from tests.app.videos import walk_by, write
from tests.end_to_end.page.conftest import HOSTILE, Visit, Visiting, with_demo_model
from tests.end_to_end.page.test_work import DROP_FILES, LONG_MS
from tests.served import serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("video-data"), device="cpu", video_piece_s=2.0, video_detector="motion"
    )
    with_demo_model(settings)
    with serving(settings) as address, companion(settings):
        yield address


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people in 10 seconds; the same, broken off; nobody; a letter that is called a video."""
    folder = tmp_path_factory.mktemp("videos")
    whole = write(folder / "hall.mp4", walk_by(3), seconds=10.0)
    broken = write(folder / "broken.mkv", walk_by(2), seconds=8.0)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    write(folder / "empty.mp4", seconds=3.0)
    (folder / "letter.mp4").write_text("this is no video")
    assert whole.stat().st_size > 0
    return folder


@pytest.fixture
def visit(visits: Visiting, server: str) -> Iterator[Visit]:
    with visits(server) as found:
        found.go("/?view=gallery")
        yield found


def chosen(visit: Visit, video: Path, collection: str, camera: str = "", start: str = "") -> Locator:
    """The form for a video, filled in."""
    visit.page.get_by_label("Into the collection").fill(collection)
    visit.page.locator("#upload-files").set_input_files(video)
    form = visit.page.get_by_role("form", name=f"Video {video.name}")
    expect(form.get_by_label("Camera")).to_be_focused()
    form.get_by_label("Camera").fill(camera)
    form.get_by_label("Time of the first frame").fill(start)
    return form


def test_a_video_is_uploaded_watched_and_searched(visit: Visit, videos: Path, server: str) -> None:
    form = chosen(visit, videos / "hall.mp4", "hall", f" {HOSTILE}", "2026-11-21T11:00:00")
    visit.check_accessible()
    form.get_by_role("button", name="Upload the video").click()
    card = visit.page.get_by_role("article", name="hall.mp4 into hall")
    expect(form).to_have_count(0)
    expect(card.locator(".state")).to_have_text("done", timeout=LONG_MS)
    expect(card.locator(".counts .tracks dd")).to_have_text("3")
    expect(card.locator(".counts .frames dd")).to_have_text("50")
    crops = int(card.locator(".counts .ingested dd").inner_text())
    assert 3 <= crops <= 12
    expect(card).to_contain_text("10 of 10 ")
    visit.check_accessible()
    expect(visit.page.get_by_role("region", name="Collections")).to_contain_text(f"{crops} images")
    seen = httpx.post(f"{server}/v1/search/text", json={"query": "red", "collection": "hall"}, timeout=60).json()
    images = [image for one in seen["candidates"] for image in one["images"]]
    assert {image["camera"] for image in images} == {HOSTILE}
    # The browser's clock is Berlin's.
    assert {image["captured_at"][:13] for image in images} == {"2026-11-21T10"}
    visit.page.get_by_role("link", name="Search in hall").click()
    visit.search("a person in red")
    expect(visit.cards.first).to_be_visible()
    visit.page.get_by_role("link", name="Jobs").click()
    visit.page.get_by_role("link", name="Taking in a video").first.click()
    expect(visit.page.locator(".counts .tracks dd")).to_have_text("3")  # whoever comes later sees it as well


def test_progress_is_shown_while_it_is_looked_at(visit: Visit, videos: Path) -> None:
    visit.page.evaluate(
        """() => {
          window.told = [];
          new MutationObserver(() => {
            const found = document.querySelector(".job .frames dd");
            if (found) told.push(found.textContent);
          }).observe(document.body, { childList: true, subtree: true });
        }"""
    )
    chosen(visit, videos / "hall.mp4", "again", "2").get_by_role("button", name="Upload the video").click()
    card = visit.page.get_by_role("article", name="hall.mp4 into again")
    expect(card.locator(".state")).to_have_text("done", timeout=LONG_MS)
    told = visit.page.evaluate("told")
    assert told[-1] == "50"
    assert sorted(int(one) for one in told) == [int(one) for one in told]


def test_what_cannot_be_read_is_said(visit: Visit, videos: Path) -> None:
    chosen(visit, videos / "letter.mp4", "bad").get_by_role("button", name="Upload the video").click()
    card = visit.page.get_by_role("article", name="letter.mp4 into bad")
    expect(card.locator(".state")).to_have_text("failed", timeout=LONG_MS)
    expect(card.locator(".outcome.bad code")).to_have_text("not_a_video")
    chosen(visit, videos / "broken.mkv", "bad").get_by_role("button", name="Upload the video").click()
    card = visit.page.get_by_role("article", name="broken.mkv into bad")
    expect(card.locator(".state")).to_have_text("done", timeout=LONG_MS)
    expect(card.locator(".outcome.warn")).to_contain_text(re.compile(r"1 part of the video cannot be decoded.*0:08\.0"))
    visit.check_accessible()
    chosen(visit, videos / "empty.mp4", "bad").get_by_role("button", name="Upload the video").click()
    card = visit.page.get_by_role("article", name="empty.mp4 into bad")
    expect(card.locator(".state")).to_have_text("done", timeout=LONG_MS)
    expect(card).to_contain_text("Nobody was found")


def test_what_is_refused_at_once_and_what_is_put_away(visit: Visit, videos: Path) -> None:
    form = chosen(visit, videos / "hall.mp4", "north/\u0000", "x")
    form.get_by_role("button", name="Upload the video").click()
    expect(visit.page.get_by_role("alert")).to_contain_text("collection")
    packed = [["a.mp4", base64.b64encode(b"1").decode()], ["b.mp4", base64.b64encode(b"2").decode()]]
    visit.page.evaluate(DROP_FILES, packed)
    expect(visit.page.get_by_role("alert").last).to_be_visible()
    expect(visit.page.get_by_text("Videos are uploaded one by one")).to_be_visible()
    form = chosen(visit, videos / "hall.mp4", "hall")
    form.get_by_role("button", name="Not this video").click()
    expect(form).to_have_count(0)
    assert len([url for url in visit.requested if "/v1/gallery/videos" in url]) == 1
