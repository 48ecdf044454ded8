"""A key for some collections: what lies outside them does not exist for its holder, wherever it asks."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.access.rules import granted, need_of, rules
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
    wanted = {"query": "green person", "limit": 10, "purpose": "a test"}
    assert found(client.post("/v1/search/text", json=wanted, headers=admin)) == every
    assert found(client.post("/v1/search/text", json=wanted, headers=north)) == here
    file = {"file": (tmp_path / "south" / "there.jpg").read_bytes()}
    assert found(client.post("/v1/search/image", files=file, data={"purpose": "a test"}, headers=north)) == here
    like = {"parts": [{"identity_id": ids["both"]}], "limit": 10, "purpose": "a test"}
    answer = client.post("/v1/search/composed", json=like, headers=north)
    assert found(answer) <= here
    for other in ({"image_id": ids["south/there"]}, {"identity_id": ids["there"]}):
        answer = client.post("/v1/search/composed", json={**like, "parts": [other]}, headers=north)
        assert answer.status_code == 404, answer.text
    answer = client.post("/v1/search/text", json={**wanted, "collection": "south"}, headers=north)
    assert (answer.status_code, answer.json()["code"]) == (404, "collection_not_found")


BODIES: dict[str, dict[str, Any]] = {
    "/v1/identities/{id}": {"attributes": {"a": 1}},
    "/v1/identities/{id}/merge": {"identities": ["here"]},
    "/v1/identities/{id}/split": {"image_ids": ["north/here"]},
    "/v1/images/{id}": {"description": "a person"},
    "/v1/images/{id}/support": {"query": "red coat"},
    "/v1/images/{id}/heatmap": {"query": "red coat"},
    "/v1/identifications/{id}/confirm": {},
    "/v1/identifications/{id}/refuse": {"reason": "somebody else"},
    "/v1/identifications/{id}/withdraw": {"reason": "somebody else"},
    "/v1/queries/{id}": {"name": "mine"},
    "/v1/queries/{id}/search": {},
    "/v1/queries/{id}/feedback": [{"identity_id": "both", "verdict": "confirm"}],  # type: ignore[dict-item]
}
"""A body that would be taken if the id were of one's own, so that nothing else can be what is refused."""
NOBODYS = {"images": "9007199254740993", "identities": "9007199254740993", "queries": "f" * 32, "associations": "77"}
NOBODYS |= {
    "identifications": "9007199254740993",
    "jobs": "00000000-0000-4000-8000-000000000000",
    "feedback": "9007199254740993",
}


def own(body: Any, ids: dict[str, int]) -> Any:  # noqa: ANN401  JSON
    """A body with ids for names."""
    if isinstance(body, dict):
        return {key: own(value, ids) for key, value in body.items()}
    return [own(value, ids) for value in body] if isinstance(body, list) else ids.get(body, body)


def of_elsewhere(client: TestClient, admin: Headers, ids: dict[str, int], tmp_path: Path) -> dict[str, str]:
    """Ids of everything that there is outside the collection."""
    query = client.post("/v1/search/text", json={"query": "red", "purpose": "a test"}, headers=admin).json()["query_id"]
    verdict = [{"identity_id": ids["there"], "verdict": "confirm"}]
    given = client.post(f"/v1/queries/{query}/feedback", json=verdict, headers=admin).json()["feedback"][0]["id"]
    picture(tmp_path / "new.jpg", "red", shade=7)
    files = {"files": ("new.jpg", (tmp_path / "new.jpg").read_bytes())}
    job = client.post("/v1/gallery/batches", files=files, params={"collection": "south"}, headers=admin).json()["id"]
    run = client.post("/v1/associations", json={"collection": "south", "threshold": 0.5}, headers=admin)
    assert run.status_code == 202, run.text
    stated = {"query_id": query, "identity_id": ids["there"], "purpose": "case 1", "note": "a scar"}
    marked = client.post("/v1/identifications", json=stated, headers=admin)
    assert marked.status_code == 201, marked.text
    found = {
        "identifications": marked.json()["id"],
        "images": ids["south/both"],
        "identities": ids["there"],
        "queries": query,
        "feedback": given,
        "jobs": job,
    }
    (listed,) = client.get("/v1/associations", headers=admin).json()["runs"]
    return {kind: str(value) for kind, value in (found | {"associations": listed["id"]}).items()}


def test_ids_of_elsewhere_are_not_found_anywhere(
    client: TestClient, admin: Headers, north: Headers, ids: dict[str, int], tmp_path: Path
) -> None:
    """Every route with an id that such a key may ask: 404, in the very words of an id that nobody has."""
    elsewhere, tried = of_elsewhere(client, admin, ids, tmp_path), 0
    for (method, path), need in rules().items():
        kinds = re.findall(r"([a-z]+)/\{id\}", path)
        if not kinds or not granted(need, ["search", "ingest"]) or path.startswith("/v1/models"):
            continue  # versions of the model belong to no collection
        body = BODIES.get(path) if method in ("POST", "PATCH") else None
        said = []
        for numbers in (elsewhere, NOBODYS):
            where = path
            for kind in kinds:
                where = where.replace(f"{kind}/{{id}}", f"{kind}/{numbers[kind]}", 1)
            answer = client.request(method, where, json=own(body, ids) if body is not None else None, headers=north)
            assert answer.status_code == 404, (method, path, answer.text)
            told = answer.json()
            said.append((told["code"], told["detail"].replace(numbers[kinds[0]], "?")))
        assert said[0] == said[1], (method, path)
        tried += 1
    assert tried >= 20
    seen = client.get(f"/v1/images/{ids['north/both']}", headers=north)
    assert seen.status_code == 200


def test_collections_of_elsewhere_are_not_found_anywhere(
    client: TestClient, north: Headers, ids: dict[str, int]
) -> None:
    """Every route that takes the name of a collection: as if there were none of the name."""
    document, tried = client.get("/openapi.json").json(), 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            need = need_of(method.upper(), re.sub(r"\{[^}]+\}", "1", path))
            named = [one["name"] for one in operation.get("parameters", []) if one["name"] == "collection"]
            if not named or not granted(need, ["search", "ingest"]):
                continue
            where = path.replace("{identity_id}", str(ids["both"]))
            given = {"collection": "south", **({"name": "a.mp4"} if path.endswith("videos") else {})}
            sent: dict[str, Any] = {"files": {"files": ("1.jpg", b"x")}} if path.endswith("batches") else {}
            if path.endswith("videos"):
                sent = {"content": b"x"}
            answer = client.request(method, where, params=given, headers=north, **sent)
            assert (answer.status_code, answer.json()["code"]) == (404, "collection_not_found"), (method, path)
            tried += 1
    assert tried >= 4


def test_of_a_person_in_both_only_this_half_is_seen(client: TestClient, north: Headers, ids: dict[str, int]) -> None:
    one = client.get(f"/v1/identities/{ids['both']}", headers=north).json()
    assert [image["id"] for image in one["images"]] == [ids["north/both"]]
    timeline = client.get(f"/v1/identities/{ids['both']}/timeline", headers=north).json()
    assert [number for group in timeline["undated"] for number in group["image_ids"]] == [ids["north/both"]]


def test_a_merge_takes_along_what_the_key_does_not_see(
    client: TestClient, admin: Headers, north: Headers, ids: dict[str, int]
) -> None:
    body = {"identities": [ids["both"]], "drop_names": True}
    merged = client.post(f"/v1/identities/{ids['here']}/merge", json=body, headers=north)
    assert merged.status_code == 200, merged.text
    assert {image["id"] for image in merged.json()["identity"]["images"]} == {ids["north/both"], ids["north/here"]}
    every = client.get(f"/v1/identities/{ids['here']}", headers=admin).json()["images"]
    assert {image["id"] for image in every} == {ids["north/both"], ids["north/here"], ids["south/both"]}
    told = client.get(f"/v1/identities/{ids['here']}/history", headers=north).json()["events"]
    assert [event["image_ids"] for event in told] == [[ids["north/both"]]]
    undone = client.post(f"/v1/identities/{ids['here']}/split", json={"undo": told[0]["id"]}, headers=north)
    assert undone.status_code == 200, undone.text
    assert (undone.json()["separated"]["external_id"], undone.json()["left_alone"]) == ("both", 0)
    back = client.get(f"/v1/identities/{ids['both']}", headers=admin).json()["images"]
    assert {image["id"] for image in back} == {ids["north/both"], ids["south/both"]}


def test_the_history_of_elsewhere_is_not_seen(
    client: TestClient, admin: Headers, north: Headers, ids: dict[str, int]
) -> None:
    apart = client.post(
        f"/v1/identities/{ids['both']}/split", json={"image_ids": [ids["south/both"]]}, headers=admin
    ).json()["separated"]["id"]
    merge = {"identities": [apart], "drop_names": True}
    (event,) = client.post(f"/v1/identities/{ids['there']}/merge", json=merge, headers=admin).json()["events"]
    for person in (ids["there"], apart):
        assert client.get(f"/v1/identities/{person}/history", headers=admin).json()["events"]
        answer = client.get(f"/v1/identities/{person}/history", headers=north)
        assert (answer.status_code, answer.json()["code"]) == (404, "identity_not_found"), answer.text
    assert client.get(f"/v1/identities/{ids['both']}/history", headers=north).json()["events"] == []
    again = client.post(f"/v1/identities/{ids['both']}/split", json={"undo": event}, headers=north)
    assert (again.status_code, again.json()["code"]) == (404, "identity_event_not_found")


def test_a_name_that_somebody_elsewhere_has_is_taken(client: TestClient, north: Headers, ids: dict[str, int]) -> None:
    answer = client.patch(f"/v1/identities/{ids['here']}", json={"external_id": "there"}, headers=north)
    assert (answer.status_code, answer.json()["code"]) == (409, "external_id_taken"), answer.text


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
        query = client.post("/v1/search/text", json={"query": "red", "purpose": "a test"}, headers=headers).json()[
            "query_id"
        ]
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
