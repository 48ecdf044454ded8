"""A key for some collections: what lies outside them does not exist for its holder, wherever it asks."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.access.rules import rules
from app.core import Core
from app.gallery.sources import open_source
from tests.app.test_access_api import make
from tests.app.toy import picture

Headers = dict[str, str]


@pytest.fixture
def ids(core: Core, tmp_path: Path) -> dict[str, int]:
    """A person in both collections, one in each alone; four images."""
    found: dict[str, int] = {}
    for name, shots in (("north", {"both": "red", "here": "green"}), ("south", {"both": "blue", "there": "green"})):
        lines = []
        for person, colour in shots.items():
            picture(tmp_path / name / f"{person}.jpg", colour)
            lines.append(json.dumps({"file": f"{person}.jpg", "identity": person}))
        (tmp_path / name / "manifest.jsonl").write_text("\n".join(lines))
        for outcome in core.ingest(name).run(open_source(tmp_path / name)):
            assert outcome.image_id is not None, outcome
    with core.database.read() as session:
        from sqlalchemy import select

        from app.database.tables import Collection, Identity, Image

        rows = session.execute(
            select(Identity.external_id, Collection.name, Image.id, Identity.id)
            .join_from(Image, Identity)
            .join(Collection)
        )
        for who, collection, image_id, identity_id in rows:
            found[f"{collection}/{who}"] = image_id
            found[str(who)] = identity_id
    return found


@pytest.fixture
def admin(client: TestClient) -> Headers:
    return make(client, "admin")


@pytest.fixture
def north(client: TestClient, admin: Headers, ids: dict[str, int]) -> Headers:
    secret = admin["Authorization"].removeprefix("Bearer ")
    return make(client, "search", "ingest", admin=secret, collections=["north"])


def found(answer: Any) -> set[int]:  # noqa: ANN401  a response
    assert answer.status_code == 200, answer.text
    return {image["id"] for candidate in answer.json()["candidates"] for image in candidate["images"]}


def test_searches_find_what_the_key_is_for(
    client: TestClient, admin: Headers, north: Headers, ids: dict[str, int], tmp_path: Path
) -> None:
    here = {ids["north/both"], ids["north/here"]}
    every = here | {ids["south/both"], ids["south/there"]}
    wanted = {"query": "green person", "limit": 10}
    assert found(client.post("/v1/search/text", json=wanted, headers=admin)) == every
    assert found(client.post("/v1/search/text", json=wanted, headers=north)) == here
    file = {"file": (tmp_path / "south" / "there.jpg").read_bytes()}
    assert found(client.post("/v1/search/image", files=file, headers=north)) == here
    like = {"parts": [{"identity_id": ids["both"]}], "limit": 10}
    answer = client.post("/v1/search/composed", json=like, headers=north)
    assert found(answer) <= here
    for other in ({"image_id": ids["south/there"]}, {"identity_id": ids["there"]}):
        answer = client.post("/v1/search/composed", json={"parts": [other], "limit": 10}, headers=north)
        assert answer.status_code == 404, answer.text
    answer = client.post("/v1/search/text", json={**wanted, "collection": "south"}, headers=north)
    assert (answer.status_code, answer.json()["code"]) == (404, "collection_not_found")


def test_ids_of_elsewhere_are_not_found_anywhere(client: TestClient, north: Headers, ids: dict[str, int]) -> None:
    tried = 0
    for method, path in rules():
        if path.startswith("/v1/images/{id}"):
            where = path.replace("{id}", str(ids["south/both"]))
        elif path.startswith("/v1/identities/{id}") and method != "DELETE":
            where = path.replace("{id}", str(ids["there"]))
        else:
            continue
        body: dict[str, Any] = {"description": "red"} if "support" in path or "heatmap" in path else {}
        if path.endswith("/merge"):
            body = {"identities": [ids["here"]]}
        elif path.endswith("/split"):
            body = {"images": [ids["north/here"]]}
        answer = client.request(method, where, json=body if method in ("POST", "PATCH") else None, headers=north)
        if method == "DELETE":
            assert answer.status_code == 403
            continue
        tried += 1
        assert answer.status_code in (404, 422), (method, path, answer.text)
        if answer.status_code == 422:
            assert method in ("POST", "PATCH"), (method, path)  # a body that is not right is told first
    assert tried >= 10
    assert client.get(f"/v1/images/{ids['north/both']}", headers=north).status_code == 200


def test_of_a_person_in_both_only_this_half_is_seen(client: TestClient, north: Headers, ids: dict[str, int]) -> None:
    one = client.get(f"/v1/identities/{ids['both']}", headers=north).json()
    assert [image["id"] for image in one["images"]] == [ids["north/both"]]
    timeline = client.get(f"/v1/identities/{ids['both']}/timeline", headers=north).json()
    assert [number for group in timeline["undated"] for number in group["image_ids"]] == [ids["north/both"]]


def test_counts_and_lists_are_of_what_is_seen(client: TestClient, admin: Headers, north: Headers) -> None:
    assert client.get("/v1/gallery", headers=admin).json()["images"] == 4
    assert client.get("/v1/gallery", headers=north).json()["images"] == 2
    names = [one["name"] for one in client.get("/v1/collections", headers=north).json()["collections"]]
    assert names == ["north"]
    assert client.get("/v1/session", headers=north).json()["collections"] == ["north"]


def test_nothing_is_put_elsewhere(client: TestClient, north: Headers, tmp_path: Path) -> None:
    picture(tmp_path / "new.jpg", "red")
    for name in ("south", "new", "default"):
        files = {"files": ("new.jpg", (tmp_path / "new.jpg").read_bytes())}
        answer = client.post("/v1/gallery/batches", files=files, params={"collection": name}, headers=north)
        assert (answer.status_code, answer.json()["code"]) == (404, "collection_not_found"), name
        answer = client.post("/v1/collections", json={"name": name}, headers=north)
        assert answer.status_code == 404


def test_queries_and_jobs_of_others_are_not_seen(
    client: TestClient, admin: Headers, north: Headers, tmp_path: Path
) -> None:
    picture(tmp_path / "new.jpg", "red")
    mine: dict[str, str] = {}
    for who, headers, where in (("admin", admin, "south"), ("north", north, "north")):
        query = client.post("/v1/search/text", json={"query": "red"}, headers=headers).json()["query_id"]
        files = {"files": ("new.jpg", (tmp_path / "new.jpg").read_bytes())}
        batch = {**headers, "Idempotency-Key": "same"}
        made = client.post("/v1/gallery/batches", files=files, params={"collection": where}, headers=batch)
        assert made.status_code == 202, made.text
        mine[f"query {who}"], mine[f"job {who}"] = query, made.json()["id"]
    assert mine["job admin"] != mine["job north"]  # two clients may choose the same idempotency key
    for path in ("queries", "jobs"):
        kind = {"queries": "query", "jobs": "job"}[path]
        assert client.get(f"/v1/{path}/{mine[f'{kind} admin']}", headers=north).status_code == 404
        assert client.get(f"/v1/{path}/{mine[f'{kind} north']}", headers=north).status_code == 200
        assert client.get(f"/v1/{path}/{mine[f'{kind} north']}", headers=admin).status_code == 200
        listed = client.get(f"/v1/{path}", headers=north).json()[path]
        assert [one["id"] for one in listed] == [mine[f"{kind} north"]]


def test_an_administrator_is_not_limited(client: TestClient, admin: Headers) -> None:
    body = {"name": "a", "scopes": ["admin"], "collections": ["default"]}
    answer = client.post("/v1/admin/keys", json=body, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (422, "key_refused")
