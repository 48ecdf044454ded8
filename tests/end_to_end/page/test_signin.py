"""The page where a key is needed: it asks for one, says what is wrong with it, and goes on."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from app.access.schemas import NewKey
from app.access.service import KeyService
from app.core import opened
from app.jobs.repository import JobRepository
from app.jobs.service import JobService
from app.settings import Settings
from tests.end_to_end.page.conftest import QUERY, Visiting, picture_of, with_demo_model
from tests.served import serving
from tests.waiting import until

CUT_STREAMS = """() => {
  const whole = window.fetch;
  window.cut = true;
  window.fetch = (path, options) =>
    window.cut && path.endsWith("/events") ? Promise.reject(new TypeError("cut")) : whole(path, options);
}"""


@pytest.fixture(scope="module")
def locked(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server with a key for searching, and the key."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("locked"), device="cpu")
    with_demo_model(settings, people)
    with opened(settings) as core, core.database.write() as session:
        key = KeyService(session).create(NewKey(name="desk", scopes=["search"])).key
    with serving(settings) as address:
        yield address, key


def test_the_page_asks_for_a_key_and_goes_on(visits: Visiting, locked: tuple[str, str]) -> None:
    address, key = locked
    with visits(address) as visit:
        page = visit.page
        page.goto(address)
        dialog = page.get_by_role("dialog", name="A key is needed")
        expect(dialog).to_be_visible()
        visit.check_accessible()
        field = dialog.get_by_label("Key")
        for wrong in ("nonsense", "descry_00000000_" + "a" * 43):
            field.fill(wrong)
            page.keyboard.press("Enter")
            expect(dialog.get_by_role("alert")).not_to_be_empty()
        field.fill(f"  {key} ")
        page.keyboard.press("Enter")
        expect(dialog).to_have_count(0)
        page.get_by_label("Purpose or case").fill("case 17")
        visit.search(QUERY)
        expect(visit.cards.first).to_be_visible()
        picture = visit.cards.first.locator("img").first
        expect(picture).to_be_visible()
        assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0  # by the cookie
        assert page.evaluate("document.cookie") == ""  # scripts cannot read it
        assert key not in page.content()
        page.reload()
        expect(visit.cards.first).to_be_visible()
        assert all(key not in url for url in visit.requested)


def test_an_upload_and_a_stream_ask_for_the_key_themselves(
    visits: Visiting, tmp_path_factory: pytest.TempPathFactory, people: Path
) -> None:
    settings = Settings(data_dir=tmp_path_factory.mktemp("locked-later"), device="cpu")
    with_demo_model(settings)
    with serving(settings) as address, visits(address) as visit:
        page = visit.page
        visit.go("/?view=gallery")
        expect(page.get_by_role("heading", name="No images yet")).to_be_visible()
        with opened(settings) as core, core.database.write() as session:
            key = KeyService(session).create(NewKey(name="desk", scopes=["ingest", "search"])).key
        until(lambda: httpx.get(f"{address}/v1/session", timeout=60).status_code == 401, "open access ends")
        page.evaluate(CUT_STREAMS)
        page.locator("#upload-files").set_input_files(picture_of(people, 5))
        sign_in(page, key)
        card = page.get_by_role("article", name="1 file into default")
        expect(card.get_by_text("trying again")).to_be_visible()
        page.context.clear_cookies()
        page.evaluate("() => { window.cut = false; }")
        sign_in(page, key)
        with opened(settings) as core, core.database.write() as session:
            (job,) = JobRepository(session).open()
            JobService(session).cancel(job.id)
        expect(card.locator(".state")).to_have_text("cancelled")  # as the stream says


def sign_in(page: Page, key: str) -> None:
    dialog = page.get_by_role("dialog", name="A key is needed")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
