"""The audit of the command line: one entry for each verb that reads or changes, and the verbs of the audit itself."""

import getpass
import json
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from app.audit.actions import verbs
from app.audit.note import Note
from app.audit.repository import AuditChain, AuditRepository
from app.cli import app
from app.commands.training import VERBS
from app.database.audit_table import AuditEntry
from app.database.migrate import upgrade
from app.database.sessions import Database
from app.errors import AuditTooYoungError, AuditUnavailableError, IdentityNotFoundError
from app.settings import Settings
from tests.app.test_command_line import verb
from tests.app.test_queries_verbs import data
from tests.app.test_search_api import people

__all__ = ["data", "people"]


def entries(folder: Path) -> list[AuditEntry]:
    database = Database(Settings(data_dir=folder / "data").database)
    with database.read() as session:
        found = list(AuditRepository(session).all())
    database.close()
    return found


def leaves(group: typer.Typer, *names: str) -> list[str]:
    found = [" ".join((*names, command.name or "")) for command in group.registered_commands]
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        found += leaves(inner.typer_instance, *names, inner.name or "")
    return found


def test_every_verb_has_an_action_and_every_action_a_verb() -> None:
    assert set(leaves(app)) == set(verbs()) | set(VERBS)  # training knows no database


def test_each_verb_leaves_one_entry_by_its_user(data: Path) -> None:
    found = json.loads(verb("search", "a red coat", "--purpose", "case 17", "--json"))
    query = found["query_id"]
    identity = found["candidates"][0]["identity"]["id"]
    verb("queries", "show", query)
    verb("queries", "save", query, "--name", "gate")
    verb("identities", "timeline", str(identity))
    verb("identities", "merge", str(identity), "5", "--drop-names")
    verb("explain", "1", "red coat")
    verb("keys", "create", "desk", "--scope", "search")
    verb("keys", "list")
    verb("keys", "revoke", "1")
    verb("export", "--out", str(data / "out"))
    verb("jobs", "list")
    verb("models", "list")
    verb("audit", "list")
    with pytest.raises(IdentityNotFoundError):
        verb("identities", "timeline", "999")
    told = [(entry.action, entry.outcome) for entry in entries(data)]
    assert told == [
        ("change.model", "ok"),
        ("change.ingest", "ok"),
        ("search.cli", "ok"),
        ("view.query", "ok"),
        ("change.query", "ok"),
        ("view.timeline", "ok"),
        ("change.identity.merge", "ok"),
        ("view.support", "ok"),
        ("key.create", "ok"),
        ("key.list", "ok"),
        ("key.revoke", "ok"),
        ("export.create", "ok"),
        ("audit.list", "ok"),
        ("view.timeline", "identity_not_found"),
    ]
    assert {entry.actor for entry in entries(data)} == {f"cli:{getpass.getuser()}"}
    search = entries(data)[2]
    assert json.loads(search.words or "")["purpose"] == "case 17"
    assert search.identity_ids == [one["identity"]["id"] for one in found["candidates"]]
    assert search.facts["version"] == found["model_version"]["id"]


def test_the_chain_is_verified_and_exported(data: Path) -> None:
    verb("search", "red")
    told = json.loads(verb("audit", "verify", "--json"))
    assert (told["whole"], told["problems"]) == (True, [])
    verb("audit", "export", "--out", str(data / "audit.jsonl"))
    lines = [json.loads(line) for line in (data / "audit.jsonl").read_text().splitlines()]
    assert [line["sequence"] for line in lines[:-1]] == list(range(1, len(lines)))
    head = lines[-1]["head"]
    assert head == f"{lines[-2]['sequence']}:{lines[-2]['hash']}"
    assert "whole" in verb("audit", "verify", "--head", head)
    listed = json.loads(verb("audit", "list", "--action", "search.*", "--json"))
    assert [entry["words"]["query"] for entry in listed["entries"]] == ["red"]
    with sqlite3.connect(data / "data" / "descry.sqlite3") as connection:
        connection.execute("UPDATE audit_entries SET actor = 'nobody' WHERE sequence = 2")
    found = CliRunner().invoke(app, ["audit", "verify", "--head", head])
    assert found.exit_code == 1
    assert "changed at 2" in found.stdout
    assert "NOT whole" in found.stdout


def test_without_a_writable_audit_nothing_is_shown(
    data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(data / "data" / "descry.sqlite3") as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    for arguments in (["search", "red"], ["identities", "timeline", "1"], ["queries", "list"]):
        shown = CliRunner().invoke(app, arguments)
        assert isinstance(shown.exception, AuditUnavailableError), arguments
        assert shown.stdout == ""
    assert CliRunner().invoke(app, ["export", "--out", str(data / "out")]).exit_code == 1
    assert not (data / "out").exists()
    assert CliRunner().invoke(app, ["keys", "create", "k", "--scope", "admin"]).exit_code == 1
    with sqlite3.connect(data / "data" / "descry.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM access_keys").fetchone() == (0,)


def test_where_a_purpose_is_required_no_verb_searches_without(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCRY_PURPOSE_REQUIRED", "true")
    for arguments in (["search", "red"], ["search", "red", "--not", "blue"]):
        shown = CliRunner().invoke(app, arguments)
        assert getattr(shown.exception, "code", "") == "purpose_required"
    assert CliRunner().invoke(app, ["search", "red", "--purpose", "case 17"]).exit_code == 0


def test_what_touches_a_person_as_a_whole_is_told_as_what_it_is(data: Path, tmp_path: Path) -> None:
    found = json.loads(verb("search", "a red coat", "--purpose", "case of Miller", "--json"))
    identity = found["candidates"][0]["identity"]["id"]
    picture = tmp_path / "someone.jpg"
    Image.new("RGB", (24, 48), (200, 30, 30)).save(picture)
    before = len(entries(data))
    verb("subject", str(identity))
    verb("subject", "--image", str(picture))
    verb("subject", str(identity), "--export", str(tmp_path / "all.zip"))
    verb("backup", str(tmp_path / "backup"))
    verb("erase", "--identity", str(identity))
    verb("restore", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "again"))
    found_entries = entries(data)[before:]
    assert [entry.action for entry in found_entries] == [
        "view.subject",
        "search.subject",
        "export.subject",
        "export.backup",
        "change.erase",
    ]
    assert identity in found_entries[1].identity_ids
    assert all(entry.identity_ids == [identity] for entry in (found_entries[0], found_entries[2], found_entries[4]))
    shutil.move(tmp_path / "again", tmp_path / "restored" / "data")
    last = entries(tmp_path / "restored")[-2:]
    assert [entry.action for entry in last] == ["export.backup", "change.restore"]


def test_an_erasure_takes_what_was_written_about_the_person_alone(data: Path) -> None:
    found = json.loads(verb("search", "somebody with a bag", "--purpose", "case 17", "--json"))
    identity = found["candidates"][0]["identity"]
    verb("subject", str(identity["id"]), "--export", str(data / f"{identity['external_id'] or 'somebody'}.zip"))
    assert any(entry.action == "export.subject" and entry.words for entry in entries(data))
    verb("erase", "--identity", str(identity["id"]))
    left = {entry.action: entry.words for entry in entries(data)}
    assert left["export.subject"] is None
    assert "case 17" in (left["search.cli"] or "")
    checked = json.loads(verb("audit", "verify", "--json"))
    assert (checked["whole"], checked["erased"]) == (True, 1)


def test_old_entries_are_removed_and_a_backup_of_the_rest_is_whole(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    past = datetime.now(UTC) - timedelta(days=200)
    folder = data / "past"
    monkeypatch.setenv("DESCRY_DATA_DIR", str(folder))
    database = Database(Settings(data_dir=folder).database)
    upgrade(database)
    with database.append() as connection:
        AuditChain(connection).append([Note("view.image", "desk", at=past).row() for _ in range(5)])
    database.close()
    for arguments in ([], ["--before", "yesterday"]):
        assert CliRunner().invoke(app, ["audit", "prune", *arguments]).exit_code == 2
    with pytest.raises(AuditTooYoungError):
        verb("audit", "prune", "--before", f"{datetime.now(UTC):%Y-%m-%d}")
    before = ["--before", f"{past + timedelta(days=30):%Y-%m-%d}", "--json"]
    assert json.loads(verb("audit", "prune", "--dry-run", *before))["entries"] == 5
    assert json.loads(verb("audit", "verify", "--json"))["removed"] == 0
    assert json.loads(verb("audit", "prune", *before))["entries"] == 5
    assert "1 to 5 removed by rule" in verb("audit", "verify")
    monkeypatch.setenv("DESCRY_AUDIT_KEEP_DAYS", "90")
    assert "0 entries from before" in verb("audit", "prune")
    listed = json.loads(verb("audit", "list", "--action", "audit.prune", "--json"))["entries"]
    (said,) = [one for one in listed if "removed_upto" in one["facts"]]
    assert (said["actor"], said["facts"]["removed_upto"]) == (f"cli:{getpass.getuser()}", 5)
    verb("backup", str(data / "copy"))
    monkeypatch.setenv("DESCRY_DATA_DIR", str(data / "again"))
    verb("restore", str(data / "copy"))
    told = json.loads(verb("audit", "verify", "--json"))
    assert (told["whole"], told["removed"]) == (True, 5)
