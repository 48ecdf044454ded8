"""What a gallery can be filtered by, over HTTP."""

import json
from pathlib import Path

from starlette.testclient import TestClient

from app.commands.intake import run_ingest
from app.core import Core
from app.gallery.sources import open_source
from tests.app.toy import picture

ROWS = [
    {"identity": "P-1", "camera": "door", "captured_at": "2026-05-04T09:00:00Z", "attributes": {"hat": "red", "n": 1}},
    {"identity": "P-1", "camera": "door", "captured_at": "2026-05-04T10:00:00Z", "attributes": {"hat": "red"}},
    {"identity": "P-2", "camera": "platform", "attributes": {"hat": "blue", "n": True, "skinColour": "x", "bags": [1]}},
    {"identity": "P-3", "attributes": {"long": "x" * 81}},
]


def filled(core: Core, folder: Path) -> None:
    lines = []
    for number, row in enumerate(ROWS):
        picture(folder / f"{number}.jpg", ("red", "green", "blue", "white")[number])
        lines.append(json.dumps({"file": f"{number}.jpg", **row}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    assert run_ingest(core, open_source(folder), "north")["ingested"] == len(ROWS)


def test_cameras_times_and_attributes(client: TestClient, core: Core, tmp_path: Path) -> None:
    filled(core, tmp_path / "people")
    assert client.patch("/v1/identities/2", json={"attributes": {"ticket": "A-1", "religion": "x"}}).status_code == 200
    found = client.get("/v1/gallery/facets").json()
    assert found["cameras"] == [{"name": "door", "images": 2}, {"name": "platform", "images": 1}]
    assert (found["first_at"][:16], found["last_at"][:16]) == ("2026-05-04T09:00", "2026-05-04T10:00")
    # Neither what is protected nor what no filter can be equal to; 1 and true are two values.
    assert found["image_attributes"] == [
        {"field": "hat", "values": [{"value": "red", "count": 2}, {"value": "blue", "count": 1}], "more": False},
        {"field": "n", "values": [{"value": True, "count": 1}, {"value": 1, "count": 1}], "more": False},
    ]
    assert found["identity_attributes"] == [
        {"field": "ticket", "values": [{"value": "A-1", "count": 1}], "more": False}
    ]
    assert found["sampled"] == 4
    assert client.get("/v1/gallery/facets", params={"collection": "north"}).json() == found


def test_of_a_collection_that_is_empty_or_is_not_there(client: TestClient) -> None:
    client.post("/v1/collections", json={"name": "empty"})
    found = client.get("/v1/gallery/facets", params={"collection": "empty"}).json()
    assert (found["cameras"], found["first_at"], found["image_attributes"], found["sampled"]) == ([], None, [], 0)
    refused = client.get("/v1/gallery/facets", params={"collection": "nowhere"})
    assert (refused.status_code, refused.json()["code"]) == (404, "collection_not_found")
