"""The page where a search must say what it is for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from app.access.schemas import NewKey
from app.access.service import KeyService
from app.core import opened
from app.gallery.sources import open_source
from app.settings import Settings
from tests.end_to_end.page.conftest import QUERY, Visit, Visiting, expect_title, picture_of, with_demo_model
from tests.served import serving

SAY = "Say what the search is for, such as a case."


@pytest.fixture(scope="module")
def locked(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server with a key for searching, and the key; within the collection `door` nobody need say what for."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("purpose"), device="cpu", purpose_free_collections=("door",))
    with_demo_model(settings, people)
    with opened(settings) as core:
        for outcome in core.ingest("door").run(open_source(picture_of(people, 4))):
            assert outcome.image_id is not None
        with core.database.write() as session:
            key = KeyService(session).create(NewKey(name="desk", scopes=["search"])).key
    with serving(settings) as address:
        yield address, key


def signed_in(visit: Visit, key: str) -> None:
    visit.page.goto(visit.server)
    visit.page.get_by_role("dialog", name="A key is needed").get_by_label("Key").fill(key)
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("dialog")).to_have_count(0)


def searches(visit: Visit) -> list[str]:
    return [url for url in visit.requested if "/v1/search/" in url]


def test_the_form_asks_for_a_purpose_and_the_address_keeps_it(visits: Visiting, locked: tuple[str, str]) -> None:
    address, key = locked
    with visits(address) as visit:
        signed_in(visit, key)
        page = visit.page
        purpose, note = page.get_by_label("Purpose or case"), page.locator("#purpose-note")
        expect(purpose).to_have_js_property("required", True)
        expect(page.get_by_role("textbox", name="Purpose or case (required)")).to_be_visible()
        visit.search(QUERY)
        expect(purpose).to_be_focused()
        expect(purpose).to_have_attribute("aria-invalid", "true")
        expect(note).to_have_text(SAY)
        visit.check_accessible()
        assert searches(visit) == []  # the form itself refused
        purpose.fill("case 17")
        expect(note).to_be_empty()
        expect(purpose).not_to_have_attribute("aria-invalid", "true")
        page.keyboard.press("Enter")
        expect_title(visit, QUERY)
        assert page.url.endswith("purpose=case+17")
        page.reload()
        expect(visit.cards.first).to_be_visible()
        expect(purpose).to_have_value("case 17")
        page.get_by_role("link", name="Search", exact=True).click()
        expect(page.get_by_label("Describe the person")).to_have_value("")
        expect(purpose).to_have_value("case 17")  # the next search of the case need not say it again
        visit.search("black trousers")
        expect_title(visit, "black trousers")
        page.goto(address)
        expect(page.get_by_label("Describe the person")).to_be_visible()
        expect(purpose).to_have_value("")  # a new visit begins without


def test_an_address_without_a_purpose_is_refused_by_the_server(visits: Visiting, locked: tuple[str, str]) -> None:
    address, key = locked
    with visits(address) as visit:
        signed_in(visit, key)
        page = visit.page
        visit.go("/?q=black+trousers")
        expect(page.get_by_role("alert").filter(has_text="A purpose is needed")).to_contain_text("Write above what")
        expect(page.get_by_text("PATCH")).to_have_count(0)  # that is for those who write requests
        expect(page.get_by_label("Purpose or case")).to_be_focused()
        expect(page.locator("#purpose-note")).to_have_text(SAY)
        page.get_by_label("Purpose or case").fill("case 17")
        page.keyboard.press("Enter")
        expect_title(visit, "black trousers")
        visit.go("/?q=black+trousers&collection=door")
        expect(visit.cards).to_have_count(1)
        expect(page.get_by_label("Purpose or case")).to_have_js_property("required", False)
        visit.search("red coat")
        expect_title(visit, "red coat")  # within this collection the form lets it pass as well


def test_an_open_server_marks_nothing(visit: Visit) -> None:
    with visit.page.expect_response("**/v1/session"):
        visit.page.reload()
    expect(visit.page.get_by_role("navigation")).to_contain_text("Admin")  # the page knows who asks
    expect(visit.page.get_by_label("Purpose or case")).to_have_js_property("required", False)
