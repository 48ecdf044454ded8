"""Uploads, jobs, models and retraining in a real browser, with a real worker."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Route, expect

from app.commands.models import activate_version
from app.core import opened
from app.database.sessions import Database
from app.gallery.sources import open_source
from app.jobs.companion import companion
from app.jobs.order import superseded
from app.jobs.service import JobService
from app.settings import Settings
from tests.app.test_retraining_gallery import POLICY, QUICK, register_random, write_people
from tests.end_to_end.page.conftest import HOSTILE, Visit, Visiting, picture_of, with_demo_model
from tests.served import serving

DROP_FILES = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files) {
    transfer.items.add(new File([Uint8Array.from(atob(data), (char) => char.charCodeAt(0))], name));
  }
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""
LONG_MS = 300_000
"""Far above what a worker needs on a machine that has other work."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("work-data"), device="cpu", training_threads=1)


@pytest.fixture(scope="module")
def gallery(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Described people under a model of random weights, from which a retraining gains; and the shipped version."""
    folder = tmp_path_factory.mktemp("work-people")
    with_demo_model(settings)
    with opened(settings) as core:
        activate_version(core, register_random(core, folder / "random"))
        assert len(list(core.ingest().run(open_source(write_people(folder / "people"))))) == 192


@pytest.fixture(scope="module")
def server(settings: Settings, gallery: None) -> Iterator[str]:
    with serving(settings) as address, companion(settings):
        yield address


@pytest.fixture
def visit(visits: Visiting, server: str) -> Iterator[Visit]:
    with visits(server) as found:
        yield found


def test_upload_says_what_was_refused_and_what_was_there(visit: Visit, people: Path, tmp_path: Path) -> None:
    folder = tmp_path / "batch"
    folder.mkdir()
    for number in (11, 12):
        shutil.copy(picture_of(people, number), folder / f"{number}.jpg")
    shutil.copy(folder / "11.jpg", folder / "again.jpg")
    (folder / "letter.jpg").write_text("this is no picture")
    (folder / f"{HOSTILE.replace('/', '')}.jpg").write_bytes(b"")
    visit.go("/?view=gallery")
    visit.page.get_by_label("Into the collection").fill("north")
    visit.page.locator("#upload-files").set_input_files(sorted(folder.iterdir()))
    card = visit.page.get_by_role("article", name="5 files into north")
    expect(card.locator(".state")).to_have_text("done", timeout=LONG_MS)
    counts = card.locator(".counts div")
    expect(counts).to_have_text(["Taken in2", "Duplicates1", "Refused2", "Waiting0"])
    expect(card.get_by_text("1 file was in the collection already")).to_be_visible()
    refused = card.get_by_role("region", name="Files that were refused")
    expect(refused.locator("tbody tr")).to_have_count(2)
    expect(refused.get_by_role("row", name="letter.jpg")).to_contain_text("not_an_image")
    expect(refused).to_contain_text("<img src=x")
    expect(visit.page.get_by_role("region", name="Collections").get_by_text("north")).to_be_visible()
    expect(visit.page.locator("#gallery")).to_contain_text("194 images")
    visit.check_accessible()
    visit.page.get_by_role("link", name="Search in north").click()
    expect(visit.page.get_by_role("button", name="Filters (1)")).to_be_visible()


def test_dropped_archive_and_what_cannot_be_a_batch(visit: Visit, people: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    shutil.copy(picture_of(people, 13), tmp_path / "a" / "13.jpg")
    archive = Path(shutil.make_archive(str(tmp_path / "pictures"), "zip", tmp_path / "a"))
    packed = [archive.name, base64.b64encode(archive.read_bytes()).decode()]
    visit.go("/?view=gallery")
    expect(visit.page.locator("#upload-drop")).to_be_visible()
    visit.page.evaluate(DROP_FILES, [packed, ["b.jpg", ""]])
    expect(visit.page.get_by_role("alert")).to_contain_text("An archive is uploaded alone")
    visit.page.evaluate(DROP_FILES, [packed])
    card = visit.page.get_by_role("article", name="pictures.zip into default")
    expect(card.locator(".state")).to_have_text("done", timeout=LONG_MS)
    expect(card.locator(".counts .ingested")).to_contain_text("1")
    visit.page.evaluate(DROP_FILES, [["broken.zip", base64.b64encode(b"PK\x03\x04 no archive").decode()]])
    expect(visit.page.get_by_role("alert")).to_contain_text("archive")


def test_jobs_are_listed_cancelled_and_tried_again(visit: Visit, settings: Settings) -> None:
    database = Database(settings.database)
    with database.write() as session:
        job_id = JobService(session).create("retraining", {"recipe": "compact-synthetic", "device": "cpu"}).id
    database.close()
    visit.go("/?view=jobs")
    row = visit.page.locator(".row", has_text="Retraining").first
    row.get_by_role("link").click()
    card = visit.page.get_by_role("article", name="Retraining")
    expect(card.locator(".state")).to_have_text(re.compile("running|waits for a worker"))
    card.get_by_role("button", name="Cancel").click()
    expect(card.locator(".state")).to_have_text("cancelled", timeout=LONG_MS)
    visit.check_accessible()
    card.get_by_role("button", name="Try again what is left").click()
    visit.page.wait_for_url(lambda url: job_id not in url)
    expect(card.locator(".state")).to_have_text(re.compile("running|waits for a worker"))
    late: list[tuple[Route, APIResponse]] = []
    visit.page.route("**/v1/jobs/*/cancel", lambda route: late.append((route, route.fetch())))
    card.get_by_role("button", name="Cancel").click()
    expect(card.locator(".state")).to_have_text("cancelled", timeout=LONG_MS)
    while not late:  # the page may hear of the end before this test has the answer
        visit.page.wait_for_timeout(10)
    for route, answer in late:  # the end has been told by then
        route.fulfill(response=answer)
    visit.wait_for_answers()
    expect(card.locator(".state")).to_have_text("cancelled")
    visit.page.get_by_role("link", name="← All jobs").click()
    visit.page.get_by_role("link", name="Cancelled").click()
    expect(visit.page.locator(".row")).to_have_count(2)
    visit.page.get_by_role("link", name="Failed").click()
    expect(visit.page.get_by_role("heading", name="No such job")).to_be_visible()
    visit.go("/?view=jobs&job=nobody")
    expect(visit.page.get_by_role("alert")).to_be_visible()


def test_an_activation_that_was_overtaken_says_by_what(visit: Visit, settings: Settings) -> None:
    database = Database(settings.database)
    with database.write() as session:
        jobs = JobService(session)
        jobs.finish(jobs.activation(1), "superseded", superseded(1, {"version": 2}))
    database.close()
    visit.go("/?view=jobs&state=superseded")
    expect(visit.page.locator(".row .state")).to_have_text("superseded")
    visit.page.locator(".row").get_by_role("link").click()
    outcome = visit.page.locator(".outcome.warn")
    expect(outcome).to_contain_text("Another version was chosen: Model version 1 is encoded and ready")
    expect(outcome.locator("code")).to_have_text("activation_superseded")
    expect(visit.page.get_by_role("button", name="Try again what is left")).to_have_count(0)
    visit.check_accessible()


def test_a_retraining_is_watched_refused_activated_and_taken_back(visit: Visit, server: str) -> None:
    visit.go("/?view=models")
    expect(visit.page.get_by_role("article", name="Model version random")).to_contain_text("answers now")
    visit.page.get_by_label("Name of the candidate").fill("better")
    visit.page.get_by_label("Epochs").fill("2")
    visit.page.route("**/v1/admin/retraining-jobs", quickened)
    visit.page.get_by_role("button", name="Start the retraining").click()
    card = visit.page.get_by_role("article", name="Retraining")
    expect(card.locator(".state")).to_have_text("done", timeout=2 * LONG_MS)
    expect(card.get_by_text("The gate refused the candidate.")).to_be_visible()
    expect(card.locator(".outcome")).to_contain_text("no gain beyond doubt")
    loss, quality = card.locator(".curve").all()
    expect(loss.get_by_role("img", name=re.compile(r"^Loss, up to step \d+; now "))).to_be_visible()
    expect(quality.get_by_role("img", name=re.compile("R@1"))).to_be_visible()
    assert quality.locator("circle").count() >= 2
    better = visit.page.get_by_role("article", name="Model version better")
    expect(better.get_by_role("region", name="What the gate measured").locator("tbody tr")).to_have_count(1)
    visit.check_accessible()
    better.get_by_role("button", name="Activate").click()
    asked = visit.page.get_by_role("dialog", name="although the gate did not accept it")
    asked.get_by_role("button", name="Activate it").click()
    expect(better).to_contain_text("answers now", timeout=LONG_MS)
    expect(visit.page.locator("#gallery")).to_contain_text("model better")
    better.get_by_role("button", name="Roll back to random").click()
    expect(visit.page.get_by_role("article", name="Model version random")).to_contain_text("answers now")
    expect(visit.page.locator("#gallery")).to_contain_text("model random")
    visit.page.get_by_label("Name of the candidate").fill("better still")
    visit.page.get_by_role("button", name="Check and estimate").click()
    expect(visit.page.locator(".plan")).to_contain_text("Described images", timeout=LONG_MS)
    visit.page.reload()
    visit.page.get_by_role("link", name="Its retraining").click()
    expect(visit.page.locator(".curve")).to_have_count(2)  # whoever comes later sees the whole course


def quickened(route: Route) -> None:
    """What the page asks for, with a recipe for a tiny network and a gate that nothing passes."""
    asked = json.loads(route.request.post_data or "")
    quick = [one for one in QUICK if not one.startswith(("schedule.epochs", "evaluate_every"))]
    asked |= {"set": [*quick, *asked["set"], "evaluate_every=1"], "device": "cpu"}
    # More than anybody can gain: whatever two epochs give, the gate refuses it.
    asked["policy"] = {**POLICY, "gain": 100.0}
    route.continue_(post_data=json.dumps(asked))
