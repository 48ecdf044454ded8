"""What somebody does in the page is in the audit: one entry for each search, view and change, and none without."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Response, expect

from app.audit.actions import action_of
from app.audit.repository import AuditRepository
from app.audit.service import AuditService
from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.database.audit_table import AuditEntry
from app.database.sessions import Database
from app.gallery.sources import open_source
from app.settings import Settings
from tests.app.test_search_api import people
from tests.app.toy import toy_checkpoint
from tests.end_to_end.page.conftest import visiting
from tests.served import serving


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", device="cpu")


@pytest.fixture
def toy_server(settings: Settings, tmp_path: Path) -> Iterator[str]:
    people(tmp_path / "people")
    with opened(settings) as core:
        activate_version(core, register_checkpoint(core, toy_checkpoint(tmp_path / "toy"), "toy").id)
        list(core.ingest().run(open_source(tmp_path / "people")))
    with serving(settings) as address:
        yield address


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    found = Database(settings.database)
    yield found
    found.close()


def entries(database: Database) -> list[AuditEntry]:
    with database.read() as session:
        return list(AuditRepository(session).all())


def test_each_thing_done_in_the_page_has_one_entry(chromium: Browser, toy_server: str, database: Database) -> None:
    answered: set[tuple[str | None, str]] = set()

    def hear(response: Response) -> None:
        # A picture that the browser shows again from its memory has the request's id of the first time.
        action = action_of(response.request.method, urlsplit(response.url).path)[0]
        answered.add((action, response.headers.get("x-request-id", "none")))

    with visiting(chromium, toy_server) as visit:
        visit.page.on("response", hear)
        visit.go("/?q=a+red+coat&purpose=case+17")
        expect(visit.title).to_contain_text("a red coat")
        visit.page.locator(".card .open").first.click()
        expect(visit.page.get_by_role("dialog").locator("figure").first).to_be_visible()
        visit.wait_for_answers()
        visit.page.get_by_role("dialog").get_by_role("button", name="Close").click()
        visit.page.get_by_text("Export", exact=True).click()
        with visit.page.expect_download() as download:
            visit.page.get_by_role("link", name="CSV table").click()
        assert "red" in download.value.path().read_text()
        visit.wait_for_answers()
    told = entries(database)
    exports = [entry for entry in told if entry.action == "export.results"]
    seen = [(entry.action, entry.facts["request"]) for entry in told if entry not in exports]
    assert len(seen) == len(set(seen))
    assert set(seen) == {one for one in answered if one[0] not in (None, "export.results")}
    by_action = Counter(entry.action for entry in told)
    assert by_action["search.text"] == by_action["view.identity"] == by_action["export.results"] == 1
    assert by_action["view.thumbnail"] > 3
    for asked in (*exports, *(entry for entry in told if entry.action == "search.text")):
        assert '"purpose": "case 17"' in (asked.words or "")
        assert '"query": "a red coat"' in (asked.words or "")
        assert len(asked.identity_ids) > 1
        assert asked.facts["version"] == 1
    assert {entry.actor for entry in told} == {"open"}
    with database.read() as session:
        assert AuditService(session).verify().whole


def test_the_page_shows_nobody_while_the_audit_cannot_be_written(
    chromium: Browser, toy_server: str, database: Database
) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    with visiting(chromium, toy_server) as visit:
        visit.go("/?q=a+red+coat")
        expect(visit.page.get_by_text("The audit cannot be written").first).to_be_visible()
        assert visit.cards.count() == 0
    assert entries(database) == []


def test_who_must_say_what_for_is_told_so_in_the_page(chromium: Browser, settings: Settings, toy_server: str) -> None:
    """Another server on the same data that wants a purpose."""
    with (
        serving(settings.model_copy(update={"purpose_required": "true"})) as strict,
        visiting(chromium, strict) as visit,
    ):
        visit.go("/?q=a+red+coat")
        purpose = visit.page.get_by_label("Purpose or case")
        expect(purpose).to_be_visible()
        expect(purpose).to_have_attribute("aria-invalid", "true")
        assert visit.cards.count() == 0
        purpose.fill("case 17")
        visit.page.get_by_role("button", name="Search", exact=True).click()
        expect(visit.title).to_contain_text("a red coat")
