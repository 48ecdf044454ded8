"""The page with keys that may do little: what would be refused is not shown, and who is signed in can sign out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.access.schemas import NewKey
from app.access.service import KeyService
from app.core import opened
from app.settings import Settings
from tests.end_to_end.page.conftest import HOSTILE, IMAGES, Visit, Visiting, picture_of, with_demo_model
from tests.end_to_end.page.test_detail import opened as opened_person
from tests.end_to_end.page.test_signin import sign_in
from tests.served import serving

EVERYWHERE = ["Search", "Past searches", "Identifications", "Gallery", "Jobs", "Models", "Admin"]


@dataclass
class Locked:
    """A server that wants keys, and a key for each."""

    address: str
    keys: dict[str, str]


@pytest.fixture(scope="module")
def locked(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("scopes"), device="cpu", key_rate_burst=5000)
    with_demo_model(settings, people)
    wanted: dict[str, NewKey] = {
        "search": NewKey(name=HOSTILE, scopes=["search"], collections=["default"]),
        "ingest": NewKey(name="gate", scopes=["ingest"]),
        "both": NewKey(name="desk", scopes=["search", "ingest"]),
        "admin": NewKey(name="anna", scopes=["admin"]),
    }
    with opened(settings) as core, core.database.write() as session:
        keys = {name: KeyService(session).create(new).key for name, new in wanted.items()}
    with serving(settings) as address:
        yield Locked(address, keys)


def menu(page: Page) -> list[str]:
    expect(page.locator("#menu a").first).to_be_visible()
    return page.locator("#menu a").all_inner_texts()


def enter(visit: Visit, locked: Locked, name: str, address: str = "/") -> None:
    visit.go(address)
    sign_in(visit.page, locked.keys[name])


@pytest.mark.parametrize(
    ("name", "views", "acts"),
    [
        ("search", ["Search", "Past searches", "Identifications", "Models"], []),
        ("both", EVERYWHERE[:-1], ["Edit", "Describe"]),
        ("admin", EVERYWHERE, ["Edit", "Describe", "Delete", "Delete image"]),
    ],
)
def test_only_what_works_is_shown(
    visits: Visiting, locked: Locked, name: str, views: list[str], acts: list[str]
) -> None:
    with visits(locked.address) as visit:
        page, refused = visit.page, []
        page.on("response", lambda answer: refused.append(answer.url) if answer.status == 403 else None)
        enter(visit, locked, name)
        assert menu(page) == views
        for view in views:
            page.locator("#menu").get_by_role("link", name=view, exact=True).click()
            expect(page.locator("#menu a[aria-current]")).to_have_text(view)
            expect(page.locator(".view")).not_to_be_empty()
            visit.wait_for_answers()
            expect(page.get_by_role("alert")).to_have_count(0)
        model = page.get_by_role("article", name="Model version demo")
        if name != "admin":
            expect(model).to_contain_text("answers now")
            expect(page.get_by_role("button", name="Start the retraining")).to_have_count(0)
        dialog = opened_person(visit, "a red coat", "P-0006", purpose="case 17")
        shown = dialog.get_by_role("button").all_inner_texts()
        every = ("Edit", "Describe", "Describe otherwise", "Delete", "Delete image")
        assert {text.replace(" otherwise", "") for text in shown if text in every} == set(acts)
        expect(dialog.get_by_role("button", name="Confirm")).to_be_visible()
        assert refused == []
        assert page.evaluate("document.title") != "owned"


def test_a_key_that_takes_in_begins_at_the_gallery(visits: Visiting, locked: Locked, people: Path) -> None:
    with visits(locked.address) as visit:
        page = visit.page
        enter(visit, locked, "ingest")
        assert menu(page) == ["Gallery", "Jobs", "Models"]
        expect(page.locator("#menu a[aria-current]")).to_have_text("Gallery")
        expect(page.get_by_role("region", name="Collections").locator(".row")).to_have_count(1)
        expect(page.get_by_role("link", name="Search in default")).to_have_count(0)
        page.locator("#upload-files").set_input_files(picture_of(people, 5))
        expect(page.get_by_role("article", name="1 file into default")).to_be_visible()
        assert [url for url in visit.requested if url.endswith("/v1/gallery")] == []


def test_an_address_that_a_key_may_not_open_says_so(visits: Visiting, locked: Locked) -> None:
    with visits(locked.address) as visit:
        page = visit.page
        enter(visit, locked, "search", "/?view=jobs&job=nobody")
        expect(page.get_by_role("heading", name="This key does not open Jobs")).to_be_visible()
        expect(page.locator(".message")).to_contain_text("needs a key with the right ingest")
        expect(page.locator(".message")).to_contain_text(f"You use the key {HOSTILE}, which has: search.")
        assert [url for url in visit.requested if "/v1/jobs" in url] == []
        visit.check_accessible()
        page.get_by_role("link", name="Go to Search").click()
        expect(page.get_by_label("Describe the person")).to_be_visible()
        page.go_back()
        page.get_by_role("button", name="Use another key").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        expect(page.locator(".account-name")).to_have_text(HOSTILE)  # the key from before goes on
        page.get_by_role("button", name="Use another key").click()
        sign_in(page, locked.keys["ingest"])
        expect(page.get_by_role("alert")).to_contain_text("nobody")  # the job is asked for now
        assert menu(page) == ["Gallery", "Jobs", "Models"]
        visit.go("/?q=a+red+coat&open=3")
        expect(page.get_by_role("heading", name="This key does not open Search")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_everybody_can_sign_out(visits: Visiting, locked: Locked, width: int) -> None:
    with visits(locked.address) as visit:
        page = visit.page
        page.set_viewport_size({"width": width, "height": 844})
        enter(visit, locked, "search")
        who = page.locator(".account summary")
        who.focus()
        page.keyboard.press("Enter")
        panel = page.locator(".account .panel")
        expect(panel).to_contain_text(f"Signed in with the key {HOSTILE}")
        expect(panel).to_contain_text("May: search")
        expect(panel).to_contain_text("Within: default")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box = panel.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        visit.check_accessible()
        page.keyboard.press("Escape")
        expect(panel).to_be_hidden()
        expect(who).to_be_focused()
        who.click()
        panel.get_by_role("button", name="Sign out").click()
        dialog = page.get_by_role("dialog", name="A key is needed")
        expect(dialog).to_be_visible()
        assert [cookie["name"] for cookie in page.context.cookies()] == []
        dialog.get_by_role("button", name="Cancel").click()
        expect(page.locator("#account").get_by_role("button", name="Sign in")).to_be_visible()
        page.get_by_role("alert").get_by_role("button", name="Sign in").click()
        sign_in(page, locked.keys["both"])
        expect(page.locator(".account-name")).to_have_text("desk")
        expect(page.get_by_label("Describe the person")).to_be_visible()


def test_an_open_server_says_so(visit: Visit) -> None:
    visit.page.locator(".account summary").click()
    expect(visit.page.locator(".account .panel")).to_contain_text("Nobody needs a key yet.")
    visit.check_accessible()
    visit.page.get_by_role("link", name="Make the first key").click()
    expect(visit.page.get_by_role("heading", name=re.compile("Administration"))).to_be_visible()
    expect(visit.page.locator(".account .panel")).to_be_hidden()


def test_images_of_a_search_key_have_no_buttons_that_would_be_refused(visits: Visiting, locked: Locked) -> None:
    with visits(locked.address) as visit:
        enter(visit, locked, "search")
        dialog = opened_person(visit, "black trousers", "P-0007", purpose="case 17")
        expect(dialog.locator("figure")).to_have_count(IMAGES)
        expect(dialog.locator("figure .actions").first.get_by_role("button")).to_have_text(["Search with this picture"])
