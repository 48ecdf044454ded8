"""A gallery from empty to restarted: each step answers the same on both databases."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL
from starlette.testclient import TestClient

from app.commands.models import activate_version, register_checkpoint
from app.core import open_core
from app.gallery.sources import open_source
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import ask, people
from tests.app.toy import picture, toy_checkpoint
from tests.contract import postgres

QUERIES = ("a person in a red coat", "blue", "green white", "black coat in yellow")


def answers(client: TestClient) -> list[Any]:
    """What a person sees of every query, without what differs by nature."""
    shown = []
    for query in QUERIES:
        for candidate in ask(client, query, limit=6, images_per_identity=3)["candidates"]:
            for item in (candidate["identity"], *candidate["images"]):
                del item["created_at"]
            shown.append(candidate)
    return shown


def walk(settings: Settings, folder: Path) -> list[Any]:
    """Ingest, search, delete, restart, rebuild; returns what was seen at each step."""
    seen: list[Any] = []
    core = open_core(settings)
    activate_version(core, register_checkpoint(core, toy_checkpoint(folder / "toy"), "toy").id)
    outcomes = [(o.name, o.status, o.image_id) for o in core.ingest().run(open_source(folder / "people"))]
    outcomes += [(o.name, o.status, o.image_id) for o in core.ingest().run(open_source(folder / "people"))]
    seen.append(outcomes)
    core.close()
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        seen.append(answers(client))
        assert client.delete("/v1/identities/2").status_code == 204
        assert client.delete("/v1/images/1").status_code == 204
        seen.append(answers(client))
        assert seen[2] != seen[1]
    for keep_snapshot in (True, False):
        for snapshot in settings.index_dir.glob("*.index"):
            if not keep_snapshot:
                snapshot.unlink()
        with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
            assert client.get("/readyz").status_code == 200
            assert answers(client) == seen[2]
            seen.append(client.get("/v1/gallery").json())
    return seen


def test_both_databases_give_the_same_answers(postgres_server: URL, tmp_path: Path) -> None:
    people(tmp_path / "people")
    (tmp_path / "people" / "blue1.jpg").write_bytes(b"no picture")
    common: dict[str, Any] = {"ingest_chunk": 5, "maintenance_s": 0.2, "device": "cpu"}
    with postgres.fresh_database(postgres_server) as url:
        there = walk(Settings(data_dir=tmp_path / "there", database_url=url, **common), tmp_path)
    here = walk(Settings(data_dir=tmp_path / "here", **common), tmp_path)
    assert here == there
    assert here[-1] == {
        "identities": 7,
        "images": 19,
        "model_version": {"id": 1, "name": "toy"},
        "heads_blurred": False,
    }


def test_another_process_is_followed(client: TestClient, settings: Settings, tmp_path: Path) -> None:
    picture(tmp_path / "one" / "a.jpg", "red")
    other = open_core(settings)
    list(other.ingest().run(open_source(tmp_path / "one")))
    other.close()
    assert [c["identity"]["id"] for c in ask(client, "red")["candidates"]] == [1]


def test_people_and_pictures_over_http(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> None:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    found = client.get("/v1/identities/1").json()
    assert (found["external_id"], found["provisional"], len(found["images"])) == ("red", False, 3)
    assert found["created_at"].endswith("Z")
    image = found["images"][0]
    assert client.get(f"/v1/images/{image['id']}").json() == image
    assert client.get(image["thumbnail_url"]).status_code == client.get(image["url"]).status_code == 200
    changed = client.patch("/v1/identities/1", json={"external_id": "A-17", "attributes": {"case": [1, "ß"]}}).json()
    assert (changed["external_id"], changed["attributes"]) == ("A-17", {"case": [1, "ß"]})
    taken = client.patch("/v1/identities/2", json={"external_id": "A-17"})
    assert (taken.status_code, taken.json()["code"]) == (409, "external_id_taken")
    assert client.delete("/v1/identities/1").status_code == 204
    for path in ("/v1/identities/1", "/v1/images/1", image["url"], image["thumbnail_url"]):
        assert client.get(path).status_code == 404
    assert "A-17" not in [c["identity"]["external_id"] for c in ask(client, "red coat", limit=100)["candidates"]]


@pytest.mark.parametrize("number", [2**31, 2**63 - 1])
def test_numbers_that_nobody_has(client: TestClient, number: int) -> None:
    for path in (f"/v1/identities/{number}", f"/v1/images/{number}", f"/v1/images/{number}/file"):
        assert client.get(path).json()["code"].endswith("_not_found")
