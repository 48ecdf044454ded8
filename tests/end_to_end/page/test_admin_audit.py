"""The audit in the page: what was done can be read, narrowed, paged and verified; what was erased is said to be."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from app.audit.actions import routes, verbs
from app.audit.note import Note
from app.audit.repository import AuditChain, AuditRepository
from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.database.sessions import Database
from app.gallery.sources import open_source
from app.settings import Settings
from tests.app.test_search_api import people
from tests.app.toy import toy_checkpoint
from tests.end_to_end.page.conftest import HOSTILE, Held, Visit, Visiting
from tests.served import serving

AUDIT = "/?view=admin&part=audit"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("audit-data"), device="cpu")


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Database]:
    found = Database(settings.database)
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Searches by words, picture and parts, one refused, one of which the words are erased; and 120 views before."""
    folder: Path = tmp_path_factory.mktemp("audit-people")
    people(folder)
    with opened(settings) as core:
        activate_version(core, register_checkpoint(core, toy_checkpoint(folder / "toy"), "toy").id)
        list(core.ingest().run(open_source(folder)))
        with core.database.append() as connection:
            rows = [
                Note("view.image", actor=("day", "night")[number % 2], image_ids=[number + 1]).row()
                for number in range(120)
            ]
            AuditChain(connection).append(rows)
    with serving(settings) as address:
        with httpx.Client(base_url=address, timeout=60) as client:
            client.post(
                "/v1/search/text",
                json={
                    "query": "a red coat",
                    "purpose": f"case 17 {HOSTILE}",
                    "filters": {"cameras": ["cam-0"]},
                    "limit": 3,
                },
            )
            client.post("/v1/search/text", json={"query": "a green coat of somebody", "purpose": "case 18"})
            client.post("/v1/search/image", files={"file": ("red.jpg", (folder / "red0.jpg").read_bytes())})
            parts = {"parts": [{"text": "a red coat"}, {"image_id": 1}], "negatives": [{"text": "a black coat"}]}
            query = client.post("/v1/search/composed", json=parts).json()["query_id"]
            for purpose in ("case 20", "case 21"):
                client.patch(f"/v1/queries/{query}", json={"purpose": purpose}).raise_for_status()
            client.get("/v1/identities/9999")
            for image in (1, 2, 3):
                client.get(f"/v1/images/{image}/thumbnail")
        erase(settings, "case 18")
        yield address


def erase(settings: Settings, words: str) -> None:
    with opened(settings) as core, core.database.write() as session:
        audit = AuditRepository(session)
        assert audit.forget_words([row.sequence for row in audit.worded() if words in (row.words or "")]) == 1


@pytest.fixture
def visit(visits: Visiting, server: str) -> Iterator[Visit]:
    with visits(server) as found:
        yield found


def entry(page: Page, text: str) -> Locator:
    return page.locator(".entry", has_text=text)


def test_each_entry_says_who_did_what_and_what_for(visit: Visit) -> None:
    page = visit.page
    visit.go(AUDIT)
    sought = entry(page, "case 17")
    expect(sought.locator(".entry-what")).to_have_text("open searched by words ")
    expect(sought.locator(".entry-word")).to_have_text(
        ["Sought “a red coat”", "Among camera cam-0", f"For case 17 {HOSTILE}"]
    )
    expect(sought.locator(".hint")).to_have_text("3 people · 6 images · model version 1")
    expect(entry(page, "searched by a picture").locator("code")).to_have_text(page_hash(page))
    expect(entry(page, "searched by several parts")).to_contain_text(
        "“a red coat” and the picture of image 1, without “a black coat”"
    )
    changed = entry(page, "Purpose before")
    expect(changed.locator(".entry-word")).to_have_text(["For case 21", "Purpose before case 20"])
    expect(entry(page, "What was written has been erased.")).to_have_count(1)
    expect(page.locator(".entries")).not_to_contain_text("somebody")
    expect(entry(page, "identity_not_found")).to_contain_text("looked at a person")
    expect(entry(page, "saw a thumbnail, 3 times")).to_have_count(1)
    sought.locator("summary").click()
    expect(sought.locator(".entry-list")).to_contain_text("POST /v1/search/text")
    visit.check_accessible()
    sought.get_by_role("button", name="Show person").first.click()
    expect(page.get_by_role("dialog").locator("figure").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.title().startswith("Audit ")


def page_hash(page: Page) -> str:
    """What the audit has of the picture."""
    answer = page.request.get(f"{page.url.split('/?')[0]}/v1/admin/audit?action=search.image")
    found: str = answer.json()["entries"][0]["words"]["picture"]["sha256"]
    return found


def test_it_is_paged_and_narrowed(visit: Visit) -> None:
    page = visit.page
    visit.go(f"{AUDIT}&action=view.image")
    rows = page.locator(".entry")
    expect(rows).to_have_count(100)
    numbers = [int(one.get_attribute("data-sequence") or 0) for one in rows.all()]
    assert numbers == sorted(numbers, reverse=True)
    page.get_by_role("button", name="Older").click()
    expect(rows).to_have_count(120)
    expect(rows.nth(100).locator("summary")).to_be_focused()
    expect(page.get_by_role("button", name="Older")).to_have_count(0)

    page.get_by_label("Who").fill("night")
    page.get_by_label("Image").fill("4")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("night looked at what is known of an image")
    expect(page.get_by_text("Filters (3)")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Who")).to_have_value("night")
    expect(rows).to_have_count(1)
    page.get_by_label("Who").fill("nobody")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No such entry")).to_be_visible()
    visit.check_accessible()
    page.locator(".message").get_by_role("link", name="Show all").click()
    expect(page.get_by_label("Who")).to_have_value("")  # in the new form

    page.get_by_label("What").select_option("search.*")
    page.get_by_label("Words").fill("case 17")
    page.get_by_label("From").fill("2020-01-01T00:00")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(rows).to_have_count(1)
    page.get_by_label("Until").fill("2020-01-02T00:00")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("heading", name="No such entry")).to_be_visible()
    expect(page.get_by_label("From")).to_have_value("2020-01-01T00:00")
    page.get_by_label("Outcome").fill("NOT A CODE")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("outcome")


def test_an_answer_that_was_overtaken_is_not_added(visit: Visit) -> None:
    visit.go(f"{AUDIT}&action=view.image")
    rows = visit.page.locator(".entry")
    expect(rows).to_have_count(100)
    held = Held(visit.page, "**/v1/admin/audit?*")
    visit.page.get_by_role("button", name="Look again").click()
    held.wait()
    with visit.page.expect_response("**/v1/admin/audit?*"):
        visit.page.get_by_role("button", name="Look again").click()
    held.let_go()
    visit.wait_for_answers()
    expect(rows).to_have_count(100)


def test_an_answer_that_fails_can_be_tried_again(visit: Visit) -> None:
    page = visit.page

    def cut(route: Route) -> None:
        route.abort()

    visit.go(f"{AUDIT}&action=view.image")
    expect(page.locator(".entry")).to_have_count(100)
    page.route("**/v1/admin/audit?*", cut)
    page.get_by_role("button", name="Older").click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    expect(page.locator(".entry")).to_have_count(100)  # what is there stays
    page.unroute("**/v1/admin/audit?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".entry")).to_have_count(120)


def test_it_is_verified_and_says_what_was_done_to_it(visit: Visit, database: Database) -> None:
    page = visit.page
    visit.go(AUDIT)
    page.get_by_role("button", name="Verify").click()
    result = page.locator(".outcome")
    expect(result).to_contain_text("The audit is whole.")
    expect(result).to_contain_text("Of 1 the words were erased")
    head = result.locator("code").inner_text()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_text("Was the end cut off?").click()
    field = page.get_by_label("Head that was noted earlier")
    field.fill("nonsense")
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_role("alert")).to_be_visible()
    field.fill(head)
    page.get_by_role("button", name="Verify").click()
    expect(result).to_contain_text("The audit is whole.")
    change = "UPDATE audit_entries SET actor = '{}' WHERE sequence = 5"
    with database.engine.begin() as connection:
        before = connection.exec_driver_sql("SELECT actor FROM audit_entries WHERE sequence = 5").scalar_one()
        connection.exec_driver_sql(change.format("somebody else"))
    try:
        page.get_by_role("button", name="Verify").click()
        expect(result).to_contain_text("The audit was tampered with.")
        expect(page.get_by_role("region", name="What was done to the audit").locator("tbody tr")).to_have_count(1)
        visit.check_accessible()
    finally:
        with database.engine.begin() as connection:
            connection.exec_driver_sql(change.format(before))


def test_every_action_has_words(visit: Visit) -> None:
    """A route or a verb that is new says its action in words too."""
    visit.go(AUDIT)
    words = visit.page.evaluate(
        "import('/static/admin/actions.js').then(({ KINDS, OTHERS }) => "
        "[...KINDS.flatMap(([, , actions]) => Object.keys(actions)), ...Object.keys(OTHERS)])"
    )
    known = {action for action in (*routes().values(), *verbs().values()) if action is not None}
    assert known - set(words) == set()
    assert {action for action in words if action.startswith(("search.", "view.", "key."))} <= known | {
        "view.subject",
        "search.subject",
    }
