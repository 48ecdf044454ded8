"""Queries of several parts on people who were drawn, with the shipped checkpoint, over HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.core import open_core
from app.gallery.sources import open_source
from app.main import create_app
from app.registry.adoption import adopt
from app.registry.service import ModelService
from app.settings import Settings
from models.checkpoint import DEMO
from training.synthetic import SyntheticConfig, generate

PATH = "/v1/search/composed"
IMAGES = 4


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = SyntheticConfig(train=0, val=0, test=100, images_per_identity=IMAGES, seed=23, workers=1)
    return generate(config, tmp_path_factory.mktemp("drawn") / "set")


@pytest.fixture(scope="module")
def truth(drawn: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((drawn / "attributes.json").read_text())["identities"]
    captions = {row["file_path"]: row["captions"] for row in json.loads((drawn / "reid_raw.json").read_text())}
    for person in found:
        for image in person["images"]:
            image["captions"] = captions[image["file_path"]]
    return found


@pytest.fixture(scope="module")
def client(drawn: Path, truth: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The last two images of everybody are the gallery; the others are there to be asked with."""
    gallery = tmp_path_factory.mktemp("gallery")
    lines = []
    for person in truth:
        for image in person["images"][2:]:
            name = Path(image["file_path"]).name
            (gallery / name).write_bytes((drawn / "imgs" / image["file_path"]).read_bytes())
            lines.append(json.dumps({"file": name, "identity": str(person["id"])}))
    (gallery / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), device="cpu")
    core = open_core(settings)
    with core.database.write() as session:
        version = ModelService(session).register(adopt(DEMO, settings.models_dir), "shipped").id
    core.switch(version)
    assert {outcome.status for outcome in core.ingest().run(open_source(gallery))} == {"ingested"}
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as found:
        yield found
    core.close()


def ask(client: TestClient, query: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    pictures = [("files", (name, data, "image/jpeg")) for name, data in files.items()]
    answer = client.post(PATH, files=[("query", (None, json.dumps(query).encode(), None)), *pictures])
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["calibrated"]
    return found


def first(answer: dict[str, Any]) -> str:
    return str(answer["candidates"][0]["identity"]["external_id"])


def test_parts_together_are_better_than_either(client: TestClient, drawn: Path, truth: list[dict[str, Any]]) -> None:
    kinds = {"description": ("words",), "picture": ("one",), "both": ("words", "one"), "views": ("one", "other")}
    right = dict.fromkeys(kinds, 0)
    for person in truth:
        one, other = ((drawn / "imgs" / image["file_path"]).read_bytes() for image in person["images"][:2])
        parts = {
            "words": {"text": person["images"][1]["captions"][0]},
            "one": {"picture": "one"},
            "other": {"picture": "other"},
        }
        sent = {"one": one, "other": other}
        for kind, names in kinds.items():
            query = {"parts": [parts[name] for name in names], "limit": 1}
            answer = ask(client, query, {name: sent[name] for name in names if name in sent})
            right[kind] += first(answer) == str(person["id"])
    assert right["both"] >= max(right["description"], right["picture"])
    assert right["both"] > right["description"]
    assert right["views"] >= right["picture"]
    assert right["views"] > 0.97 * len(truth)


def test_a_denied_backpack_leaves_the_page(client: TestClient, truth: list[dict[str, Any]]) -> None:
    carries = {str(person["id"]): person["attributes"]["bag"] == "backpack" for person in truth}
    shares: dict[int, int] = {0: 0, 1: 0}
    right: dict[int, int] = {0: 0, 1: 0}
    for person in truth:
        if carries[str(person["id"])]:
            continue
        query: dict[str, Any] = {"parts": [{"text": person["images"][0]["captions"][0]}], "limit": 10}
        for denied in (0, 1):
            if denied:
                query["negatives"] = [{"text": "a backpack"}]
            answer = ask(client, query, {})
            shares[denied] += sum(carries[c["identity"]["external_id"]] for c in answer["candidates"])
            right[denied] += first(answer) == str(person["id"])
    assert shares[1] < 0.85 * shares[0]
    assert right[1] >= right[0] - 0.03 * len(truth)


def test_a_candidate_leads_on_to_the_rest_of_the_person(client: TestClient, truth: list[dict[str, Any]]) -> None:
    found = 0
    for person in truth[:40]:
        query = {"parts": [{"text": person["images"][2]["captions"][0]}], "limit": 1, "images_per_identity": 1}
        candidate = ask(client, query, {})["candidates"][0]
        image = candidate["images"][0]["id"]
        alike = ask(client, {"parts": [{"image_id": image}], "limit": 1}, {})["candidates"][0]
        assert image not in [other["id"] for other in alike["images"]]
        found += alike["identity"]["id"] == candidate["identity"]["id"]
    assert found > 34
