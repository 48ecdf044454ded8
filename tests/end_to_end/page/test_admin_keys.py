"""Keys in the page: the first one closes the server, each is shown once, and only administrators see them."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from app.access.schemas import NewKey
from app.access.service import KeyService
from app.collections.service import CollectionService
from app.core import opened
from app.settings import Settings
from tests.end_to_end.page.conftest import HOSTILE, Visit, Visiting
from tests.served import serving

ADMIN = "/?view=admin"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", device="cpu")


@pytest.fixture
def server(settings: Settings) -> Iterator[str]:
    """An open server with two empty collections."""
    with opened(settings) as core, core.database.write() as session:
        for name in ("north", "south"):
            CollectionService(session).create(name)
    with serving(settings) as address:
        yield address


def key_of(settings: Settings, name: str, *scopes: str) -> str:
    with opened(settings) as core, core.database.write() as session:
        return KeyService(session).create(NewKey.model_validate({"name": name, "scopes": scopes})).key


def sign_in(visit: Visit, key: str) -> None:
    visit.page.get_by_role("dialog", name="A key is needed").get_by_label("Key").fill(key)
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("dialog")).to_have_count(0)


def made(page: Page, name: str) -> str:
    """The secret that is shown, once."""
    shown = page.get_by_role("region", name="New key")
    expect(shown.get_by_role("heading", name=f"The key {name}")).to_be_focused()
    return shown.get_by_role("textbox").input_value()


def row(page: Page, name: str) -> Locator:
    return page.locator(".key-row", has=page.locator("strong", has_text=name))


def status(server: str, key: str, path: str = "/v1/gallery") -> tuple[int, str]:
    answer = httpx.get(f"{server}{path}", headers={"Authorization": f"Bearer {key}"}, timeout=60)
    return answer.status_code, answer.json().get("code", "")


def test_the_first_key_closes_the_server_and_the_page_goes_on(visits: Visiting, server: str) -> None:
    with visits(server) as visit:
        page = visit.page
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        visit.go("")
        page.get_by_role("link", name="Admin").click()
        expect(page.get_by_text("This server is open.")).to_be_visible()
        expect(page.get_by_role("heading", name="No key is valid")).to_be_visible()
        expect(page.get_by_role("checkbox", name="admin")).to_be_checked()
        expect(page.get_by_role("checkbox", name="admin")).to_be_disabled()
        visit.check_accessible()
        page.get_by_label("Name").fill(HOSTILE)
        page.get_by_role("button", name="Make the key").click()
        key = made(page, HOSTILE)
        for width in (390, 905, 1240):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert re.fullmatch(r"descry_[0-9a-z]{8}_\S{43}", key)
        expect(page.get_by_text("The server is closed now, and this page uses the key.")).to_be_visible()
        expect(page.get_by_text("This server is open.")).to_have_count(0)
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == key
        expect(row(page, HOSTILE)).to_contain_text("you use it")
        visit.check_accessible()
        assert page.title().startswith("Keys ")
        assert httpx.get(f"{server}/v1/gallery", timeout=60).status_code == 401
        assert status(server, key)[0] == 200
        page.get_by_role("button", name="I have kept it").click()
        assert key not in page.evaluate("[...document.querySelectorAll('input')].map((one) => one.value).join()")
        page.reload()
        expect(row(page, HOSTILE)).to_be_visible()  # by the cookie
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.locator(".account summary").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("dialog", name="A key is needed")).to_be_visible()
        sign_in(visit, key)
        expect(page.get_by_role("link", name="Admin")).to_be_visible()
        assert all(key not in url for url in visit.requested)


def test_a_limited_key_is_made_rotated_and_revoked(visits: Visiting, server: str, settings: Settings) -> None:
    own = key_of(settings, "anna", "admin")
    with visits(server) as visit:
        page = visit.page
        visit.go(ADMIN)
        sign_in(visit, own)
        page.get_by_text("New key", exact=True).click()
        page.get_by_label("Name").fill("desk\u200b")
        page.get_by_label("Expires").fill("2001-01-01T08:00")
        page.get_by_label("Only these").check()
        page.get_by_role("button", name="Make the key").click()
        expect(page.get_by_role("alert")).to_contain_text("Tick the collections")
        page.get_by_label("north").check()
        page.get_by_role("button", name="Make the key").click()
        expect(page.get_by_role("alert")).to_contain_text("is over already")
        ends = datetime.now(UTC) + timedelta(days=30)
        page.get_by_label("Expires").fill(ends.strftime("%Y-%m-%dT%H:%M"))
        page.get_by_role("button", name="Make the key").click()
        expect(page.get_by_role("alert")).to_contain_text("a name that can be read")  # the server says so
        expect(page.get_by_label("north")).to_be_checked()  # nothing of it is lost
        page.get_by_label("Name").fill("desk")
        page.get_by_role("button", name="Make the key").click()
        key = made(page, "desk")
        desk = row(page, "desk")
        expect(desk).to_contain_text(key[: len("descry_xxxxxxxx_")])
        expect(desk.locator(".key-facts div")).to_contain_text(["search", "north", str(ends.year), "never"])
        assert status(server, key)[0] == 200
        assert status(server, key, "/v1/jobs") == (403, "scope_missing")

        desk.get_by_role("button", name="Rotate").click()
        page.get_by_role("dialog").get_by_role("button", name="Rotate it").click()
        expect(desk).not_to_contain_text(key[: len("descry_xxxxxxxx_")])
        new = made(page, "desk")
        assert status(server, key) == (401, "key_invalid")
        assert status(server, new)[0] == 200

        desk.get_by_role("button", name="Revoke").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert status(server, new)[0] == 200
        desk.get_by_role("button", name="Revoke").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke it").click()
        expect(page.get_by_text("Revoked and expired (1)")).to_be_visible()
        assert status(server, new) == (401, "key_revoked")


def test_who_rotates_their_own_key_goes_on_and_who_revokes_it_does_not(
    visits: Visiting, server: str, settings: Settings
) -> None:
    own = key_of(settings, "anna", "admin")
    with visits(server) as visit:
        page = visit.page
        visit.go(ADMIN)
        sign_in(visit, own)
        mine = row(page, "anna")
        mine.get_by_role("button", name="Rotate").click()
        page.get_by_role("dialog").get_by_role("button", name="Rotate it").click()
        expect(page.get_by_text("This page uses it already.")).to_be_visible()
        again = made(page, "anna")
        page.reload()
        expect(mine).to_contain_text("you use it")
        assert status(server, own) == (401, "key_invalid")
        assert status(server, again)[0] == 200

        mine.get_by_role("button", name="Revoke").click()
        asked = page.get_by_role("dialog")
        expect(asked).to_contain_text("the last one of an administrator")
        asked.get_by_role("button", name="Revoke it").click()
        expect(page.get_by_role("dialog", name="A key is needed")).to_contain_text("was revoked")
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("alert")).to_contain_text("The key was revoked")


def test_only_administrators_see_keys(visits: Visiting, server: str, settings: Settings) -> None:
    admin, search = key_of(settings, "anna", "admin"), key_of(settings, "desk", "search")
    with visits(server) as visit:
        page = visit.page
        visit.go("")
        sign_in(visit, search)
        expect(page.locator("#gallery")).to_contain_text("0 identities")
        expect(page.locator("#menu a").first).to_be_visible()
        visit.go(f"{ADMIN}&part=audit")
        expect(page.get_by_role("heading", name="For administrators only")).to_be_visible()
        expect(page.locator(".message")).to_contain_text("You use the key desk, which has: search.")
        expect(page.locator("#menu a", has_text="Admin")).to_have_count(0)
        assert [url for url in visit.requested if "/v1/admin/" in url] == []
        visit.check_accessible()
        page.get_by_role("button", name="Use another key").click()
        sign_in(visit, admin)
        expect(page.locator(".entry").first).to_be_visible()
        expect(page.locator("#menu a", has_text="Admin")).to_have_attribute("aria-current", "page")


def test_what_is_wrong_is_said_and_can_be_tried_again(visits: Visiting, server: str) -> None:
    with visits(server) as visit:
        page = visit.page

        def cut(route: Route) -> None:
            route.abort()

        page.route("**/v1/admin/keys", cut)
        visit.go(ADMIN)
        expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
        page.unroute("**/v1/admin/keys")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("heading", name="No key is valid")).to_be_visible()


def test_rules_of_retention_are_set_after_a_question(visits: Visiting, server: str) -> None:
    with visits(server) as visit:
        page = visit.page
        visit.go(f"{ADMIN}&part=retention")
        expect(page.get_by_text("There is no rule")).to_be_visible()
        page.get_by_role("button", name="Add a rule").click()
        page.get_by_label("Collection").select_option("north")
        page.get_by_label("Camera").fill("door")
        page.get_by_label("Days").fill("14")
        save = page.get_by_role("button", name="Save the rules")
        save.click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert httpx.get(f"{server}/v1/admin/retention", timeout=60).json() == {"rules": []}
        save.click()
        page.get_by_role("dialog").get_by_role("button", name="Set them").click()
        expect(page.get_by_text("none due")).to_be_visible()
        rule = {"collection": "north", "camera": "door", "days": 14, "due": 0}
        assert httpx.get(f"{server}/v1/admin/retention", timeout=60).json() == {"rules": [rule]}
        visit.check_accessible()
        page.get_by_role("button", name="Remove the rule of north").click()
        save.click()
        with page.expect_response(lambda answer: answer.request.method == "PUT"):  # the page shows no rule before
            page.get_by_role("dialog").get_by_role("button", name="Set them").click()
        expect(page.get_by_text("There is no rule")).to_be_visible()
        assert httpx.get(f"{server}/v1/admin/retention", timeout=60).json() == {"rules": []}
