"""Queries and feedback on both databases: written in groups, found, swept; verdicts follow people and go with them."""

import base64
import json
import logging
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.database.sessions import Database
from app.database.tables import Feedback, Query, now
from app.errors import QueryNotFoundError
from app.gallery.repository import ImageRepository
from app.identities.changes import IdentityChanges
from app.identities.repository import IdentityRepository
from app.identities.service import IdentityService
from app.queries import ids
from app.queries.definition import unpacked
from app.queries.feedback import FeedbackService, judged
from app.queries.ids import may_come_s, new_id
from app.queries.pairs import confirmed_texts
from app.queries.recorder import AskedQuery, Recorder
from app.queries.repository import FeedbackRepository, QueryRepository
from app.queries.schemas import FeedbackIn
from app.queries.service import QueryService, sweep
from tests.contract.test_repositories import TREE, image

numbers = count(1)


def asked(number: int, **fields: Any) -> AskedQuery:  # noqa: ANN401  fields of AskedQuery
    return AskedQuery(
        **{
            "id": f"{number:032x}",
            "kind": "text",
            "definition": {"query": f"q{number}"},
            "purpose": None,
            "version_id": 1,
        }
        | fields
    )


def people(session: Session, count: int) -> list[tuple[int, list[int]]]:
    """Provisional identities of two images each."""
    made = IdentityRepository(session).add_provisional(count)
    return [(one, ImageRepository(session).add([image(next(numbers), one), image(next(numbers), one)])) for one in made]


def give(database: Database, query: str, *verdicts: dict[str, Any]) -> None:
    with database.write() as session:
        FeedbackService(session).give(query, [FeedbackIn.model_validate(one) for one in verdicts])


def rows(database: Database, query: str) -> set[tuple[int, int | None, str]]:
    with database.read() as session:
        return {(r.identity_id, r.image_id, r.verdict) for r in FeedbackRepository(session).of_query(query)}


@pytest.fixture
def query(database: Database) -> str:
    recorder = Recorder(database)
    recorder.put(asked(7))
    recorder.close()
    return asked(7).id


def test_what_was_asked_comes_back_as_it_was(database: Database) -> None:
    recorder, rng = Recorder(database), np.random.default_rng(0)
    vectors = {letter * 64: rng.standard_normal(5).astype(np.float32) for letter in "ab"}
    definition = {
        "parts": [{"picture": {"sha256": "b" * 64}}, {"text": TREE["text"], "weight": 0.5}, {"identity_id": 2**62}],
        "negatives": [{"picture": {"sha256": "a" * 64}}, {"picture": {"sha256": "b" * 64}}],
    }
    at = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
    put = asked(1, kind="composed", definition=definition, purpose="Zürich ☃ %s", vectors=vectors, created_at=at)
    recorder.put(put)
    assert recorder.settle(put.id)
    found = QueryService(database, recorder).find(put.id)
    assert (found.kind, found.definition, found.purpose, found.created_at) == (
        "composed",
        definition,
        "Zürich ☃ %s",
        at,
    )
    back = unpacked(found.definition, found.vectors)
    assert {name: vector.tolist() for name, vector in back.items()} == {n: v.tolist() for n, v in vectors.items()}
    recorder.close()


def test_a_query_of_another_process_is_waited_for_until_it_is_written(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_id()
    monkeypatch.setattr(ids, "_MARK", ids._MARK ^ 1)  # as in another process
    here, there = QueryService(database, Recorder(database)), Recorder(database)
    with ThreadPoolExecutor() as pool:
        found, written = pool.submit(here.find, made), pool.submit(here.written, made)
        assert not found.done()
        there.put(asked(1, id=made))
        assert found.result().id == made
        written.result()
    with pytest.raises(QueryNotFoundError):
        here.find(new_id())  # of this process, which would know it
    there.close()


def test_an_id_says_how_long_another_process_may_still_write_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    made = new_id()
    assert made != new_id()
    assert uuid.UUID(made).version == 7
    assert may_come_s(made) == 0
    monkeypatch.setattr(ids, "_MARK", ids._MARK ^ 1)
    assert 0 < may_come_s(made) <= 1.5
    clock = time.time()
    for seconds, waits in ((-4, True), (-6, False), (2, False), (9e9, False)):
        monkeypatch.setattr(time, "time", lambda now=clock + seconds: now)
        assert (0 < may_come_s(made) <= 1.5) == waits
    assert [may_come_s(text) for text in (uuid.uuid4().hex, "", "no id", made.upper() + "A", "f" * 32)] == [0] * 5


def test_queries_are_written_in_few_transactions(database: Database) -> None:
    recorder, commits = Recorder(database), list[object]()

    def note(connection: object) -> None:
        commits.append(connection)

    event.listen(database.engine, "commit", note)
    for number in range(2000):
        recorder.put(asked(number))
    recorder.close()
    event.remove(database.engine, "commit", note)
    with database.read() as session:
        assert len(QueryRepository(session).known(asked(number).id for number in range(2000))) == 2000
    assert len(commits) <= 20


def test_a_query_that_the_database_refuses_does_not_keep_the_others(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(database)
    with database.write() as session, caplog.at_level(logging.WARNING):
        for number in range(3):
            recorder.put(asked(number))
        recorder.put(asked(3, id="x" * 32, kind=None))
        recorder.put(asked(4, id="y" * 32, created_at=datetime(2026, 3, 1)))
        recorder.put(asked(5, id="z" * 32, purpose="half a character \ud800"))
        session.execute(text("SELECT 1"))
    recorder.close()
    with database.read() as session:
        assert len(QueryRepository(session).known([asked(n).id for n in range(3)])) == 3
    assert caplog.text.count("is not kept") == 3


def test_beyond_the_bound_the_oldest_is_given_up(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(database, waiting=5)
    with database.write(), caplog.at_level(logging.WARNING):
        for number in range(8):
            recorder.put(asked(number))
        assert [recorder.find(asked(n).id) is not None for n in range(8)] == [False] * 3 + [True] * 5
    recorder.close()
    assert caplog.text.count("is not kept") == 3


def test_a_table_that_is_away_costs_no_query(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(database)
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE queries RENAME TO elsewhere"))
    failed = threading.Event()

    class _Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            failed.set()

    handler = _Heard(logging.WARNING)
    logging.getLogger("app.queries.recorder").addHandler(handler)
    try:
        recorder.put(asked(1))
        assert failed.wait(30)
    finally:
        logging.getLogger("app.queries.recorder").removeHandler(handler)
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO queries"))
    recorder.put(asked(2))
    assert recorder.settle(asked(2).id)
    recorder.close()
    with database.read() as session:
        assert len(QueryRepository(session).known([asked(1).id, asked(2).id])) == 2


def test_pages_have_each_query_once_also_of_one_instant(database: Database) -> None:
    recorder, at = Recorder(database), datetime(2026, 3, 1, tzinfo=UTC)
    for number in range(25):
        recorder.put(asked(number, created_at=at + timedelta(seconds=number // 10)))
    service, seen, cursor = QueryService(database, recorder), list[str](), None
    recorder.settle_all(30)
    while True:
        page = service.page(saved=False, cursor=cursor, limit=4)
        seen += [one.id for one in page.queries]
        if (cursor := page.next_cursor) is None:
            break
    wanted = sorted(range(25), key=lambda number: (number // 10, number), reverse=True)
    assert seen == [asked(number).id for number in wanted]
    recorder.close()


def test_a_sweep_takes_what_is_old_and_neither_named_nor_judged(database: Database, query: str) -> None:
    recorder = Recorder(database)
    for number in range(1, 4):
        recorder.put(asked(number, created_at=now() - timedelta(days=8)))
    recorder.settle_all(30)
    with database.write() as session:
        ((person, _),) = people(session, 1)
        named = session.get(Query, asked(1).id)
        assert named is not None
        named.name, named.saved_at = "kept", now()
    give(database, asked(2).id, {"identity_id": person, "verdict": "reject"})
    assert sweep(database, 7 * 86_400.0) == 1
    with database.read() as session:
        left = set(session.scalars(select(Query.id)))
    assert left == {query, asked(1).id, asked(2).id}
    recorder.close()


def test_verdicts_follow_merges_and_their_undoing(database: Database, query: str) -> None:
    with database.write() as session:
        (a, _), (b, of_b), (c, _) = people(session, 3)
    give(
        database,
        query,
        {"identity_id": b, "verdict": "confirm"},
        {"image_id": of_b[0], "verdict": "reject"},
        {"identity_id": a, "verdict": "reject"},
        {"identity_id": c, "verdict": "reject"},
    )
    with database.write() as session:
        (merged,) = IdentityChanges(session).merge(a, [b])
    assert rows(database, query) == {
        (a, None, "confirm"),
        (a, of_b[0], "reject"),
        (a, None, "reject"),
        (c, None, "reject"),
    }
    with database.read() as session:
        holds = judged(FeedbackRepository(session).of_query(query))
    assert not holds.confirmed
    assert (set(holds.rejected), set(holds.rejected_images)) == ({a, c}, {of_b[0]})
    with database.write() as session:
        IdentityChanges(session).undo_merge(a, merged)
    assert rows(database, query) == {
        (b, None, "confirm"),
        (b, of_b[0], "reject"),
        (a, None, "reject"),
        (c, None, "reject"),
    }


def test_a_verdict_on_an_image_goes_where_a_split_puts_it(database: Database, query: str) -> None:
    with database.write() as session:
        ((a, of_a),) = people(session, 1)
    give(database, query, {"image_id": of_a[0], "verdict": "confirm"}, {"identity_id": a, "verdict": "reject"})
    with database.write() as session:
        new = IdentityChanges(session).split(a, [of_a[0]])
    assert rows(database, query) == {(new, of_a[0], "confirm"), (a, None, "reject")}


def test_erasure_takes_verdicts_along_also_those_that_a_merge_brought(database: Database, query: str) -> None:
    with database.write() as session:
        (a, of_a), (b, _), (c, of_c) = people(session, 3)
        row = session.get(Query, query)
        assert row is not None
        row.vectors = b"\0" * 8
    give(database, query, {"identity_id": b, "verdict": "confirm"}, {"image_id": of_a[0], "verdict": "confirm"})
    give(database, query, {"image_id": of_c[0], "verdict": "reject"}, {"image_id": of_c[1], "verdict": "reject"})
    with database.write() as session:
        IdentityChanges(session).merge(a, [b])
    with database.write() as session:
        IdentityService(session).delete_image(of_c[0])
    assert rows(database, query) == {(a, None, "confirm"), (a, of_a[0], "confirm"), (c, of_c[1], "reject")}
    with database.write() as session:
        IdentityService(session).delete_identity(a)
        IdentityService(session).delete_image(of_c[1])
    assert rows(database, query) == set()
    with database.read() as session:
        row = session.get(Query, query)
        assert row is not None
        assert row.vectors is None
        assert session.scalars(select(Feedback.id)).all() == []


def test_confirmed_candidates_are_described_by_the_words_of_their_queries(database: Database, query: str) -> None:
    recorder = Recorder(database)
    recorder.put(asked(8))
    recorder.put(asked(9, kind="image", definition={"picture": {"sha256": "a" * 64}}, vectors={"a" * 64: np.zeros(3)}))
    recorder.close()
    with database.write() as session:
        (a, of_a), (b, of_b), (c, _) = people(session, 3)
    give(
        database,
        query,
        {"identity_id": a, "verdict": "confirm"},
        {"image_id": of_a[1], "verdict": "reject"},
        {"image_id": of_b[0], "verdict": "confirm"},
        {"identity_id": c, "verdict": "confirm"},
    )
    give(database, query, {"identity_id": c, "verdict": "reject"})
    give(database, asked(8).id, {"image_id": of_b[0], "verdict": "confirm"})
    give(database, asked(9).id, {"identity_id": b, "verdict": "confirm"})
    with database.read() as session:
        assert confirmed_texts(session) == {of_a[0]: ["q7"], of_b[0]: ["q7", "q8"]}


@pytest.mark.parametrize(
    "place",
    [
        ["0001-01-01T00:00:00+14:00", "f" * 32],
        ["9999-12-31T23:59:59-12:00", "f" * 32],
        ["2026-01-01T00:00:00Z", "a\0b"],
        ["2026-01-01T00:00:00Z", "\ud800"],
        ["2026-01-01T00:00:00Z", {"a": 1}],
        ["2026-01-01T00:00:00", "f" * 32],
        [1, 2],
        "[" * 90,
    ],
    ids=str,
)
def test_a_cursor_that_no_list_gave_is_refused(client: TestClient, place: object) -> None:
    """Also one that could be read, and that no database compares with anything."""
    token = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    answer = client.get("/v1/queries", params={"cursor": token})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
