"""/v1/search/composed: words, pictures and examples of the gallery together, and what is denied."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.commands.models import activate_version, register_checkpoint
from app.core import Core, open_core
from app.gallery.sources import open_source
from app.main import create_app
from app.settings import Settings
from models.confidence import ConfidenceCurve
from tests.app.test_search_api import people
from tests.app.toy import COLOURS, toy_checkpoint

PATH = "/v1/search/composed"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One gallery for all: nothing here changes it."""
    folder = tmp_path_factory.mktemp("composed")
    settings = Settings(data_dir=folder / "data", device="cpu")
    core = open_core(settings)
    activate_version(core, register_checkpoint(core, toy_checkpoint(folder / "toy"), "toy").id)
    core.active.follow()
    people(folder / "people")
    list(core.ingest().run(open_source(folder / "people")))
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        yield client
    core.close()


def jpeg(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 90), COLOURS[colour]).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def ask(client: TestClient, parts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    response = client.post(PATH, json={"parts": parts, **more})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def send(client: TestClient, query: dict[str, Any], files: dict[str, bytes]) -> Any:  # noqa: ANN401  a response
    content = [("files", (name, data, "image/jpeg")) for name, data in files.items()]
    return client.post(PATH, data={"query": json.dumps(query)}, files=content)


def names(answer: dict[str, Any]) -> list[str]:
    return [candidate["identity"]["external_id"] for candidate in answer["candidates"]]


def one_of(client: TestClient, colour: str) -> dict[str, Any]:
    answer = client.post("/v1/search/text", json={"query": colour, "limit": 1}).json()
    assert names(answer) == [colour]
    found: dict[str, Any] = answer["candidates"][0]
    return found


def test_parts_are_asked_together_and_each_says_what_it_gave(filled: TestClient) -> None:
    answer = ask(filled, [{"text": "a person in a green coat"}, {"text": "blue", "weight": 3}], limit=2)
    assert answer["calibrated"] is False
    assert names(answer)[0] == "blue"
    turned = ask(filled, [{"text": "a person in a green coat", "weight": 3}, {"text": "blue"}], limit=1)
    assert names(turned) == ["green"]
    for candidate in answer["candidates"]:
        parts = candidate["parts"]
        assert [(part["part"], part["negative"]) for part in parts] == [(0, False), (1, False)]
        assert [part["confidence"] for part in parts] == [None, None]
        assert parts[0]["contribution"] == pytest.approx(0.25 * parts[0]["score"], abs=1e-5)
        assert sum(part["contribution"] for part in parts) == pytest.approx(candidate["score"], abs=1e-5)
        assert candidate["score"] == candidate["images"][0]["score"]


def test_one_part_alone_is_the_plain_search(filled: TestClient) -> None:
    plain = filled.post("/v1/search/text", json={"query": "green", "limit": 5}).json()
    composed = ask(filled, [{"text": "green", "weight": 7}], limit=5)
    assert names(plain) == names(composed)
    assert plain["candidates"][0]["parts"] is None
    for one, other in zip(plain["candidates"], composed["candidates"], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)
        assert [image["id"] for image in one["images"]] == [image["id"] for image in other["images"]]
        assert [part["part"] for part in other["parts"]] == [0]


def test_pictures_come_with_the_query(filled: TestClient) -> None:
    files = {"a.jpg": jpeg("purple"), "b.jpg": jpeg("orange")}
    for weight, first in ((9, "purple"), (0.1, "orange")):
        query = {"parts": [{"picture": "a.jpg", "weight": weight}, {"picture": "b.jpg"}], "limit": 2}
        answer = send(filled, query, files)
        assert answer.status_code == 200, answer.text
        assert names(answer.json())[0] == first
    mixed = {"parts": [{"text": "orange", "weight": 4}, {"picture": "a.jpg"}], "negatives": [{"picture": "b.jpg"}]}
    found = send(filled, mixed, files).json()
    told = {name: candidate["parts"] for name, candidate in zip(names(found), found["candidates"], strict=True)}
    assert told["orange"][2]["negative"]
    assert told["orange"][2]["contribution"] < told["blue"][2]["contribution"] <= 0
    alone = filled.post(PATH, files={"query": (None, json.dumps({"parts": [{"text": "orange"}]}))})
    assert names(alone.json())[0] == "orange"


def test_what_is_denied_goes_down(filled: TestClient) -> None:
    before = names(ask(filled, [{"text": "a person in a red orange coat"}], limit=8))
    assert before.index("red") < 3
    for negative in (
        {"text": "red"},
        {"text": "a person in red"},
        {"image_id": one_of(filled, "red")["images"][2]["id"]},
    ):
        after = ask(filled, [{"text": "a person in a red orange coat"}], negatives=[negative | {"weight": 9}], limit=8)
        assert names(after).index("red") > before.index("red")
        for candidate in after["candidates"]:
            denied = candidate["parts"][1]
            assert (denied["part"], denied["negative"]) == (0, True)
            assert denied["contribution"] <= 0


def test_examples_are_not_their_own_answer(filled: TestClient) -> None:
    red, blue = one_of(filled, "red"), one_of(filled, "blue")
    image, person = red["images"][0]["id"], blue["identity"]["id"]
    alike = ask(filled, [{"image_id": image}], images_per_identity=20)
    assert names(alike)[0] == "red"
    assert image not in [found["id"] for found in alike["candidates"][0]["images"]]
    with_it = ask(filled, [{"image_id": image}], include_examples=True)
    assert with_it["candidates"][0]["images"][0]["id"] == image
    assert with_it["candidates"][0]["score"] == pytest.approx(1, abs=1e-3)
    others = ask(filled, [{"identity_id": person}], limit=20)
    assert "blue" not in names(others)
    assert len(names(others)) == len(COLOURS) - 1
    assert names(ask(filled, [{"identity_id": person}], include_examples=True))[0] == "blue"
    denied = ask(filled, [{"text": "red"}], negatives=[{"identity_id": red["identity"]["id"]}], limit=20)
    assert "red" not in names(denied)


def test_an_answer_without_candidates_says_why(filled: TestClient) -> None:
    every = filled.post("/v1/search/text", json={"query": "red", "limit": 20}).json()["candidates"]
    ids = [candidate["identity"]["id"] for candidate in every]
    filters = {"without_identities": ids[1:]}
    answer = ask(filled, [{"identity_id": ids[0]}], filters=filters)
    assert answer["candidates"] == []
    assert [warning["code"] for warning in answer["warnings"]] == ["nothing_matches"]


def test_pages_of_a_composed_answer(filled: TestClient) -> None:
    parts = [{"text": "red"}, {"text": "blue"}]
    every = names(ask(filled, parts, negatives=[{"text": "green"}], limit=8))
    walked: list[str] = []
    cursor = None
    while True:
        page = ask(filled, parts, negatives=[{"text": "green"}], limit=3, cursor=cursor)
        walked += names(page)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert walked == every
    first = ask(filled, parts, limit=3)
    changed = filled.post(PATH, json={"parts": [{"text": "red"}], "limit": 3, "cursor": first["next_cursor"]})
    assert changed.json()["code"] == "cursor_mismatch"


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        ({"parts": []}, 422, "invalid_request", "parts"),
        ({"parts": [{"text": "red"}] * 9}, 422, "invalid_request", "parts"),
        ({"parts": [{"text": "red"}], "negatives": [{"text": "red"}] * 9}, 422, "invalid_request", "negatives"),
        ({"parts": [{}]}, 422, "invalid_request", "none of them"),
        ({"parts": [{"text": "red", "image_id": 1}]}, 422, "invalid_request", "text and image_id"),
        ({"parts": [{"text": "red", "weight": 0}]}, 422, "invalid_request", "weight"),
        ({"parts": [{"text": "red", "weight": -1}]}, 422, "invalid_request", "weight"),
        ({"parts": [{"text": "red", "colour": 1}]}, 422, "invalid_request", "colour"),
        ({"parts": [{"image_id": 10_000}]}, 404, "image_not_found", "10000"),
        ({"parts": [{"identity_id": 10_000}]}, 404, "identity_not_found", "10000"),
        ({"parts": [{"text": "red"}], "negatives": [{"image_id": 10_000}]}, 404, "image_not_found", "10000"),
        ({"parts": [{"picture": "a.jpg"}]}, 422, "pictures_differ", "a.jpg"),
        ({"parts": [{"text": "red"}, {"text": " "}]}, 422, "query_empty", "parts[1]"),
        ({"parts": [{"text": "x" * 3000}]}, 422, "query_too_long", "parts[0]"),
        ({"parts": [{"text": "qqqq"}]}, 422, "query_not_understood", "parts[0]"),
        ({"parts": [{"text": "red"}], "negatives": [{"text": "qqqq"}]}, 422, "query_not_understood", "negatives[0]"),
        ({"parts": [{"text": "red"}], "collection": "nowhere"}, 404, "collection_not_found", "nowhere"),
    ],
)
def test_what_cannot_be_asked(filled: TestClient, body: dict[str, Any], status: int, code: str, words: str) -> None:
    answer = filled.post(PATH, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("weight", ["NaN", "Infinity", "1e400", '"2x"'])
def test_weights_are_numbers(filled: TestClient, weight: str) -> None:
    text = f'{{"parts": [{{"text": "red", "weight": {weight}}}]}}'
    answer = filled.post(PATH, content=text, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_bodies_that_cannot_be_read(filled: TestClient) -> None:
    red = {"parts": [{"picture": "a.jpg"}]}
    cases: list[tuple[Callable[[], Any], int, str]] = [
        (
            lambda: filled.post(PATH, content=b"red", headers={"content-type": "text/plain"}),
            415,
            "unsupported_media_type",
        ),
        (lambda: filled.post(PATH, content=b"{", headers={"content-type": "application/json"}), 422, "invalid_request"),
        (lambda: filled.post(PATH, files=[("files", ("a.jpg", jpeg("red"), "image/jpeg"))]), 422, "invalid_request"),
        (lambda: send(filled, {"parts": [{"text": "red"}]}, {"a.jpg": jpeg("red")}), 422, "pictures_differ"),
        (lambda: send(filled, red, {"b.jpg": jpeg("red")}), 422, "pictures_differ"),
        (lambda: send(filled, red, {"a.jpg": b"nothing"}), 422, "not_an_image"),
    ]
    for request, status, code in cases:
        answer = request()
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    twice = [("files", ("a.jpg", jpeg(colour), "image/jpeg")) for colour in ("red", "blue")]
    answer = filled.post(PATH, data={"query": json.dumps(red)}, files=twice)
    assert answer.json()["code"] == "pictures_differ"
    many = {f"{n}.jpg": jpeg("red") for n in range(17)}
    assert send(filled, red, many).status_code == 400
    assert ask(filled, [{"text": "red"}], limit=1)["candidates"]


def test_both_bodies_are_documented(filled: TestClient) -> None:
    document = filled.get("/openapi.json").json()
    content = document["paths"][PATH]["post"]["requestBody"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/ComposedQuery"}
    assert set(content["multipart/form-data"]["schema"]["properties"]) == {"query", "files"}
    fields = document["components"]["schemas"]["ComposedQuery"]["properties"]
    assert {"parts", "negatives", "include_examples", "limit", "filters"} <= set(fields)
    assert fields["parts"]["items"] == {"$ref": "#/components/schemas/ComposedPart"}
    assert document["components"]["schemas"]["ComposedPart"]["properties"]["weight"]["exclusiveMinimum"] == 0
    assert filled.get("/docs").status_code == 200


def test_a_calibrated_version_fuses_log_odds(empty_core: Core, settings: Settings, tmp_path: Path) -> None:
    core = empty_core
    checkpoint = toy_checkpoint(tmp_path / "toy", two_spaces=True)
    odds = np.linspace(-6, 6, 30)
    curve = {"text": (odds / 20 + 0.6).tolist(), "image": (odds / 40 + 0.7).tolist()}
    told = {
        space: ConfidenceCurve(
            "platt", tuple(scores), tuple((1 / (1 + np.exp(-odds))).tolist()), "toy", "val", 9, 9, 10, 0.0, 0.0
        ).to_dict()
        for space, scores in curve.items()
    }
    (checkpoint / "calibration.json").write_text(json.dumps({"format": 1, "confidence": told}))
    activate_version(core, register_checkpoint(core, checkpoint, "toy").id)
    core.active.follow()
    people(tmp_path / "people")
    list(core.ingest().run(open_source(tmp_path / "people")))
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        query = {
            "parts": [{"text": "red"}, {"picture": "a", "weight": 3}],
            "negatives": [{"picture": "b", "weight": 0.5}, {"text": "green"}],
            "limit": 8,
        }
        answer = send(client, query, {"a": jpeg("red"), "b": jpeg("white")}).json()
        itself = answer["candidates"][0]["images"][0]["id"]
        again = ask(client, [{"image_id": itself}], include_examples=True)["candidates"][0]
    assert again["images"][0]["id"] == itself
    assert again["parts"][0]["score"] == pytest.approx(1, abs=1e-3)  # its own vector, in the space of pictures
    assert (answer["calibrated"], answer["weak_below"]) == (True, 0)
    assert names(answer)[0] == "red"
    for candidate in answer["candidates"]:
        words, shown, denied, green = candidate["parts"]
        assert words["contribution"] == pytest.approx(0.25 * 20 * (words["score"] - 0.6), abs=1e-3)
        assert shown["contribution"] == pytest.approx(0.75 * 40 * (shown["score"] - 0.7), abs=1e-3)
        expected = -0.5 * 2 * np.logaddexp(0, 40 * (denied["score"] - 0.7))
        assert denied["contribution"] == pytest.approx(expected, abs=1e-3)
        assert green["contribution"] == pytest.approx(-2 * np.logaddexp(0, 5 * green["score"]), abs=1e-3)
        assert words["confidence"] == pytest.approx(1 / (1 + np.exp(-20 * (words["score"] - 0.6))), abs=0.02)
        assert green["confidence"] is None
        assert candidate["confidence"] == pytest.approx(1 / (1 + np.exp(-candidate["score"])), abs=1e-3)
