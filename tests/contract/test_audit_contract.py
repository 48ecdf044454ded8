"""The chain of the audit on both databases: what is done to it is named, and several writers keep one chain."""

import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.audit.actions import changes, routes
from app.audit.chain import Head, chained
from app.audit.note import Note
from app.audit.repository import AuditChain, AuditRepository, Wanted
from app.audit.schemas import AuditVerification
from app.audit.service import AuditService
from app.audit.writer import AuditWriter
from app.core import Core
from app.database.audit_table import AuditEntry
from app.database.sessions import Database
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import people
from tests.waiting import PROCESS_S

COUNT, SEED = 12, 20261121
BODIES: dict[str, Any] = {
    "/v1/search/text": {"query": "red"},
    "/v1/search/composed": {"parts": [{"text": "red"}]},
    "/v1/queries/{id}/search": {},
    "/v1/queries/{id}": {"name": "x"},
    "/v1/queries/{id}/feedback": [{"identity_id": 2, "verdict": "confirm"}],
    "/v1/images/{id}/support": {"query": "red coat"},
    "/v1/images/{id}/heatmap": {"query": "red coat"},
    "/v1/identities/{id}": {"attributes": {"x": 1}},
    "/v1/identities/{id}/merge": {"identities": [3]},
    "/v1/identities/{id}/split": {"image_ids": [1]},
    "/v1/collections": {"name": "other"},
    "/v1/exports": {},
    "/v1/admin/keys": {"name": "k", "scopes": ["search"]},
}
"""What lets a request do what it is for."""


def row(number: int) -> dict[str, Any]:
    words = {"query": f"a person in red \0 \u00e4 {number}", "purpose": "case 17"}
    return Note("search.text", "someone", words=words, identity_ids=[number], image_ids=[number, 10 * number]).row()


def verify(database: Database, noted: Head | None = None) -> AuditVerification:
    with database.read() as session:
        return AuditService(session).verify(noted)


@pytest.fixture
def head(database: Database) -> Head:
    with database.append() as connection:
        return AuditChain(connection).append([row(number) for number in range(1, COUNT + 1)])


def test_what_is_written_is_whole_and_found(database: Database, head: Head) -> None:
    told = verify(database, head)
    assert (told.whole, told.entries, told.head) == (True, COUNT, str(head))
    with database.read() as session:
        audit = AuditRepository(session)
        assert [found.sequence for found in audit.page(Wanted(identity=1), 10, None)] == [1]
        assert [found.sequence for found in audit.page(Wanted(action="search.*"), 3, 5)] == [4, 3, 2]
        assert audit.page(Wanted(action="search"), 3, None) == audit.page(Wanted(actor="nobody"), 3, None) == []


def change(session: Session) -> None:
    session.execute(text("UPDATE audit_entries SET actor = 'nobody' WHERE sequence = 5"))


def change_ids(session: Session) -> None:
    session.execute(text("UPDATE audit_entries SET identity_ids = ',x,' WHERE sequence = 5"))


def change_words(session: Session) -> None:
    session.execute(text('UPDATE audit_entries SET words = \'{"query": "blue"}\' WHERE sequence = 5'))


def remove(session: Session) -> None:
    session.execute(text("DELETE FROM audit_entries WHERE sequence = 5"))


def renumber(session: Session, first: int, by: int) -> None:
    numbers = range(first, COUNT + 1) if by < 0 else range(COUNT, first - 1, -1)
    for number in numbers:
        session.execute(
            text("UPDATE audit_entries SET sequence = :to WHERE sequence = :at"), {"to": number + by, "at": number}
        )


def remove_and_close_the_gap(session: Session) -> None:
    remove(session)
    renumber(session, 6, -1)


def insert(session: Session) -> None:
    renumber(session, 5, 1)
    before = session.get_one(AuditEntry, 4)
    (made,) = chained([row(77)], Head(4, before.hash))
    session.add(AuditEntry(**made))


def reorder(session: Session) -> None:
    for at, to in ((5, 99), (6, 5), (99, 6)):
        session.execute(text("UPDATE audit_entries SET sequence = :to WHERE sequence = :at"), {"to": to, "at": at})


def truncate(session: Session) -> None:
    session.execute(text("DELETE FROM audit_entries WHERE sequence > 9"))


def make_anew(session: Session) -> None:
    session.execute(text("DELETE FROM audit_entries"))
    AuditChain(session.connection()).append([row(number + 100) for number in range(COUNT)])


@pytest.mark.parametrize(
    ("tamper", "kind", "place"),
    [
        (change, "changed", 5),
        (change_ids, "changed", 5),
        (change_words, "words_changed", 5),
        (remove, "missing", 5),
        (remove_and_close_the_gap, "moved", 5),
        (insert, "inserted", 5),
        (reorder, "moved", 5),
    ],
)
def test_what_is_done_to_it_is_named(
    database: Database, head: Head, tamper: Callable[[Session], None], kind: str, place: int
) -> None:
    with database.write() as session:
        tamper(session)
    told = verify(database)
    assert not told.whole
    assert (place, kind) in [(problem.sequence, problem.kind) for problem in told.problems]
    assert min(problem.sequence for problem in told.problems) == place  # nothing before it is suspected


@pytest.mark.parametrize(("tamper", "kind"), [(truncate, "truncated"), (make_anew, "head_differs")])
def test_what_the_chain_alone_cannot_show_is_found_by_a_noted_head(
    database: Database, head: Head, tamper: Callable[[Session], None], kind: str
) -> None:
    with database.write() as session:
        tamper(session)
    assert verify(database).whole
    assert [problem.kind for problem in verify(database, head).problems] == [kind]


def test_erasing_words_is_no_tampering(database: Database, head: Head) -> None:
    with database.write() as session:
        assert AuditRepository(session).forget_words([2, 3, 500]) == 2
    told = verify(database, head)
    assert (told.whole, told.erased) == (True, 2)


WRITER = """
import sys
from app.audit.note import Note
from app.audit.writer import AuditWriter
from app.database.sessions import Database
database = Database(sys.argv[1])
writer = AuditWriter(database)
for group in range(5):
    for future in [writer.submit(Note("view.image", sys.argv[2], image_ids=[i]).row()) for i in range(10)]:
        future.result(60)
writer.close()
"""


def test_several_processes_keep_one_chain(database: Database, database_url: str) -> None:
    started = [subprocess.Popen([sys.executable, "-c", WRITER, database_url, name]) for name in "abc"]
    assert [process.wait(PROCESS_S) for process in started] == [0, 0, 0]
    told = verify(database)
    assert (told.whole, told.entries) == (True, 150)
    with database.read() as session:
        written = [(found.actor, found.image_ids) for found in AuditRepository(session).all()]
    assert [written.count((name, [i])) for name in "abc" for i in range(10)] == [5] * 30


UNENDING = """
import sys
from app.audit.note import Note
from app.audit.writer import AuditWriter
from app.database.sessions import Database
writer, number = AuditWriter(Database(sys.argv[1])), 0
while True:
    numbers = range(number, number + 5)
    futures = [writer.submit(Note("view.image", sys.argv[2], image_ids=[n + 1]).row()) for n in numbers]
    for n, future in zip(numbers, futures):
        future.result(60)
        print(n + 1, flush=True)
    number += 5
"""


def test_killed_writers_leave_a_whole_chain(database: Database, database_url: str) -> None:
    """kill -9 of two writers at random moments: all that was acknowledged is there once, and the chain goes on."""
    chance = random.Random(SEED)
    started = [
        subprocess.Popen([sys.executable, "-c", UNENDING, database_url, name], stdout=subprocess.PIPE) for name in "ab"
    ]
    acknowledged = dict[str, int]()
    for name, process in zip("ab", started, strict=True):
        assert process.stdout is not None
        for _ in range(chance.randint(1, 60)):
            acknowledged[name] = int(process.stdout.readline())
        process.kill()
        acknowledged[name] += len(process.stdout.read().splitlines())
        process.wait()
        process.stdout.close()
    with database.settled() as session:
        written = [(found.actor, found.image_ids[0]) for found in AuditRepository(session).all()]
    for name, last in acknowledged.items():
        mine = [number for actor, number in written if actor == name]
        assert mine == list(range(1, len(mine) + 1))
        assert len(mine) >= last
    with database.append() as connection:
        head = AuditChain(connection).append([row(1)])
    told = verify(database, head)
    assert (told.whole, told.entries) == (True, len(written) + 1)


def test_nothing_is_answered_while_the_audit_cannot_be_written(
    client: TestClient, core: Core, ingest: IngestFolder, tmp_path: Path
) -> None:
    """The table is really gone. Every route that has an entry refuses; what it would have changed is as it was."""
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    query = client.post("/v1/search/text", json={"query": "red"}).json()["query_id"]
    client.get(f"/v1/queries/{query}")
    before = (client.get("/v1/collections").json(), client.get("/v1/models").json(), client.get("/v1/jobs").json())
    people_before = [client.get(f"/v1/identities/{number}").json() for number in range(1, 7)]
    count = verify(core.database).entries

    def renamed(old: str, new: str) -> None:
        with core.database.engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    renamed("audit_entries", "away")
    for (method, path), action in sorted(routes().items()):
        if action is None:
            continue
        where = path.replace("/queries/{id}", f"/queries/{query}").replace("{id}", "1")
        answer = client.request(method, where, json=BODIES.get(path))
        if path == "/v1/search/image":
            answer = client.post(where, files={"file": ("a.jpg", (tmp_path / "people" / "red0.jpg").read_bytes())})
        assert answer.status_code >= 500, (method, where, answer.text)
        assert set(answer.json()) <= {"type", "title", "status", "detail", "instance", "code", "request_id"}
        if not changes(action) and not action.startswith("audit."):
            assert answer.json()["code"] == "audit_unavailable", (method, where, answer.text)
    renamed("away", "audit_entries")
    assert (client.get("/v1/collections").json(), client.get("/v1/models").json(), client.get("/v1/jobs").json()) == (
        before
    )
    assert [client.get(f"/v1/identities/{number}").json() for number in range(1, 7)] == people_before
    told = verify(core.database)
    assert (told.whole, told.entries) == (True, count + 6)


def test_threads_and_changes_keep_one_chain(database: Database) -> None:
    writer = AuditWriter(database)

    def change_with_entry(number: int) -> None:
        with database.write() as session:
            AuditChain(session.connection()).append([row(number)])

    with ThreadPoolExecutor(8) as pool:
        futures = [writer.submit(row(number)) for number in range(100, 140)]
        list(pool.map(change_with_entry, range(20)))
        assert [future.result(60) for future in futures] == [None] * 40
    writer.close()
    told = verify(database)
    assert (told.whole, told.entries) == (True, 60)


def test_an_entry_that_nobody_waits_for_is_not_written(database: Database) -> None:
    writer = AuditWriter(database)
    with database.append() as connection:  # the writer has to wait
        AuditChain(connection).append([row(1)])
        first = writer.submit(row(2))
        while not first.running():
            pass
        given_up, last = writer.submit(row(3)), writer.submit(row(4))
        assert given_up.cancel()
    assert (first.result(60), last.result(60)) == (None, None)
    writer.close()
    with database.read() as session:
        assert [found.identity_ids for found in AuditRepository(session).all()] == [[1], [2], [4]]
    with pytest.raises(Exception, match="being stopped"):
        writer.submit(row(5)).result(1)
