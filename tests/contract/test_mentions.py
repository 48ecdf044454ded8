"""What the database leaves out when somebody is forgotten holds no name of theirs, on both databases."""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.audit.note import Note
from app.audit.repository import AuditChain, AuditRepository
from app.audit.service import AuditService
from app.database.audit_table import AuditEntry
from app.database.mentions import FOLDED_TO_ASCII, Names
from app.database.sessions import Database
from app.database.tables import Query, now
from app.identities.erasures import ErasureRepository

LETTERS = (
    "aAnNsStThHjJkKiIfFwy\u00df\u1e9e\u017f\u0131\u0130\ufb00\ufb01\ufb03\ufb05\ufb06\u212a\u01f0\u0149\u1e96\u1e97\u1e9a"
    "\u02be\u02bc\u0307\u030c\u0331\u00fc\u00dc\u03a3\u03c2\u0390\U0001f600\"\\/%_ '\n\x7f"
)
"""Of which short texts meet each other often: what folds into ASCII and what it folds to, wildcards, escapes."""
KNOWN = (
    "Stra\u00dfe",
    "STRA\u1e9eE",
    "\u0130rem I\u015f\u0131k",
    "Ma\u00dflis",
    "Jessica Schmidt-Hans",
    "J\u00fcrgen M\u00dcller",
    '"Bo" O\'Neil',
    "back\\slash\\u00df",
    "100%_a",
    "\U0001f600 Ann",
    "\u0418\u0440\u0438\u043d\u0430",
    "\ufb01ona",
    "Ines",
)
VARIANTS: tuple[Callable[[str], str], ...] = (
    str,
    str.upper,
    str.lower,
    str.casefold,
    str.swapcase,
    str.title,
    lambda name: unicodedata.normalize("NFD", name),
    lambda name: name.casefold().replace("ss", "\u1e9e").replace("fi", "\ufb01").replace("st", "\ufb05"),
    lambda name: name[:-1],
)
NAMES = st.sampled_from(KNOWN) | st.text(LETTERS, min_size=1, max_size=5)
QUICK = settings(
    max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Names, and texts of which some hold one, written in some way."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3))
    around = st.text(LETTERS, max_size=4)
    told = st.builds(
        lambda before, variant, name, after: before + variant(name) + after,
        around,
        st.sampled_from(VARIANTS),
        st.sampled_from(names),
        around,
    )
    return names, draw(st.lists(told | st.text(LETTERS, max_size=8), min_size=1, max_size=6))


def held(value: object, names: list[str]) -> bool:
    """The rule, by reading everything."""
    if isinstance(value, dict):
        return any(held(item, names) for item in value.values())
    if isinstance(value, list):
        return any(held(item, names) for item in value)
    wanted = [name.casefold() for name in names if len(name) >= 3]
    return isinstance(value, str) and any(name in value.casefold() for name in wanted)


@contextmanager
def undone(database: Database) -> Iterator[Session]:
    with database.write() as session:
        point = session.begin_nested()
        yield session
        point.rollback()


def entry(
    words: dict[str, Any], action: str = "search.text", people: Sequence[int] = (), images: Sequence[int] = ()
) -> dict[str, Any]:
    return Note(action, "someone", words=words, identity_ids=list(people), image_ids=list(images)).row()


def test_no_character_is_missing_in_the_list() -> None:
    """Of the Unicode of this Python: what a newer one adds is to be found here."""
    found = {chr(n) for n in range(128, sys.maxunicode + 1) if any(c.isascii() for c in chr(n).casefold())}
    assert found == set(FOLDED_TO_ASCII)
    assert all(chr(n).casefold().isascii() for n in range(128))


@QUICK
@given(case=cases())
@example(case=(["schmidt"], ["gro\u00dfchmidt", "SCHMID\u1e97", "\u017fchmidt"]))
@example(case=(["ISIK"], ["isik", "I\u0307sik", "\u0131sik", "is\u0130k"]))
def test_no_entry_is_lost_that_holds_a_name(database: Database, case: tuple[list[str], list[str]]) -> None:
    names, texts = case
    told = [*texts, texts[0] + "\udcff", "\0" + texts[-1]]  # an argument that is no text; NUL is escaped in JSON
    rows = [entry({"query": text, "more": [{"purpose": text[::-1]}], text: 1}) for text in told]
    wanted = [n for n, text in enumerate(told, 1) if held([text, text[::-1]], names)]
    with undone(database) as session:
        audit = AuditRepository(session)
        AuditChain(session.connection()).append(rows)
        perhaps = {row.sequence for row in audit.perhaps_about([], [], Names(names), ())}
        assert perhaps >= set(wanted)
        assert AuditService(session).erase_words([], [], names) == len(wanted)
        left = set(session.scalars(select(AuditEntry.sequence).where(AuditEntry.words.is_not(None))))
        assert left == set(range(1, len(told) + 1)) - set(wanted)


@QUICK
@given(case=cases())
def test_no_query_is_lost_that_holds_a_name(database: Database, case: tuple[list[str], list[str]]) -> None:
    names, texts = case
    defined, said = {"query": texts[0], "filters": [{"camera": texts[-1]}]}, texts[:2]
    same: dict[str, Any] = {"kind": "text", "created_at": now(), "model_version_id": 1}
    rows = [
        {"id": "words", "definition": defined, "name": None, "purpose": None, **same},
        {"id": "name", "definition": {"query": "red"}, "name": said[0], "purpose": None, **same},
        {"id": "purpose", "definition": {"query": "red"}, "name": None, "purpose": said[-1], **same},
    ]
    with undone(database) as session:
        session.execute(insert(Query), rows)
        ErasureRepository(session).forget_named(names)
        found = {row.id: row for row in session.execute(select(Query.id, Query.name, Query.purpose))}
        assert ("words" not in found) == held(defined, names)
        assert (found["name"].name is None) == held(said[0], names)
        assert (found["purpose"].purpose is None) == held(said[-1], names)


def test_the_database_leaves_most_out(database: Database) -> None:
    """Else the other tests would pass of a condition that is always true."""
    about = [entry({"note": "x"}, "view.support", [n], [n, 10 * n]) for n in range(1, 40)]
    plain = [entry({"query": f"a woman in wei\u00dfer bluse {n}"}, people=[n]) for n in range(1, 40)]
    named = [entry({"query": text}) for text in ("for ANNA S.", "f\u00fcr anna s.", "Hanna S", "Ma\u00dfmann")]
    with database.append() as connection:
        AuditChain(connection).append([*about, *plain, *named])

    def perhaps(people: list[int], images: list[int], *names: str) -> list[int]:
        with database.read() as session:
            found = AuditRepository(session).perhaps_about(people, images, Names(names), ("search.",))
            return [row.sequence for row in found]

    assert perhaps([], []) == []
    assert perhaps([3], [50]) == [3, 5]
    assert perhaps([], [], "Anna S.") == [79, 80]
    assert perhaps([], [], "Massmann") == [82]
    assert perhaps([], [], "ab") == []
    assert perhaps(list(range(1000)), []) == list(range(1, 40))  # too many to be compared with
    assert len(perhaps([], [], *(f"nobody {n}" for n in range(40)))) == 82


def test_json_is_written_as_the_condition_expects_it(database: Database) -> None:
    """Escapes, no character beyond ASCII: in the words of the audit and in the definitions of queries."""
    text = '\u00fc\u1e9e\U0001f600"'
    with undone(database) as session:
        AuditChain(session.connection()).append([entry({"query": text})])
        row = {"id": "a", "kind": "text", "created_at": now(), "model_version_id": 1, "definition": {"query": text}}
        session.execute(insert(Query), [row])
        connection = session.connection()
        stored = [
            connection.exec_driver_sql("SELECT words FROM audit_entries").scalar_one(),
            connection.exec_driver_sql("SELECT CAST(definition AS TEXT) FROM queries").scalar_one(),
        ]
    assert [one == json.dumps({"query": text}) for one in stored] == [True, True]
