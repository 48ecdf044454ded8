"""The audit over HTTP: exactly one entry for each access, before its answer; none, no answer."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.testclient import TestClient

from app.access.rules import Need, rules
from app.audit.actions import action_of, routes
from app.audit.repository import AuditChain, AuditRepository
from app.audit.service import AuditService
from app.core import Core
from app.database.audit_table import AuditEntry
from app.errors import StorageError
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import IngestFolder
from tests.app.test_access_api import make
from tests.app.test_problems import check
from tests.app.test_search_api import people
from tests.app.toy import picture


def entries(core: Core) -> list[AuditEntry]:
    with core.database.read() as session:
        return list(AuditRepository(session).all())


def whole(core: Core) -> bool:
    with core.database.read() as session:
        return AuditService(session).verify().whole


@pytest.fixture
def filled(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> TestClient:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    return client


def test_every_route_has_an_action_and_every_action_a_route(client: TestClient) -> None:
    """Routes of the application itself, so that a new one without a row fails here."""
    app = client.app
    assert isinstance(app, FastAPI)
    served = {
        (method, re.sub(r"\{\w+\}", "{id}", path))
        for path, methods in app.openapi()["paths"].items()
        for method in map(str.upper, methods)
    }
    assert served <= set(routes())
    assert set(routes()) == set(rules())
    assert all(action_of(*row)[1] != f"{row[0]} ?" for row in routes())
    assert action_of("HEAD", "/v1/images/5/file") == ("view.file", "GET /v1/images/5/file")
    assert action_of("GET", "/v1/images/jane-doe/file") == ("view.file", "GET /v1/images/{id}/file")
    assert action_of("GET", "/wp-admin/jane-doe") == ("other", "GET ?")
    assert action_of("GET", "/v1/admin/audit/verify")[0] == "audit.verify"


@pytest.mark.parametrize("existing", [True, False])
def test_every_route_leaves_exactly_one_entry_or_none(filled: TestClient, core: Core, existing: bool) -> None:
    """With ids that are there, and with ids that are not; changes last, in an order that lets all of them happen."""
    query = filled.post("/v1/search/text", json={"query": "red"}).json()["query_id"]
    number = "1" if existing else "9007199254740993"
    bodies: dict[str, Any] = {
        "/v1/search/text": {"query": "red"},
        "/v1/queries/{id}/search": {},
        "/v1/queries/{id}": {"name": "x"},
        "/v1/queries/{id}/feedback": [{"identity_id": 2, "verdict": "confirm"}],
        "/v1/images/{id}/support": {"query": "red coat"},
        "/v1/images/{id}/heatmap": {"query": "red coat"},
        "/v1/identities/{id}/merge": {"identities": [3]},
        "/v1/identities/{id}/split": {"image_ids": [1]},
        "/v1/collections": {"name": "other"},
        "/v1/exports": {},
        "/v1/admin/keys": {"name": "k", "scopes": ["search"]},
    }
    order = {"GET": 0, "POST": 1, "PUT": 1, "PATCH": 2, "DELETE": 3}
    # The making of a key comes last: it ends open access.
    last = ("POST", "/v1/admin/keys")
    done = set()
    for method, path in sorted(rules(), key=lambda row: (row == last, order[row[0]], row)):
        where = path.replace("/queries/{id}", f"/queries/{query}" if existing else f"/queries/{'0' * 32}")
        where = where.replace("{id}", number).replace("{path}", "app.js")
        before = len(entries(core))
        answer = (
            filled.request(method, where, json=bodies.get(path)) if path in bodies else filled.request(method, where)
        )
        new = entries(core)[before:]
        action = routes()[method, path]
        assert [entry.action for entry in new] == ([] if action is None else [action]), (method, where, answer.text)
        if new:
            done |= {new[0].action} if new[0].outcome == "ok" else set()
            assert new[0].actor == "open", (method, path)
            assert (new[0].outcome == "ok") == (answer.status_code < 400), (method, where, new[0].outcome)
            if answer.status_code >= 400:
                assert new[0].outcome == answer.json()["code"]
    assert whole(core)
    if existing:  # else the test would be one of errors alone
        assert done >= {"search.again", "view.file", "export.results", "change.identity.delete", "key.create"}


def test_a_refusal_of_the_door_is_one_entry_whatever_the_route(filled: TestClient, core: Core) -> None:
    admin = make(filled, "admin")
    search = make(filled, "search", admin=admin["Authorization"].removeprefix("Bearer "))
    for headers, code, actor in (({}, "key_required", "unknown"), (search, "scope_missing", "test")):
        for (method, path), need in rules().items():
            if need is Need.PUBLIC or (headers and need is not Need.ADMIN):
                continue
            before = len(entries(core))
            where = path.replace("{id}", "7")
            filled.request(method, where, headers=headers)
            (entry,) = entries(core)[before:]
            assert (entry.action, entry.outcome, entry.actor) == ("refusal", code, actor), (method, path)
            assert entry.facts["target"].startswith(f"{method} /")
            assert (entry.key_id is None) == (not headers)
    assert whole(core)


@pytest.mark.usefixtures("standing")
def test_too_many_requests_are_entries_too(settings: Settings, core: Core) -> None:
    slow = settings.model_copy(update={"key_rate_per_minute": 6.0, "key_rate_burst": 2})
    with TestClient(create_app(slow), base_url="http://127.0.0.1:8000") as client:
        admin = make(client, "admin")
        before = len(entries(core))
        codes = [client.get("/v1/queries", headers=admin).status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        assert [entry.outcome for entry in entries(core)[before:]] == ["ok", "ok", "rate_limited"]


def test_an_entry_names_what_was_asked_for_what_and_what_came_back(
    filled: TestClient, core: Core, tmp_path: Path
) -> None:
    body = {"query": "a red coat", "purpose": "case 17", "filters": {"cameras": ["cam-1"]}, "limit": 2}
    answer = filled.post("/v1/search/text", json=body)
    found = answer.json()
    entry = filled.get("/v1/admin/audit", params={"action": "search.*", "limit": 1}).json()["entries"][0]
    assert (entry["words"]["query"], entry["words"]["purpose"]) == ("a red coat", "case 17")
    assert "cam-1" in str(entry["words"]["filters"])
    assert entry["identity_ids"] == [one["identity"]["id"] for one in found["candidates"]]
    assert entry["image_ids"] == [image["id"] for one in found["candidates"] for image in one["images"]]
    assert entry["facts"]["version"] == found["model_version"]["id"]
    assert entry["facts"]["request"] == answer.headers["x-request-id"]
    data = picture(tmp_path / "red.jpg", "red").read_bytes()
    check(filled.post("/v1/search/image", files={"file": ("a.jpg", b"none")}), 422, "not_an_image")
    entry = filled.get("/v1/admin/audit", params={"action": "search.image"}).json()["entries"][0]
    assert entry["words"]["picture"] == {"sha256": hashlib.sha256(b"none").hexdigest()}
    filled.post("/v1/search/image", files={"file": ("a.jpg", data)}, data={"purpose": "case 18"})
    entry = filled.get("/v1/admin/audit", params={"action": "search.image"}).json()["entries"][0]
    assert entry["words"]["picture"] == {"sha256": hashlib.sha256(data).hexdigest()}
    assert filled.get("/v1/admin/audit", params={"identity": 999}).json()["entries"] == []
    named = filled.get("/v1/admin/audit", params={"identity": found["candidates"][0]["identity"]["id"]}).json()
    assert len(named["entries"]) == 2


def test_a_search_that_fails_is_in_it_with_its_words(filled: TestClient, core: Core) -> None:
    check(filled.post("/v1/search/text", json={"query": "red", "collection": "none"}), 404, "collection_not_found")
    check(filled.post("/v1/search/text", json={"query": "  ", "purpose": "p"}), 422, "query_empty")
    first, second = entries(core)[-2:]
    assert (first.outcome, second.outcome) == ("collection_not_found", "query_empty")
    assert '"collection": "none"' in (first.words or "")
    assert '"purpose": "p"' in (second.words or "")


def test_pages_of_the_audit_follow_each_other(filled: TestClient, core: Core) -> None:
    for number in range(7):
        filled.get(f"/v1/identities/{number + 1}")
    first = filled.get("/v1/admin/audit", params={"action": "view.identity", "limit": 4}).json()
    second = filled.get(
        "/v1/admin/audit", params={"action": "view.identity", "limit": 4, "before": first["next_before"]}
    ).json()
    sequences = [entry["sequence"] for page in (first, second) for entry in page["entries"]]
    assert sequences == sorted(sequences, reverse=True)
    assert len(sequences) == 7
    assert second["next_before"] is None
    check(filled.get("/v1/admin/audit", params={"since": "2026-01-01T00:00:00"}), 422, "invalid_request")
    check(filled.get("/v1/identities/999"), 404, "identity_not_found")
    lost = filled.get("/v1/admin/audit", params={"outcome": "identity_not_found"}).json()["entries"]
    assert [entry["identity_ids"] for entry in lost] == [[999]]
    filled.post("/v1/search/text", json={"query": "red", "purpose": "Case 100%_\u00e4"})
    for part in ("case 100%", "100%_\u00e4", "Case"):
        (entry,) = filled.get("/v1/admin/audit", params={"words": part, "action": "search.*"}).json()["entries"]
        image = entry["image_ids"][0]
    assert filled.get("/v1/admin/audit", params={"words": "case 1000"}).json()["entries"] == []
    assert filled.get("/v1/admin/audit", params={"image": image}).json()["entries"][0]["image_ids"][0] == image
    later = filled.get("/v1/admin/audit", params={"since": "2099-01-01T00:00:00Z"}).json()
    assert later["entries"] == []
    told = filled.get("/v1/admin/audit/verify").json()
    assert (told["whole"], told["entries"]) == (True, len(entries(core)) - 1)  # its own came after it was read
    assert filled.get("/v1/admin/audit/verify", params={"head": told["head"]}).json()["whole"]
    check(filled.get("/v1/admin/audit/verify", params={"head": "x"}), 422, "invalid_request")


def test_a_change_and_its_entry_are_committed_together_or_not_at_all(
    filled: TestClient, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: AuditChain, rows: list[dict[str, Any]]) -> None:
        raise OSError("no room")

    before = entries(core)
    with monkeypatch.context() as patch:
        patch.setattr(AuditChain, "append", full)
        assert filled.delete("/v1/identities/1").status_code >= 500
        check(filled.post("/v1/search/text", json={"query": "red"}), 503, "audit_unavailable")
        check(filled.get("/v1/images/1/file"), 503, "audit_unavailable")
        assert filled.get("/healthz").status_code == 200
    assert len(entries(core)) == len(before)
    assert filled.get("/v1/identities/1").status_code == 200
    assert filled.delete("/v1/identities/1").status_code == 204
    assert [entry.action for entry in entries(core)[len(before) :]] == ["view.identity", "change.identity.delete"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("facts", "{broken"), ("facts", "[1]"), ("at", "yesterday"), ("key_id", "somebody"), ("identity_ids", b"1")),
        *((name, b"\xff") for name in ("actor", "action", "outcome", "words", "salt", "previous", "hash")),
    ],
)
def test_an_entry_that_cannot_be_read_any_more_hides_no_other(
    filled: TestClient, core: Core, column: str, value: str | bytes
) -> None:
    for number in range(4):
        filled.post("/v1/search/text", json={"query": f"red {number}"})
    with core.database.append() as connection:
        connection.execute(text(f"UPDATE audit_entries SET {column} = :value WHERE sequence = 2"), {"value": value})
        connection.execute(text("UPDATE audit_entries SET actor = 'nobody' WHERE sequence = 4"))
    told = filled.get("/v1/admin/audit/verify").json()
    assert {2, 4} <= {problem["sequence"] for problem in told["problems"]} <= {2, 3, 4}
    assert len(filled.get("/v1/admin/audit").json()["entries"]) > 3
    with core.database.read() as session:
        assert [entry.sequence for entry in AuditService(session).export()][:4] == [1, 2, 3, 4]
    assert filled.post("/v1/search/text", json={"query": "blue"}).status_code == 200


def test_words_are_erased_and_the_chain_stays_whole(filled: TestClient, core: Core) -> None:
    """What somebody wrote about the person goes, with every mention of the name; who looked, and at what, stays."""
    found = filled.post("/v1/search/text", json={"query": "a red coat", "purpose": "case 17"}).json()
    identity = found["candidates"][0]["identity"]["id"]
    image = found["candidates"][0]["images"][0]["id"]
    filled.post(f"/v1/images/{image}/support", json={"query": "red trousers"})
    filled.post("/v1/search/text", json={"query": "green", "purpose": 'for \u00c4nne "A"'})
    before = {entry.sequence: entry.hash for entry in entries(core)}
    with core.database.write() as session:
        assert AuditService(session).erase_words([identity], [image], ['\u00e4nne "a"', "se"]) == 2
    with core.database.read() as session:
        told = AuditService(session).verify()
    assert (told.whole, told.erased) == (True, 2)
    assert {entry.sequence: entry.hash for entry in entries(core)} == before
    support, named = filled.get("/v1/admin/audit", params={"image": image, "action": "view.support"}).json(), ""
    assert (support["entries"][0]["words"], support["entries"][0]["words_erased"]) == (None, True)
    assert support["entries"][0]["image_ids"] == [image]
    named = " ".join(str(vars(row)) for row in entries(core))
    assert "red trousers" not in named
    assert "nne" not in named
    assert "case 17" in named  # that search found others, too


def test_where_a_purpose_is_required_no_search_goes_without(settings: Settings, core: Core, tmp_path: Path) -> None:
    strict = settings.model_copy(update={"purpose_required": "true"})
    with TestClient(create_app(strict), base_url="http://127.0.0.1:8000") as client:
        for purpose in ({}, {"purpose": "  "}):
            check(client.post("/v1/search/text", json={"query": "red", **purpose}), 422, "purpose_required")
            check(client.post("/v1/search/composed", json={"parts": [{"text": "red"}]}), 422, "purpose_required")
        file = {"file": ("a.jpg", picture(tmp_path / "red.jpg", "red").read_bytes())}
        check(client.post("/v1/search/image", files=file), 422, "purpose_required")
        asked = client.post("/v1/search/text", json={"query": "red", "purpose": "case 17"})
        assert asked.status_code == 200
        again = client.post(f"/v1/queries/{asked.json()['query_id']}/search", json={})
        assert again.status_code == 200  # it is for what it was for
    assert [entry.outcome for entry in entries(core)].count("purpose_required") == 5


def test_a_search_does_not_wait_for_ever_for_its_entry(
    filled: TestClient, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process keeps the database; what was refused while it did is answered by nobody and not in the chain."""
    monkeypatch.setattr("app.audit.layer.WAIT_S", 0.2)
    before = len(entries(core))
    with core.database.write():
        for _ in range(3):
            check(filled.get("/v1/identities/1"), 503, "audit_unavailable")
    assert filled.get("/v1/identities/2").status_code == 200
    new = entries(core)[before:]
    # The first one was being written already: that an access is in the audit that was refused does no harm.
    assert [entry.identity_ids for entry in new] in ([[1], [2]], [[2]])
    assert whole(core)


def test_a_file_of_results_that_could_not_be_made_is_entered_as_that(
    filled: TestClient, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search hands its entry over before its answer is on its way; where more is to be done, it waits for that."""
    query = filled.post("/v1/search/text", json={"query": "red"}).json()["query_id"]

    def full(*_: object) -> bytes:
        raise StorageError("no room")

    monkeypatch.setattr("app.queries.endpoints.make_sheet", full)
    answer = filled.get(f"/v1/queries/{query}/results?format=csv")
    assert answer.status_code == 507
    found = entries(core)
    assert [(one.action, one.outcome) for one in found] == [("search.text", "ok"), ("export.results", "storage_failed")]
    assert all(one.image_ids and one.identity_ids for one in found)
    assert whole(core)
