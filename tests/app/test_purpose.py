"""Where a search must say what it is for: over HTTP and at the command line, with each setting."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.core import Core
from app.database.sessions import Database
from app.errors import ConfigurationError, PurposeRequiredError
from app.gallery.sources import open_source
from app.main import create_app
from app.search.purpose import check_purpose_here
from app.search.schemas import SearchOptions
from app.settings import Settings, load_settings
from tests.app.conftest import IngestFolder
from tests.app.test_access_api import make
from tests.app.test_command_line import verb
from tests.app.test_queries_verbs import data
from tests.app.toy import picture

__all__ = ["data"]

CASE = {"purpose": "case 17"}


@dataclass(frozen=True, slots=True)
class Case:
    """A server, and where a search without a purpose is refused: everywhere, and within the collection `free`."""

    told: Literal["auto", "true", "false"]
    key: bool
    free: tuple[str, ...]
    everywhere: bool
    within: bool


CASES = {
    "open": Case("auto", False, (), False, False),
    "key": Case("auto", True, (), True, True),
    "key, free collection": Case("auto", True, ("free",), True, False),
    "key, another one is free": Case("auto", True, ("other",), True, True),
    "true": Case("true", False, (), True, True),
    "true, free collection": Case("true", True, ("free",), True, False),
    "false": Case("false", True, (), False, False),
}


def search(
    client: TestClient, kind: str, headers: dict[str, str], file: bytes, more: dict[str, str]
) -> tuple[int, Any, str]:
    """The status, the code of the error, and the id of the query."""
    if kind == "text":
        answer = client.post("/v1/search/text", json={"query": "red", **more}, headers=headers)
    elif kind == "image":
        answer = client.post("/v1/search/image", files={"file": ("a.jpg", file)}, data=more, headers=headers)
    elif kind == "composed":
        body = {"parts": [{"text": "red"}], "negatives": [{"text": "blue"}], **more}
        answer = client.post("/v1/search/composed", json=body, headers=headers)
    else:
        query = json.dumps({"parts": [{"picture": "a.jpg"}], **more})
        files = {"files": ("a.jpg", file)}
        answer = client.post("/v1/search/composed", files=files, data={"query": query}, headers=headers)
    body = answer.json()
    return answer.status_code, body.get("code"), body.get("query_id", "")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_search_says_what_it_is_for_where_it_must(
    case: Case, settings: Settings, core: Core, ingest: IngestFolder, tmp_path: Path
) -> None:
    file = picture(tmp_path / "people" / "red.jpg", "red").read_bytes()
    ingest(tmp_path / "people")
    for outcome in core.ingest("free").run(open_source(tmp_path / "people")):
        assert outcome.image_id is not None
    wanted = settings.model_copy(update={"purpose_required": case.told, "purpose_free_collections": case.free})
    refused = (422, "purpose_required")
    with TestClient(create_app(wanted), base_url="http://127.0.0.1:8000") as client:
        headers = make(client, "admin") if case.key else {}
        session = client.get("/v1/session", headers=headers).json()
        assert session["purpose_required"] is case.everywhere
        assert session["purpose_free_collections"] == list(case.free)
        for kind in ("text", "image", "composed", "composed with a picture"):
            for empty in ({}, {"purpose": " "}, {"purpose": "\0"}):
                found = search(client, kind, headers, file, empty)[:2]
                assert found == (refused if case.everywhere else (200, None)), (kind, empty)
            within = search(client, kind, headers, file, {"collection": "free"})[:2]
            assert within == (refused if case.within else (200, None)), kind
            status, _, query = search(client, kind, headers, file, CASE)
            assert status == 200, kind
            again, results = f"/v1/queries/{query}/search", f"/v1/queries/{query}/results?format=json"
            assert client.post(again, json={}, headers=headers).status_code == 200  # it is for what it was for
            taken = client.patch(f"/v1/queries/{query}", json={"purpose": None}, headers=headers)
            assert taken.status_code == (422 if case.everywhere else 200), taken.text
            for answer in (client.post(again, json={}, headers=headers), client.get(results, headers=headers)):
                assert answer.status_code == 200, answer.text  # it still says so, or it need not
            client.patch(f"/v1/queries/{query}", json=CASE, headers=headers).raise_for_status()
            assert client.get(results, headers=headers).status_code == 200


def test_the_first_key_asks_for_a_purpose_and_pages_of_a_query_need_none(
    client: TestClient, ingest: IngestFolder, tmp_path: Path
) -> None:
    for colour in ("red", "green", "blue"):
        picture(tmp_path / "people" / f"{colour}.jpg", colour)
    ingest(tmp_path / "people")
    body = {"query": "red", "limit": 1}
    before = client.post("/v1/search/text", json=body).json()["query_id"]
    headers = make(client, "admin")
    assert client.post("/v1/search/text", json=body, headers=headers).json()["code"] == "purpose_required"
    asked = client.post(f"/v1/queries/{before}/search", json={}, headers=headers).json()
    assert asked["code"] == "purpose_required"
    assert "PATCH /v1/queries/{id}" in asked["detail"]
    page = client.post("/v1/search/text", json={**body, **CASE}, headers=headers).json()
    more = {"limit": 1, "cursor": page["next_cursor"]}
    again = client.post(f"/v1/queries/{page['query_id']}/search", json=more, headers=headers)
    assert again.status_code == 200, again.text
    assert again.json()["candidates"][0]["identity"]["id"] != page["candidates"][0]["identity"]["id"]


def test_a_purpose_is_changed_in_the_open_and_never_taken_away(
    client: TestClient, core: Core, ingest: IngestFolder, tmp_path: Path
) -> None:
    picture(tmp_path / "people" / "red.jpg", "red")
    ingest(tmp_path / "people")
    query = client.post("/v1/search/text", json={"query": "red"}).json()["query_id"]
    admin = make(client, "admin")
    headers = make(client, "search", admin=admin["Authorization"].removeprefix("Bearer "))

    def patch(**body: str | None) -> tuple[int, str | None]:
        """Status, and the code of the error or the purpose."""
        answer = client.patch(f"/v1/queries/{query}", json=body, headers=headers)
        return answer.status_code, answer.json().get("code", answer.json().get("purpose"))

    def told() -> tuple[str, str, Any, dict[str, Any]]:
        page = client.get("/v1/admin/audit", params={"action": "change.query", "limit": 1}, headers=admin).json()
        (entry,) = page["entries"]
        return entry["actor"], entry["outcome"], entry["facts"].get("purpose"), entry["words"] or {}

    assert patch(purpose=None, name="gate 4") == (200, None)  # it was asked before there was a key: nothing is lost
    assert told() == ("test", "ok", None, {"name": "gate 4"})
    assert patch(purpose="case 17") == (200, "case 17")
    assert told() == ("test", "ok", "said", {"purpose": "case 17"})
    assert patch(purpose="case 18") == (200, "case 18")
    assert told() == ("test", "ok", "changed", {"purpose": "case 18", "purpose_before": "case 17"})
    for nothing in (None, "", " "):
        assert patch(purpose=nothing, name="other") == (422, "purpose_required")
        assert told()[:2] == ("test", "purpose_required")
    kept = client.get(f"/v1/queries/{query}", headers=headers).json()
    assert (kept["purpose"], kept["name"]) == ("case 18", "gate 4")  # nothing of what was refused was done
    assert patch(purpose=" case 18 ") == (200, "case 18")
    assert told() == ("test", "ok", None, {})
    assert client.get("/v1/admin/audit/verify", headers=admin).json()["whole"]


def test_where_none_is_needed_a_purpose_may_go_and_the_audit_knows_it(client: TestClient, core: Core) -> None:
    query = client.post("/v1/search/text", json={"query": "red", **CASE}).json()["query_id"]
    assert client.patch(f"/v1/queries/{query}", json={"purpose": None}).json()["purpose"] is None
    (entry,) = client.get("/v1/admin/audit", params={"action": "change.query"}).json()["entries"]
    assert (entry["facts"]["purpose"], entry["words"]) == ("taken_away", {"purpose_before": "case 17"})


def test_a_limited_key_hears_of_its_own_collections_only(settings: Settings, core: Core) -> None:
    free = ("north", "south")
    wanted = settings.model_copy(update={"purpose_free_collections": free})
    with TestClient(create_app(wanted), base_url="http://127.0.0.1:8000") as client:
        admin = make(client, "admin")
        for name in free:
            client.post("/v1/collections", json={"name": name}, headers=admin).raise_for_status()
        secret = admin["Authorization"].removeprefix("Bearer ")
        north = make(client, "search", admin=secret, collections=["north"])
        assert client.get("/v1/session", headers=admin).json()["purpose_free_collections"] == list(free)
        assert client.get("/v1/session", headers=north).json()["purpose_free_collections"] == ["north"]


def refused(*arguments: str) -> bool:
    told = CliRunner().invoke(app, list(arguments))
    if told.exception is None:
        return False
    assert getattr(told.exception, "code", "") == "purpose_required", told.exception
    assert "--purpose" in str(told.exception)
    return True


def test_verbs_ask_for_a_purpose_once_there_is_a_key(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = str(next((data / "people").glob("*.jpg")))
    searches = (["search", "red"], ["search", "--image", image], ["search", "red", "--not", "blue"])
    assert not any(refused(*one) for one in searches)
    before = json.loads(verb("search", "red", "--json"))["query_id"]
    verb("keys", "create", "desk", "--scope", "search")
    sheet = str(data / "sheet.csv")
    for one in (*searches, ["queries", "search", before], ["queries", "results", before, "--out", sheet]):
        assert refused(*one), one
    assert not Path(sheet).exists()
    assert not any(refused(*one, *("--purpose", "case 17")) for one in searches)
    verb("queries", "save", before, "--purpose", "case 17")
    assert not refused("queries", "search", before)
    with pytest.raises(PurposeRequiredError, match="cannot be taken away"):
        verb("queries", "save", before, "--purpose", "")
    verb("queries", "save", before, "--purpose", "case 18")
    (entry, *_) = json.loads(verb("audit", "list", "--action", "change.query", "--json"))["entries"]
    assert (entry["words"]["purpose"], entry["words"]["purpose_before"]) == ("case 18", "case 17")
    assert not refused("subject", "--image", image)  # what that is for goes without saying
    assert refused("search", "red", "--collection", "default")
    monkeypatch.setenv("DESCRY_PURPOSE_FREE_COLLECTIONS", "other, default")
    assert not refused("search", "red", "--collection", "default")
    assert refused("search", "red")
    monkeypatch.setenv("DESCRY_PURPOSE_REQUIRED", "false")
    assert not refused("search", "red")


def test_a_revoked_key_leaves_the_gallery_closed(data: Path) -> None:
    verb("keys", "create", "desk", "--scope", "search")
    verb("keys", "revoke", "1")
    assert refused("search", "red")


@pytest.mark.parametrize(
    ("written", "meant"), [("auto", "auto"), ("TRUE", "true"), ("1", "true"), (" no ", "false"), (True, "true")]
)
def test_the_setting_is_read_as_it_was_before(written: object, meant: str) -> None:
    assert load_settings(purpose_required=written).purpose_required == meant


def test_another_word_is_no_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"DESCRY_PURPOSE_REQUIRED.*'auto', 'true' or 'false'"):
        load_settings(purpose_required="always")


def test_a_purpose_costs_the_command_line_no_look_at_keys(core: Core, tmp_path: Path) -> None:
    nothing = Database(f"sqlite:///{tmp_path / 'empty.sqlite3'}")  # any look at its keys fails
    check_purpose_here(SearchOptions(purpose="case 17"), core.settings, nothing)
    with pytest.raises(OperationalError, match="no such table"):
        check_purpose_here(SearchOptions(), core.settings, nothing)
    nothing.close()
