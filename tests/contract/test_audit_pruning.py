"""Old entries of the audit leave on both databases: what stays is verified, and nothing goes unsaid."""

import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.audit import pruning
from app.audit.chain import PRUNED, Head
from app.audit.note import Note
from app.audit.pruning import old, prune, prune_by_rule
from app.audit.repository import AuditChain, AuditRepository
from app.database.audit_table import AuditEntry
from app.database.sessions import Database
from app.database.tables import now
from app.errors import AuditNotWholeError, AuditTooYoungError
from app.settings import Settings
from tests.contract.test_audit_contract import verify

DAYS = 400
"""Entries that are so many days old, then one less for each."""


def entries(database: Database) -> list[AuditEntry]:
    with database.read() as session:
        return list(AuditRepository(session).all())


def ago(days: float) -> datetime:
    return now() - timedelta(days=days)


@pytest.fixture
def heads(database: Database) -> list[Head]:
    """Ten old entries, the newest of 391 days, and two of today; their heads."""
    rows = [Note("search.text", "desk", words={"query": f"red {n}"}, at=ago(DAYS - n)).row() for n in range(10)]
    rows += [Note("view.image", "desk", image_ids=[n]).row() for n in range(2)]
    with database.append() as connection:
        AuditChain(connection).append(rows)
    return [Head(one.sequence, one.hash) for one in entries(database)]


def test_the_beginning_goes_and_the_rest_is_verified(database: Database, heads: list[Head]) -> None:
    before = ago(DAYS - 6.5)
    assert old(database, before) == 7
    assert prune(database, before, "the rule") == 7
    told = verify(database, heads[-1])
    assert (told.whole, told.entries, told.removed) == (True, 6, 7)
    last = entries(database)[-1]
    assert [one.sequence for one in entries(database)] == [8, 9, 10, 11, 12, 13]
    assert (last.action, last.actor, last.at > ago(1)) == (PRUNED, "housekeeping", True)
    expected = {"removed_upto": 7, "removed_hash": heads[6].hash, "entries": 7, "policy": "the rule"}
    assert expected.items() <= last.facts.items()
    assert verify(database, heads[6]).whole  # the last one that went can still be compared with, by the anchor
    assert [one.kind for one in verify(database, Head(7, "0" * 64)).problems] == ["head_differs"]
    assert [one.kind for one in verify(database, heads[5]).problems] == ["head_removed"]
    assert prune(database, before, "the rule") == old(database, before) == 0
    assert prune(database, ago(100), "the rule") == 3
    assert (verify(database, heads[-1]).whole, verify(database).removed) == (True, 10)


def test_in_chunks_each_of_which_says_so(
    database: Database, heads: list[Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "CHUNK", 4)
    stops = iter([False, True])
    assert prune(database, ago(100), "the rule", stop=lambda: next(stops)) == 4  # as one that is ended in between
    assert verify(database, heads[-1]).whole
    assert prune(database, ago(100), "the rule") == 6
    told = verify(database, heads[-1])
    assert (told.whole, told.removed) == (True, 10)
    removals = [one.facts["removed_upto"] for one in entries(database) if one.action == PRUNED]
    assert removals == [4, 8, 10]


def test_an_error_within_a_chunk_leaves_everything(
    database: Database, heads: list[Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:  # noqa: ANN401
        raise OSError("the power goes")

    with monkeypatch.context() as patch:
        patch.setattr(AuditChain, "remove_upto", broken)
        with pytest.raises(OSError, match="the power goes"):
            prune(database, ago(100), "the rule")
    told = verify(database, heads[-1])
    assert (told.whole, told.entries, told.removed) == (True, 12, 0)


def test_everything_may_be_old(database: Database, heads: list[Head]) -> None:
    with database.append() as session:
        session.execute(text("DELETE FROM audit_entries WHERE sequence > 10"))
    assert prune(database, ago(100), "the rule") == 10
    told = verify(database)
    assert (told.whole, told.entries, told.removed) == (True, 1, 10)
    with database.append() as connection:
        AuditChain(connection).append([Note("view.image", "desk").row()])
    assert verify(database).whole


@pytest.mark.parametrize(
    ("done", "kind"),
    [
        ("DELETE FROM audit_entries WHERE sequence <= 8", "missing"),  # more than was said
        ("DELETE FROM audit_entries WHERE action = 'audit.prune'", "missing"),
        ("UPDATE audit_entries SET action = 'view.image' WHERE action = 'audit.prune'", "changed"),
        ("UPDATE audit_entries SET previous = hash WHERE sequence = 8", "changed"),
    ],
)
def test_what_is_removed_otherwise_is_named(database: Database, heads: list[Head], done: str, kind: str) -> None:
    prune(database, ago(DAYS - 6.5), "the rule")
    with database.write() as session:
        session.execute(text(done))
    told = verify(database)
    assert not told.whole
    assert kind in [one.kind for one in told.problems]
    with pytest.raises(AuditNotWholeError, match="descry audit verify"):
        # The last one names nothing before entry 8, or that is not what it was.
        prune(database, ago(100), "the rule")


def test_what_somebody_changed_is_not_removed(
    database: Database, heads: list[Head], caplog: pytest.LogCaptureFixture
) -> None:
    with database.write() as session:
        session.execute(text("UPDATE audit_entries SET actor = 'nobody' WHERE sequence = 3"))
    with pytest.raises(AuditNotWholeError, match="changed at 3"):
        prune(database, ago(100), "the rule")
    with caplog.at_level(logging.ERROR):
        assert prune_by_rule(database, Settings(data_dir=Path("unused"), audit_keep_days=90)) == 0
    assert "changed at 3" in caplog.text
    assert len(entries(database)) == 12


def test_the_rule_of_the_settings_and_its_limit(database: Database, heads: list[Head]) -> None:
    with pytest.raises(AuditTooYoungError, match="last 90 days"):
        prune(database, ago(89), "the rule")
    with pytest.raises(AuditTooYoungError):
        old(database, ago(0))
    assert prune_by_rule(database, Settings(data_dir=Path("unused"))) == 0
    assert prune_by_rule(database, Settings(data_dir=Path("unused"), audit_keep_days=DAYS + 1)) == 0
    assert len(entries(database)) == 12
    assert prune_by_rule(database, Settings(data_dir=Path("unused"), audit_keep_days=90)) == 10
    assert entries(database)[-1].facts["policy"] == "DESCRY_AUDIT_KEEP_DAYS=90"
    assert verify(database, heads[-1]).whole
