"""Identities and images over HTTP: what is deleted is gone from rows, files, index and answers."""

from pathlib import Path

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from app.core import Core
from app.database.tables import Deletion, Embedding
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import ask, people
from tests.app.toy import picture


@pytest.fixture
def filled(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> TestClient:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    return client


def files(core: Core) -> int:
    return len(list(core.settings.images_dir.rglob("*.jpg")))


def test_an_identity_with_its_images(filled: TestClient) -> None:
    found = filled.get("/v1/identities/1").json()
    assert (found["external_id"], found["provisional"], len(found["images"])) == ("red", False, 3)
    image = found["images"][0]
    assert filled.get(f"/v1/images/{image['id']}").json() == image
    assert (image["width"], image["height"], image["camera"]) == (40, 90, "cam-0")


def test_files_are_private_and_revalidated(filled: TestClient) -> None:
    for path in ("/v1/images/1/file", "/v1/images/1/thumbnail"):
        response = filled.get(path)
        assert response.headers["cache-control"] == "private, no-cache"
        assert response.headers["x-content-type-options"] == "nosniff"
        again = filled.get(path, headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_deleting_an_identity_is_real(filled: TestClient, core: Core) -> None:
    before = files(core)
    assert filled.delete("/v1/identities/1").status_code == 204
    assert "red" not in [c["identity"]["external_id"] for c in ask(filled, "red coat", limit=100)["candidates"]]
    for path in ("/v1/identities/1", "/v1/images/1", "/v1/images/2/file", "/v1/images/3/thumbnail"):
        assert filled.get(path).status_code == 404
    assert filled.delete("/v1/identities/1").json()["code"] == "identity_not_found"
    assert files(core) == before - 3
    with core.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Embedding)) == 21
        assert session.scalars(select(Deletion.image_id).order_by(Deletion.sequence)).all() == [1, 2, 3]


def test_deleting_an_image(filled: TestClient, core: Core) -> None:
    before = files(core)
    assert filled.delete("/v1/images/4").status_code == 204
    assert filled.delete("/v1/images/4").json()["code"] == "image_not_found"
    assert files(core) == before - 1
    assert len(filled.get("/v1/identities/2").json()["images"]) == 2


def test_an_unnamed_person_goes_with_the_last_image(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "p" / "1.jpg", "red")
    (outcome,) = ingest(tmp_path / "p")
    identity = client.get(f"/v1/images/{outcome.image_id}").json()["identity_id"]
    found = client.get(f"/v1/identities/{identity}").json()
    assert (found["provisional"], found["external_id"]) == (True, None)
    client.delete(f"/v1/images/{outcome.image_id}")
    assert client.get(f"/v1/identities/{identity}").status_code == 404
    (again,) = ingest(tmp_path / "p")  # the same bytes may come back, under numbers that nobody had
    assert again.status == "ingested"
    assert (again.image_id or 0) > (outcome.image_id or 0)


def test_naming_a_person(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "p" / "1.jpg", "red")
    picture(tmp_path / "p" / "2.jpg", "blue")
    ingest(tmp_path / "p")
    named = client.patch("/v1/identities/1", json={"external_id": " A-17 ", "attributes": {"case": "x"}}).json()
    assert (named["external_id"], named["provisional"], named["attributes"]) == ("A-17", False, {"case": "x"})
    taken = client.patch("/v1/identities/2", json={"external_id": "A-17"})
    assert (taken.status_code, taken.json()["code"]) == (409, "external_id_taken")
    assert client.patch("/v1/identities/1", json={"external_id": "A-17"}).status_code == 200
    assert client.patch("/v1/identities/1", json={}).json()["attributes"] == {"case": "x"}
    assert client.patch("/v1/identities/1", json={"external_id": None}).json()["external_id"] is None
    assert client.patch("/v1/identities/99", json={}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b'{"external_id": "  "}',
        b'{"external_id": "a\\u0000b"}',
        b'{"external_id": "\\ud800"}',
        b'{"attributes": {"a": NaN}}',
        b'{"attributes": {"a": "\\ud800"}}',
        b'{"attributes": {"a": "\\u0000"}}',
        b'{"attributes": [1]}',
        b'{"attributes": {"a": "' + b"x" * 20_000 + b'"}}',
        b'{"attributes": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
        b'{"unknown": 1}',
        b"[]",
        b"{",
    ],
)
def test_patches_that_cannot_be_stored(filled: TestClient, body: bytes) -> None:
    response = filled.patch("/v1/identities/1", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert filled.get("/v1/identities/1").status_code == 200
