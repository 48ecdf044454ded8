"""Queries: descriptions, filters, cursors. Answered, or refused with a code; on either database."""

import base64
import json
import time
import zlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from pydantic import ValidationError

from app.core import Core
from app.errors import ServiceError
from app.identities.timeline import _read
from app.queries.service import _place
from app.search.cursor import Cursor
from app.search.filters import Filters
from app.search.query import Part, Query
from app.search.schemas import ComposedQuery, SearchOptions, TextQuery
from app.search.service import SearchService
from app.search.understanding import check_query, understand
from app.settings import Settings
from models.checkpoint import DEMO, read_info
from models.descriptions.parser import parse
from models.descriptions.things import named_things
from tests.app.conftest import IngestFolder, core, empty_core, ingest
from tests.app.test_ingest_folder import write_manifest
from tests.app.toy import DIM, picture
from tests.contract.filter_cases import KEYS, STORED, filters
from tests.fuzz.harness import Record, fuzz, mutated, often
from tests.fuzz.values import scalars, texts, trees

__all__ = ["core", "empty_core", "ingest"]
WORDS = [
    "a",
    "man",
    "woman",
    "in",
    "with",
    "no",
    "not",
    "without",
    "red",
    "blue",
    "coat",
    "hat",
    "and",
    "or",
    "wearing",
    "is",
    "the",
    "his",
    ",",
    ".",
    ";",
    "-",
    "'s",
    "isn't",
    "(",
    ")",
    "dark-blue",
    "t-shirt",
    "he",
    "who",
    "long",
    "hair",
    "20",
    "carrying",
    "backpack",
    "nor",
]
sentences = st.lists(st.sampled_from(WORDS) | texts, max_size=25).map(" ".join)


def test_descriptions_are_read_or_refused(record_property: Record) -> None:
    tokenizer = read_info(DEMO).spec.tokenizer

    def read(text: str) -> str:
        try:
            text = check_query(text, 2000)
            understood = understand(text, tokenizer)
        except ServiceError as error:
            error.message.encode("utf-8", "surrogatepass")
            return type(error).__name__
        graph = parse(text)
        for entity in graph.entities:
            assert 0 <= entity.extent.start < entity.extent.end <= len(text)
        named_things(text)
        return "steered" if understood.denied else "read"

    seen = fuzz(often((4, sentences), (1, st.text(max_size=300))), read, record_property)
    assert {"read", "QueryNotUnderstoodError"} <= set(seen)


@st.composite
def tokens(draw: st.DrawFn) -> str:
    """Cursors as they are, and what somebody who can read one could make of them."""
    small = st.integers(-2, 2**64) | scalars
    honest: list[Any] = ["d", 1, 9, [1, 2, 3], "0" * 32]
    if (place := draw(st.integers(0, 9))) < len(honest):
        honest[place] = draw(small | st.lists(small, max_size=5) | texts)
    content = draw(
        often((4, st.just(honest)), (1, st.tuples(texts, small, small, st.lists(small, max_size=5), texts)), (1, trees))
    )
    packed = draw(st.sampled_from([1, 9])), json.dumps(content).encode()
    data = zlib.compress(packed[1], packed[0])
    data = draw(often((4, st.just(data)), (2, mutated(st.just(data))), (1, st.binary(max_size=40))))
    token = base64.urlsafe_b64encode(data).decode()
    return draw(st.sampled_from([token, token.rstrip("="), token + draw(texts)]))


def test_cursors_are_read_or_refused(record_property: Record) -> None:
    def read(token: str) -> str:
        try:
            cursor = Cursor.read(token, "d")
        except ServiceError as error:
            return type(error).__name__
        assert Cursor.read(cursor.token(), "d") == cursor
        return "read"

    seen = fuzz(often((8, tokens()), (1, texts)), read, record_property)
    assert {"read", "CursorInvalidError"} <= set(seen)


def test_places_in_lists_are_read_or_refused(record_property: Record) -> None:
    """The cursors of the list of queries, and of timelines."""
    instants = st.datetimes(timezones=st.none() | st.just(UTC)).map(datetime.isoformat)
    places = st.tuples(
        often((3, instants), (2, texts), (1, scalars)), often((3, st.just("f" * 32)), (2, texts), (1, scalars))
    )
    packed = often((4, places), (1, trees)).map(
        lambda place: base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    )
    numbers = st.tuples(st.integers(), st.integers()).map("{0[0]}.{0[1]}".format)

    def read(token: str) -> str:
        words = []
        for reader in (_place, _read):
            try:
                place = reader(token)
                assert place is not None
                if isinstance(place[0], datetime):
                    place[0].astimezone(timezone(timedelta(0)))
                words.append("read")
            except ServiceError as error:
                words.append(type(error).__name__)
        return " and ".join(words)

    seen = fuzz(often((3, packed), (1, numbers), (1, texts)), read, record_property)
    assert any("read" in words for words in seen)


NAMES = [
    "cameras",
    "track",
    "captured_at",
    "time_of_day",
    "image_attributes",
    "identity_attributes",
    "provisional",
    "identities",
    "other",
]
OPS = ["eq", "in", "range", "exists", "prefix", "regex", ""]
keys = st.sampled_from(KEYS) | texts
bounds = st.dictionaries(st.sampled_from(["gte", "gt", "lte", "lt", "x"]), scalars, max_size=3)
values = st.one_of(scalars, st.lists(scalars, max_size=4), bounds, st.sampled_from(STORED), trees)
condition = st.fixed_dictionaries({"field": keys, "op": st.sampled_from(OPS), "value": values})
spans = st.dictionaries(
    st.sampled_from(["from", "to", "timezone"]),
    texts | st.sampled_from(["22:00", "06:00", "Europe/Berlin", "posixrules"]),
    max_size=3,
)
odd = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(st.lists(condition, max_size=3), spans, st.lists(scalars, max_size=3), values),
    max_size=3,
)
sound = filters([1, 2])
changed = st.builds(lambda one, other: one | other, sound, odd)
documents = often((4, sound), (3, changed), (1, odd), (1, trees)).map(json.dumps)
mutants = mutated(documents.map(lambda text: text.encode("utf-8", "surrogatepass"))).map(
    lambda data: data.decode("utf-8", "surrogateescape")
)


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=database_url, device="cpu", maintenance_s=3600)


@pytest.fixture
def gallery(core: Core, ingest: IngestFolder, tmp_path: Path) -> Core:
    """Two people, three images, with times and attributes of every kind."""
    stored = dict(zip(KEYS, STORED, strict=False))
    for shade, name in enumerate("abc"):
        picture(tmp_path / "p" / f"{name}.jpg", "red", shade=shade * 9)
    write_manifest(
        tmp_path / "p",
        [
            {
                "file": "a.jpg",
                "identity": "1",
                "camera": "door",
                "captured_at": "2026-03-29T00:59:59Z",
                "attributes": stored,
            },
            {"file": "b.jpg", "identity": "1", "camera": "Door", "attributes": {"hair": "brown", "1": 10**40}},
            {"file": "c.jpg", "identity": "2", "captured_at": "1969-12-31T23:59:59.999999Z"},
        ],
    )
    assert all(outcome.image_id for outcome in ingest(tmp_path / "p"))
    return core


def test_filters_are_answered_or_refused(gallery: Core, record_property: Record) -> None:
    vector = np.ones(DIM, np.float32) / np.float32(np.sqrt(DIM))
    query = Query((Part(vector, "text"),), {"query": "x"})
    plain = st.fixed_dictionaries({"filters": often((3, documents), (1, mutants))})
    more = {"filters": sound.map(json.dumps), "cursor": tokens(), "collection": texts | st.just("default")}
    options = often((4, plain), (1, st.fixed_dictionaries(more)))

    def ask(given: dict[str, Any]) -> str:
        try:
            read = Filters.read(given["filters"])
            read.model_dump_json()
            asked = SearchOptions.model_construct(**SearchOptions(limit=2).model_dump() | {**given, "filters": read})
            service = SearchService(gallery.database, gallery.active.current())
            answer = service.answer(query, asked, started=time.perf_counter())
        except ServiceError as error:
            assert error.status < 500, error  # noqa: PT017  either way is right
            error.message.encode("utf-8", "surrogatepass")
            return type(error).__name__
        answer.model_dump_json()
        return "found some" if answer.candidates else "found nobody"

    seen = fuzz(options, ask, record_property)
    assert {"found nobody", "FilterError"} <= set(seen)


small = st.integers(1, 50)
contents: dict[str, st.SearchStrategy[Any]] = {
    "text": sentences,
    "picture": texts,
    "image_id": small,
    "identity_id": small,
}
parts = st.sampled_from(sorted(contents)).flatmap(
    lambda name: st.fixed_dictionaries({name: contents[name]}, optional={"weight": st.just(2)})
)
fine = {
    "limit": small,
    "group_by": st.sampled_from(["identity", "image"]),
    "filters": sound,
    "negatives": st.lists(parts, max_size=2),
}
asked = st.one_of(
    st.fixed_dictionaries({"query": sentences}, optional=fine),
    st.fixed_dictionaries({"parts": st.lists(parts, min_size=1, max_size=3)}, optional=fine),
)
FIELDS = [
    "query",
    "parts",
    "negatives",
    "limit",
    "images_per_identity",
    "group_by",
    "purpose",
    "filters",
    "cursor",
    "include_examples",
]
spoilt = st.builds(
    lambda one, other: one | other, asked, st.dictionaries(st.sampled_from(FIELDS), scalars | trees, max_size=2)
)
bodies = often((2, asked), (3, spoilt), (1, trees)).map(json.dumps)


def test_documents_are_validated_or_refused(record_property: Record) -> None:
    given = bodies | mutated(bodies.map(str.encode)).map(lambda data: data.decode("utf-8", "replace"))

    def read(text: str) -> str:
        words = set()
        for kind in (TextQuery, ComposedQuery):
            try:
                kind.model_validate_json(text).model_dump_json()
                words.add("read")
            except ValidationError as error:
                assert error.errors(include_context=False, include_input=False)  # noqa: PT017
            except ServiceError as error:
                assert error.status < 500  # noqa: PT017
                words.add(type(error).__name__)
        return ", ".join(sorted(words)) or "refused"

    seen = fuzz(given, read, record_property)
    assert {"read", "refused"} <= set(seen)
