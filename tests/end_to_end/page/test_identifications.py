"""Two people with two keys in two browsers: one proposes an identification, the other one decides on it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Route, expect

from app.access.schemas import NewKey
from app.access.service import KeyService
from app.core import opened
from app.settings import Settings
from tests.end_to_end.page.conftest import HOSTILE, Visit, Visiting, with_demo_model
from tests.end_to_end.page.test_detail import opened as opened_person
from tests.served import serving


@dataclass
class Locked:
    """A server that wants keys, and the keys of two people."""

    address: str
    ann: str
    ben: str


@pytest.fixture(scope="module")
def locked(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("identified"), device="cpu", key_rate_burst=5000)
    with_demo_model(settings, people)
    with opened(settings) as core, core.database.write() as session:
        names = [
            NewKey.model_validate({"name": name, "scopes": ["search"]}) for name in ("Ann", f"Ben {HOSTILE}"[:200])
        ]
        ann, ben = (KeyService(session).create(new).key for new in names)
    with serving(settings) as address:
        yield Locked(address, ann, ben)


open_person = partial(opened_person, purpose="case 2026-116")


@contextmanager
def signed_in(visits: Visiting, server: Locked, key: str) -> Iterator[Visit]:
    with visits(server.address) as visit:
        visit.page.goto(server.address)
        visit.page.get_by_role("dialog", name="A key is needed").get_by_label("Key").fill(key)
        visit.page.keyboard.press("Enter")
        expect(visit.page.get_by_role("dialog")).to_have_count(0)
        yield visit


def propose(dialog: Locator, note: str) -> None:
    dialog.get_by_role("button", name="Mark as identification").click()
    form = dialog.get_by_role("form", name="Mark as identification")
    expect(form.get_by_label("Purpose or case")).to_be_focused()
    form.get_by_label("Purpose or case").fill("case 2026-117")
    form.get_by_label("By what you recognise the person").fill(note)
    form.get_by_role("button", name="Propose").click()
    expect(dialog.get_by_text("waits for a second person")).to_be_visible()


def waiting(visit: Visit) -> Locator:
    visit.page.get_by_role("link", name="Identifications", exact=True).click()
    return visit.page.get_by_role("region", name="Waiting for a second person")


def name_keeps_its_line(badge: Locator) -> None:
    """The mark on a card stands below the name and does not squeeze it."""
    name, mark = badge.locator("xpath=..").locator(".open").bounding_box(), badge.bounding_box()
    assert name is not None
    assert mark is not None
    assert name["height"] < 2 * mark["height"]
    assert mark["y"] >= name["y"] + name["height"] - 1


def test_two_people_identify_somebody(visits: Visiting, locked: Locked) -> None:
    with signed_in(visits, locked, locked.ann) as ann, signed_in(visits, locked, locked.ben) as ben:
        dialog = open_person(ann, "a red coat and black trousers", "P-0003")
        expect(dialog.locator("header .hint")).to_contain_text("A candidate, not an identification.")
        dialog.get_by_role("button", name="Mark as identification").click()
        ann.check_accessible()
        dialog.get_by_role("button", name="Cancel").click()
        propose(dialog, f"the scar {HOSTILE}")
        expect(dialog.get_by_role("button", name="Withdraw identification")).to_be_visible()
        expect(dialog.get_by_role("button", name="Confirm identification")).to_have_count(0)  # not by herself
        expect(dialog.locator("header .hint")).to_contain_text("A candidate, not an identification.")

        ben.page.get_by_role("link", name="Identifications", exact=True).click()
        row = ben.page.get_by_role("region", name="Waiting for a second person").locator("li.identification")
        expect(row).to_have_count(1)
        expect(row).to_contain_text("Proposed by Ann")
        expect(row).to_contain_text(f"“the scar {HOSTILE}”")
        expect(row).to_contain_text("For case 2026-117; rests on 3 images")
        expect(row).to_contain_text("Candidates, not identifications.")
        expect(row.locator("img")).to_have_count(3)
        assert row.locator("img").first.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
        row.get_by_role("button", name="Look at all images of P-0003").click()
        expect(ben.page.get_by_role("dialog", name="P-0003").locator("figure")).to_have_count(3)
        lists: list[Route] = []
        ben.page.route("**/v1/identifications?*", lambda route: lists.append(route))
        ben.page.keyboard.press("Escape")
        expect(ben.page.get_by_role("dialog")).to_have_count(0)
        row.get_by_role("button", name="Confirm identification").click()
        form = row.get_by_role("form")
        expect(form.get_by_label("Anything to add")).to_be_focused()
        for late in lists:  # a list that comes while somebody writes must not take the form away
            late.continue_()
        ben.page.unroute("**/v1/identifications?*")
        ben.check_accessible()
        expect(form.get_by_label("Anything to add")).to_be_focused()
        form.get_by_role("button", name="Confirm", exact=True).click()
        expect(row.get_by_text("✓ confirmed by two people")).to_be_visible()
        decided = ben.page.get_by_role("region", name="Decided")
        expect(decided.locator("li.identification")).to_have_count(1)
        ben.page.reload()
        expect(ben.page.get_by_text("Nothing waits for a second person")).to_be_visible()

        ann.page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(ann.page).to_have_url(re.compile(r"\?query=[0-9a-f]{32}$"))  # a moment later than the dialog
        badge = ann.page.locator(".card .badge.identified")
        expect(badge).to_have_text("waits for a second person")
        name_keeps_its_line(badge)
        ann.page.reload()  # the search is in the address now
        expect(ann.page.locator(".card .badge.identified")).to_have_text("✓ confirmed by two people")
        ann.page.get_by_role("button", name="P-0003, rank").click()
        expect(dialog.locator("header .hint")).to_contain_text("Confirmed by two people: Ann and Ben")
        assert ann.page.evaluate("document.title") != "owned"
        ann.page.keyboard.press("Escape")
        with ann.page.expect_download() as caught:
            ann.page.get_by_text("Export").click()
            ann.page.get_by_role("link", name="CSV table").click()
        assert ",confirmed," in Path(caught.value.path()).read_text("utf-8-sig")


def test_a_refusal_and_what_was_decided_meanwhile_are_told(visits: Visiting, locked: Locked) -> None:
    with signed_in(visits, locked, locked.ann) as ann, signed_in(visits, locked, locked.ben) as ben:
        propose(open_person(ann, "black trousers", "P-0004"), "the walk")
        ben.page.get_by_role("link", name="Identifications", exact=True).click()
        row = ben.page.get_by_role("region", name="Waiting for a second person").locator("li.identification")
        row.get_by_role("button", name="Refuse identification").click()
        form = row.get_by_role("form")
        form.get_by_role("button", name="Refuse", exact=True).click()  # the browser asks for the reason
        expect(row.get_by_text("waits for a second person")).to_be_visible()
        form.get_by_label("Why it is somebody else").fill("taller")
        form.get_by_role("button", name="Refuse", exact=True).click()
        expect(row.get_by_text("refused", exact=True)).to_be_visible()
        expect(row).to_contain_text("“taller”")
        ann.page.reload()
        dialog = ann.page.get_by_role("dialog", name="P-0004")
        expect(dialog.get_by_text("“taller”")).to_be_visible()
        expect(dialog.locator("header .hint")).to_contain_text("A candidate, not an identification.")
        propose(dialog, "by the shoes, once more")  # a refused one may be proposed again

        dialog = open_person(ann, "a red coat", "P-0005")
        propose(dialog, "the bag")
        ben.page.reload()
        row = waiting(ben).locator("li.identification").filter(has_text="the bag")
        row.get_by_role("button", name="Confirm identification").click()
        dialog.get_by_role("button", name="Withdraw identification").click()
        dialog.get_by_label("Why it is taken back").fill("wrong day")
        dialog.get_by_role("form").get_by_role("button", name="Withdraw", exact=True).click()
        expect(dialog.get_by_text("“wrong day”")).to_be_visible()
        row.get_by_role("form").get_by_role("button", name="Confirm", exact=True).click()
        expect(row.get_by_role("alert")).to_contain_text("is withdrawn")
        headers = {"Authorization": f"Bearer {locked.ben}"}
        states = httpx.get(f"{locked.address}/v1/identifications", headers=headers, timeout=60).json()[
            "identifications"
        ]
        assert next(one["state"] for one in states if one["proposed"]["note"] == "the bag") == "withdrawn"
