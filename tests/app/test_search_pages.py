"""Filters, ungrouped answers and cursors over HTTP."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.errors import CursorInvalidError, CursorMismatchError
from app.search.cursor import Cursor
from tests.app.conftest import IngestFolder
from tests.app.test_ingest_folder import write_manifest
from tests.app.test_search_api import ask, people, upload
from tests.app.toy import COLOURS, picture

QUERY = "a person in a red coat"


@pytest.fixture
def filled(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> TestClient:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    return client


def names(answer: dict[str, Any]) -> list[str]:
    return [candidate["identity"]["external_id"] for candidate in answer["candidates"]]


def walk(client: TestClient, **options: Any) -> list[dict[str, Any]]:  # noqa: ANN401  JSON
    pages = [ask(client, QUERY, **options)]
    while (cursor := pages[-1]["next_cursor"]) is not None:
        pages.append(ask(client, QUERY, cursor=cursor, **options))
    return pages


def test_pages_are_the_answer_in_pieces(filled: TestClient) -> None:
    whole = names(ask(filled, QUERY, limit=100))
    pages = walk(filled, limit=3)
    assert [len(page["candidates"]) for page in pages] == [3, 3, 2]
    assert [name for page in pages for name in names(page)] == whole
    assert sorted(whole) == sorted(COLOURS)


def test_images_can_stand_for_themselves(filled: TestClient) -> None:
    pages = walk(filled, limit=7, group_by="image")
    found = [candidate for page in pages for candidate in page["candidates"]]
    assert [len(candidate["images"]) for candidate in found] == [1] * 24
    assert len({candidate["images"][0]["id"] for candidate in found}) == 24
    scores = [candidate["score"] for candidate in found]
    assert scores == sorted(scores, reverse=True)
    assert names(pages[0])[:3] == ["red"] * 3


def test_what_is_ingested_meanwhile_is_in_no_later_page(
    filled: TestClient, ingest: IngestFolder, tmp_path: Path
) -> None:
    before = names(ask(filled, QUERY, limit=100))
    first = ask(filled, QUERY, limit=4)
    entries: list[dict[str, object]] = []
    for number in range(6):
        picture(tmp_path / "more" / f"{number}.jpg", "red", "red", shade=8 + 2 * number)
        entries.append({"file": f"{number}.jpg", "identity": f"new {number}" if number else before[-1]})
    write_manifest(tmp_path / "more", entries)
    ingest(tmp_path / "more")
    second = ask(filled, QUERY, limit=4, cursor=first["next_cursor"])
    assert names(first) + names(second) == before
    assert second["next_cursor"] is None
    assert len(names(ask(filled, QUERY, limit=100))) == len(before) + 5


def test_filters_come_before_the_ranking(filled: TestClient, tmp_path: Path) -> None:
    red = ask(filled, QUERY, limit=1)["candidates"][0]["identity"]["id"]
    answer = ask(filled, QUERY, limit=100, filters={"cameras": ["cam-1"], "without_identities": [red]})
    assert sorted(names(answer)) == sorted(set(COLOURS) - {"red"})
    assert {image["camera"] for candidate in answer["candidates"] for image in candidate["images"]} == {"cam-1"}
    nothing = ask(filled, QUERY, filters={"cameras": ["cam-9"]})
    assert (nothing["candidates"], [w["code"] for w in nothing["warnings"]]) == ([], ["nothing_matches"])
    data = picture(tmp_path / "query.png", "green", "green", shade=2).read_bytes()
    by_picture = upload(filled, data, filters=json.dumps({"cameras": ["cam-1"]}), group_by="image", limit="100").json()
    assert len(by_picture["candidates"]) == len(COLOURS)
    refused = upload(filled, data, filters='{"camera": "cam-1"}')
    assert (refused.status_code, refused.json()["code"]) == (422, "filter_invalid")


def test_a_cursor_of_another_question_is_refused(filled: TestClient) -> None:
    cursor = ask(filled, QUERY, limit=2)["next_cursor"]
    assert len(ask(filled, QUERY, limit=5, cursor=cursor)["candidates"]) == 5
    for body in ({"query": "blue"}, {"query": QUERY, "group_by": "image"}, {"query": QUERY, "filters": {}}):
        response = filled.post("/v1/search/text", json={**body, "cursor": cursor})
        assert (response.status_code, response.json()["code"]) == (422, "cursor_mismatch")
    for broken in ("", "x", cursor[:-3], cursor + "AAAA", "é", "eJwDAAAAAAE"):
        response = filled.post("/v1/search/text", json={"query": QUERY, "cursor": broken})
        assert (response.status_code, response.json()["code"]) == (422, "cursor_invalid")


@given(
    st.frozensets(st.integers(0, 2**62), max_size=200), st.integers(0, 2**62), st.text("0123456789abcdef", max_size=9)
)
def test_a_cursor_comes_back_as_it_was(shown: frozenset[int], newest: int, digest: str) -> None:
    cursor = Cursor(digest, 3, newest, shown, "0123456789abcdef" * 2)
    assert Cursor.read(cursor.token(), digest) == cursor
    with pytest.raises(CursorMismatchError):
        Cursor.read(cursor.token(), digest + "0")


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_anything_else_is_refused(token: str) -> None:
    with pytest.raises(CursorInvalidError):
        Cursor.read(token, "0")
