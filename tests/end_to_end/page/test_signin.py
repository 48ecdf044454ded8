"""The page where a key is needed: it asks for one, says what is wrong with it, and goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from app.access.schemas import NewKey
from app.access.service import KeyService
from app.core import opened
from app.settings import Settings
from tests.end_to_end.page.conftest import QUERY, Visiting, serving, with_demo_model


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
