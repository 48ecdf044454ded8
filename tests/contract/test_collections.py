"""Collections: the same bytes once in each, and a search that stays within one is complete."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.core import Core
from app.errors import CollectionNameError
from app.gallery.sources import open_source
from app.search import service
from tests.app.conftest import IngestFolder
from tests.app.test_ingest_folder import write_manifest
from tests.app.test_search_api import ask, people
from tests.app.toy import COLOURS, picture


@pytest.fixture
def filled(client: TestClient, core: Core, ingest: IngestFolder, tmp_path: Path) -> TestClient:
    """All colours in `default`; in `north` one more picture of red and blue, and one of green that both have."""
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    entries: list[dict[str, object]] = []
    for colour in ("red", "blue"):
        picture(tmp_path / "north" / f"{colour}.jpg", colour, colour, shade=20)
        entries.append({"file": f"{colour}.jpg", "identity": colour})
    (tmp_path / "north" / "green.jpg").write_bytes((tmp_path / "people" / "green0.jpg").read_bytes())
    write_manifest(tmp_path / "north", [*entries, {"file": "green.jpg", "identity": "green"}])
    outcomes = list(core.ingest("north").run(open_source(tmp_path / "north")))
    assert [outcome.status for outcome in outcomes] == ["ingested"] * 3
    return client


def seen(answer: dict[str, Any]) -> list[str]:
    return [candidate["identity"]["external_id"] for candidate in answer["candidates"]]


def post(client: TestClient, path: str, body: dict[str, str]) -> tuple[int, str]:
    """Status and code, for a body that may hold what a client library refuses to send."""
    response = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    return response.status_code, response.json()["code"]


def test_collections_over_http(client: TestClient) -> None:
    (default,) = client.get("/v1/collections").json()["collections"]
    assert (default["id"], default["name"], default["images"]) == (1, "default", 0)
    made = client.post("/v1/collections", json={"name": " Bahnhof Süd "})
    assert (made.status_code, made.json()["name"], made.json()["images"]) == (201, "Bahnhof Süd", 0)
    again = client.post("/v1/collections", json={"name": "Bahnhof Süd"})
    assert (again.status_code, again.json()["code"]) == (409, "collection_name_taken")
    assert [row["name"] for row in client.get("/v1/collections").json()["collections"]] == ["default", "Bahnhof Süd"]


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "x" * 201, "a\nb", "\N{ZERO WIDTH SPACE}"])
def test_names_that_cannot_be(client: TestClient, core: Core, name: str) -> None:
    assert post(client, "/v1/collections", {"name": name}) == (422, "collection_name_invalid")
    assert post(client, "/v1/search/text", {"query": "red", "collection": name}) == (404, "collection_not_found")
    with pytest.raises(CollectionNameError):
        core.ingest(name)


def test_half_a_character_is_no_json(client: TestClient, core: Core) -> None:
    assert post(client, "/v1/collections", {"name": "\ud800"}) == (422, "invalid_request")
    with pytest.raises(CollectionNameError):
        core.ingest("\ud800")


def test_the_same_bytes_are_taken_once_in_each_collection(filled: TestClient, core: Core, tmp_path: Path) -> None:
    assert [row["images"] for row in filled.get("/v1/collections").json()["collections"]] == [24, 3]
    again = list(core.ingest("north").run(open_source(tmp_path / "north")))
    assert [outcome.status for outcome in again] == ["duplicate"] * 3
    assert filled.get(f"/v1/images/{again[0].image_id}").json()["collection"] == "north"
    assert filled.get("/v1/images/1").json()["collection"] == "default"
    assert len(filled.get("/v1/identities/1").json()["images"]) == 4  # a person is the same one everywhere


@pytest.mark.parametrize("subset", [2000, 0])  # scored one by one, and filtered out of the ranking of all
def test_a_search_stays_within_a_collection(
    filled: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subset: int
) -> None:
    monkeypatch.setattr(service, "SUBSET", subset)
    whole = ask(filled, "a red coat", limit=100)
    north = ask(filled, "a red coat", limit=100, collection="north")
    assert sorted(seen(north)) == ["blue", "green", "red"]
    assert seen(north) == [name for name in seen(whole) if name in ("blue", "green", "red")]
    images = [image for candidate in north["candidates"] for image in candidate["images"]]
    assert [image["collection"] for image in images] == ["north"] * 3
    assert sorted(seen(ask(filled, "red", limit=100, collection="default"))) == sorted(COLOURS)
    # The page is full although everything outside scores better.
    assert len(ask(filled, "yellow", limit=3, collection="north")["candidates"]) == 3
    assert len(ask(filled, "yellow", limit=2, collection=" north ")["candidates"]) == 2
    sample = io.BytesIO((tmp_path / "people" / "yellow0.jpg").read_bytes())
    found = filled.post("/v1/search/image", files={"file": sample}, data={"collection": "north"})
    assert sorted(seen(found.json())) == ["blue", "green", "red"]
    for image in images:
        filled.delete(f"/v1/images/{image['id']}")
    empty = ask(filled, "a red coat", collection="north")
    assert (empty["candidates"], empty["warnings"][0]["code"]) == ([], "collection_empty")
    assert len(seen(ask(filled, "a red coat", limit=100))) == len(COLOURS)


def test_an_unknown_collection_is_an_error(filled: TestClient, tmp_path: Path) -> None:
    for asked in (
        filled.post("/v1/search/text", json={"query": "red", "collection": "nowhere"}),
        filled.post(
            "/v1/search/image",
            files={"file": (tmp_path / "people" / "red0.jpg").read_bytes()},
            data={"collection": "nowhere"},
        ),
    ):
        assert (asked.status_code, asked.json()["code"]) == (404, "collection_not_found")
        assert "nowhere" in asked.json()["detail"]
