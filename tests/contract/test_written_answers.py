"""What the database writes of images and people for an answer is what the API says of them elsewhere."""

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.core import Core
from app.database.sessions import Database
from app.database.tables import Identity, Image
from app.database.visible import Visible, seeing
from app.gallery.repository import ImageRepository
from app.identities.repository import IdentityRepository
from app.identities.schemas import IdentityOut, ImageOut
from app.search.query import Part, Query
from app.search.repository import SearchRepository
from app.search.schemas import SearchAnswer, SearchOptions, Warned
from app.search.scope import Scope
from app.search.service import SearchService
from tests.app.conftest import IngestFolder
from tests.app.toy import picture
from tests.contract.test_repositories import TREE, image

HARD = "quotes \" ' \\ / \u2028 \x1e\x1f\x01\x7f\t\n </script> ß \U0001f9e5 %s %(ids)s ? :ids {} \\u0041"
NUMBERS = {"big": 12345678901234567890123, "tiny": 1e-300, "negative": -0.5, "whole": 3.0, "empty": {}, "none": None}
AFAR = timezone(timedelta(hours=5, minutes=45))
INSTANTS = (
    datetime(2026, 3, 29, 2, 30, 15, 123456, AFAR),
    datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2026, 1, 1, 0, 0, 0, 120, UTC),
    None,
)


def as_api(schema: ImageOut | IdentityOut) -> Any:  # noqa: ANN401  JSON
    return json.loads(schema.model_dump_json())


def add(session: Session) -> list[int]:
    (unnamed,) = IdentityRepository(session).add_provisional(1)
    named = IdentityRepository(session).resolve([HARD.replace("\n", "")])[HARD.replace("\n", "")]
    session.get_one(Identity, named).attributes = {**TREE, **NUMBERS}
    rows = [
        image(
            number,
            named if number % 2 else unnamed,
            captured_at=at,
            camera=HARD if number else None,
            description=None if number == 2 else HARD * 20,
            attributes={**TREE, **NUMBERS, "hard": HARD} if number else {},
            source_name="x/\N{SNOWMAN}.jpg" if number else None,
            track="7" if number == 1 else None,
        )
        for number, at in enumerate(INSTANTS)
    ]
    ids = ImageRepository(session).add(rows)
    session.get_one(Image, ids[1]).near_duplicate_of = ids[0]
    return ids


@pytest.mark.parametrize("limits", [None, Visible(7, frozenset({1}))], ids=["all", "limited"])
def test_a_page_says_what_the_schemas_say(database: Database, limits: Visible | None) -> None:
    with database.write() as session:
        ids = add(session)
    with database.read() as session, seeing(limits):
        found = SearchRepository(session, Scope()).page([*ids, 10**12])
        assert sorted(found) == ids
        for number in ids:
            row = session.get_one(Image, number)
            written, person = (json.loads(text) for text in found[number])
            assert written == as_api(ImageOut.of(row))
            assert list(written) == list(ImageOut.model_fields)
            assert person == as_api(IdentityOut.of(session.get_one(Identity, row.identity_id)))
            assert list(person) == list(IdentityOut.model_fields)


def test_nothing_is_written_of_what_a_key_cannot_see(database: Database) -> None:
    with database.write() as session:
        ids = add(session)
    with database.read() as session, seeing(Visible(7, frozenset({2}))):
        images = SearchRepository(session, Scope())
        assert (images.page(ids), images.identity_of(ids), images.of_identities([1, 2])) == ({}, {}, {})
        assert images.newest() == 0
    with database.read() as session:
        images = SearchRepository(session, Scope())
        assert (images.page([]), images.identity_of([]), images.of_identities([])) == ({}, {}, {})
        assert (sorted(images.identity_of(ids)), images.newest()) == (ids, ids[-1])


@pytest.fixture
def gallery(ingest: IngestFolder, tmp_path: Path) -> None:
    """Three people with two images each."""
    for name, colour in (("A", "red"), ("B", "green"), ("C", "blue")):
        for number in range(2):
            picture(tmp_path / "people" / name / f"{number}.png", colour, shade=20 * number)
    ingest(tmp_path / "people")


@pytest.mark.usefixtures("gallery")
def test_an_answer_reads_as_its_schema_and_over_the_wire(client: TestClient) -> None:
    sent = client.post("/v1/search/text", json={"query": "a person in red", "limit": 2})
    assert sent.status_code == 200
    assert sent.headers["content-type"] == "application/json"
    assert sent.json() == SearchAnswer.model_validate_json(sent.content).model_dump(mode="json")
    assert list(sent.json()) == list(SearchAnswer.model_fields)
    person = sent.json()["candidates"][0]["identity"]
    detail = client.get(f"/v1/identities/{person['id']}").json()
    shown = {found["id"]: found for found in sent.json()["candidates"][0]["images"]}
    known = {found["id"]: found for found in detail.pop("images")}
    assert person == detail
    assert all(known[number] == {k: v for k, v in found.items() if k != "score"} for number, found in shown.items())


@pytest.mark.usefixtures("gallery")
@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("group_by", ["identity", "image"])
def test_ids_and_parts_are_those_of_the_answer(core: Core, composed: bool, group_by: str) -> None:
    core.active.follow()
    model = core.active.current()
    vector = model.encoder.submit_text("a person").result().vector
    parts = (Part(vector, "text"), Part(np.roll(vector, 1), "text", 0.5)) if composed else (Part(vector, "text"),)
    query = Query(parts, {"query": HARD}, (Warned(code="unknown_words", message=HARD),), composed=composed)
    options = SearchOptions.model_validate({"limit": 2, "group_by": group_by})
    written = SearchService(core.database, model).written(query, options, started=time.perf_counter())
    answer = written.read()
    assert written.identities == tuple(one.identity.id for one in answer.candidates)
    assert written.images == tuple(found.id for one in answer.candidates for found in one.images)
    assert (written.query_id, written.version_id) == (answer.query_id, answer.model_version.id)
    assert written.took == answer.took_ms
    assert answer.warnings[0].message == HARD
    assert [len(one.parts or ()) for one in answer.candidates] == [2 if composed else 0] * 2
    assert [one.score for one in answer.candidates] == sorted((one.score for one in answer.candidates), reverse=True)
