"""The query path over HTTP, and grouping against brute force."""

import io
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from app.commands.models import activate_version, register_checkpoint
from app.core import Core
from app.main import create_app
from app.search.grouping import best_identities, rank_identities
from app.settings import Settings
from app.vectors.contract import Hits, Ids
from tests.app.conftest import IngestFolder
from tests.app.test_ingest_folder import write_manifest
from tests.app.toy import COLOURS, picture, toy_checkpoint


def people(folder: Path) -> None:
    """One identity for each colour, three pictures of each, on two cameras."""
    entries: list[dict[str, object]] = []
    for colour in COLOURS:
        for number in range(3):
            picture(folder / f"{colour}{number}.jpg", colour, colour, shade=3 * number)
            entries.append({"file": f"{colour}{number}.jpg", "identity": colour, "camera": f"cam-{number % 2}"})
    write_manifest(folder, entries)


@pytest.fixture
def filled(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> TestClient:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    return client


def ask(client: TestClient, query: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    response = client.post("/v1/search/text", json={"query": query, **options})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_description_finds_the_person(filled: TestClient) -> None:
    answer = ask(filled, "a person in a red coat", limit=3, images_per_identity=2)
    assert set(answer) == {
        "query_id",
        "model_version",
        "group_by",
        "candidates",
        "calibrated",
        "weak_below",
        "no_good_match",
        "next_cursor",
        "warnings",
        "took_ms",
    }
    assert answer["model_version"] == {"id": 1, "name": "toy"}
    assert set(answer["took_ms"]) == {"encode", "search", "fetch", "total"}
    first = answer["candidates"][0]
    assert first["identity"]["external_id"] == "red"
    assert first["confidence"] is answer["weak_below"] is answer["no_good_match"] is None
    assert answer["next_cursor"] is not None
    assert answer["calibrated"] is False
    assert len(answer["candidates"]) == 3
    assert [len(candidate["images"]) for candidate in answer["candidates"]] == [2, 2, 2]
    scores = [candidate["score"] for candidate in answer["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert first["score"] == first["images"][0]["score"] >= first["images"][1]["score"]
    thumbnail = filled.get(first["images"][0]["thumbnail_url"])
    assert (thumbnail.status_code, thumbnail.headers["content-type"]) == (200, "image/jpeg")


def test_a_page_is_full_when_there_are_enough_people(filled: TestClient) -> None:
    assert len(ask(filled, "blue", limit=8, images_per_identity=1)["candidates"]) == 8
    assert len(ask(filled, "blue", limit=100, images_per_identity=20)["candidates"]) == 8


def upload(client: TestClient, data: bytes, **fields: str) -> Any:  # noqa: ANN401  a response
    return client.post("/v1/search/image", files={"file": ("q.jpg", data, "image/jpeg")}, data=fields)


def test_a_picture_finds_the_person(filled: TestClient, tmp_path: Path) -> None:
    data = picture(tmp_path / "query.png", "green", "green", shade=2).read_bytes()
    answer = upload(filled, data, limit="2").json()
    assert [len(answer["candidates"]), answer["candidates"][0]["identity"]["external_id"]] == [2, "green"]
    assert answer["candidates"][0]["score"] > 0.99


def test_two_spaces_are_each_searched_in_their_own(core: Core, settings: Settings, tmp_path: Path) -> None:
    people(tmp_path / "people")
    two = register_checkpoint(core, toy_checkpoint(tmp_path / "two", two_spaces=True), "two")
    activate_version(core, two.id)
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        from app.gallery.sources import open_source

        list(core.ingest().run(open_source(tmp_path / "people")))
        assert ask(client, "a purple coat")["candidates"][0]["identity"]["external_id"] == "purple"
        data = (tmp_path / "people" / "orange1.jpg").read_bytes()
        answer = upload(client, data).json()
        assert answer["candidates"][0]["identity"]["external_id"] == "orange"
        assert answer["model_version"]["name"] == "two"
    assert len(list(settings.index_dir.glob(f"version-{two.id}-*.index"))) == 2


def test_what_the_tokenizer_did_is_told(filled: TestClient) -> None:
    warnings = ask(filled, "purpel coat with qqqq " + "red " * 20)["warnings"]
    assert {warning["code"] for warning in warnings} == {"unknown_words", "spelling_corrected", "query_truncated"}
    assert "qqqq" in next(w["message"] for w in warnings if w["code"] == "unknown_words")
    corrected = next(w["message"] for w in warnings if w["code"] == "spelling_corrected")
    assert re.search(r"purpel.+purple", corrected)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("   \n", "query_empty"),
        ("", "query_empty"),
        ("qqqq wwww", "query_not_understood"),
        ("red " * 600, "query_too_long"),
    ],
)
def test_descriptions_that_cannot_be_searched(filled: TestClient, query: str, code: str) -> None:
    response = filled.post("/v1/search/text", json={"query": query})
    assert (response.status_code, response.json()["code"]) == (422, code)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [(b"", 422, "file_empty"), (b"text" * 99, 422, "not_an_image"), (b"\xff\xd8\xff\xe0", 422, "image_damaged")],
)
def test_pictures_that_cannot_be_searched(filled: TestClient, data: bytes, status: int, code: str) -> None:
    response = upload(filled, data)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_an_upload_above_the_limit_is_refused(core: Core, settings: Settings) -> None:
    small = settings.model_copy(update={"max_upload_bytes": 1000})
    with TestClient(create_app(small), base_url="http://127.0.0.1") as client:
        assert upload(client, bytes(2000)).json()["code"] == "file_too_large"
        response = upload(client, bytes(200_000))
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_an_empty_gallery_says_so(client: TestClient) -> None:
    answer = ask(client, "red")
    assert (answer["candidates"], [w["code"] for w in answer["warnings"]]) == ([], ["gallery_empty"])


def test_without_a_model_there_is_a_typed_503(empty_core: Core, settings: Settings) -> None:
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        response = client.post("/v1/search/text", json={"query": "red"})
        assert (response.status_code, response.json()["code"]) == (503, "no_active_model")
        assert int(response.headers["retry-after"]) > 0
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["missing"]) == (503, ["active model: none"])
        assert [reason["code"] for reason in ready.json()["reasons"]] == ["no_active_model"]
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/v1/gallery").json() == {
            "identities": 0,
            "images": 0,
            "model_version": None,
            "heads_blurred": False,
        }


def test_ready_and_counted(filled: TestClient) -> None:
    ready = filled.get("/readyz").json()
    assert (ready["ready"], ready["missing"], ready["reasons"]) == (True, [], [])
    assert ready["behind"]["head"] == ready["behind"]["applied"] >= 24
    assert ready["behind"]["entries"] == 0
    assert filled.get("/v1/gallery").json() == {
        "identities": 8,
        "images": 24,
        "model_version": {"id": 1, "name": "toy"},
        "heads_blurred": False,
    }


def test_readers_a_writer_and_deletes_at_once(
    filled: TestClient, core: Core, ingest: IngestFolder, tmp_path: Path
) -> None:
    gone: set[int] = set()
    problems: list[str] = []
    stop = threading.Event()

    def read(colour: str) -> None:
        while not stop.is_set():
            before = set(gone)
            response = filled.post("/v1/search/text", json={"query": f"a {colour} coat", "limit": 100})
            if response.status_code != 200:
                problems.append(response.text)
                return
            ids = [image["id"] for c in response.json()["candidates"] for image in c["images"]]
            if len(ids) != len(set(ids)):
                problems.append("an image came twice")
            if before & set(ids):
                problems.append("a deleted image came")

    readers = [threading.Thread(target=read, args=(colour,)) for colour in COLOURS]
    for reader in readers:
        reader.start()
    for number in range(12):
        picture(tmp_path / f"more{number}" / "x.jpg", "red", "white", shade=number)
        (outcome,) = ingest(tmp_path / f"more{number}")
        assert filled.delete(f"/v1/images/{number + 1}").status_code == 204
        gone.add(number + 1)
        found = ask(filled, "red", limit=100)["candidates"]
        assert outcome.image_id in [image["id"] for candidate in found for image in candidate["images"]]
    stop.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert filled.get("/v1/gallery").json()["images"] == 24


@st.composite
def galleries(draw: st.DrawFn) -> tuple[dict[int, int], dict[int, float], int, int]:
    """Owners and scores of some images, a limit, and images for each identity."""
    count = draw(st.integers(0, 60))
    owners = {image: draw(st.integers(1, 9)) for image in range(1, count + 1)}
    scores = {image: draw(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9])) for image in owners}
    return owners, scores, draw(st.integers(1, 12)), draw(st.integers(1, 5))


@hypothesis_settings(max_examples=200, deadline=None)
@given(galleries())
def test_grouping_equals_brute_force(case: tuple[dict[int, int], dict[int, float], int, int]) -> None:
    owners, scores, limit, per_identity = case

    def ranked(images: list[int]) -> Hits:
        order = sorted(images, key=lambda image: (-scores[image], image))
        return Hits(np.array(order, np.int64), np.array([scores[image] for image in order], np.float32))

    def search(k: int) -> Hits:
        every = ranked(list(owners))
        return Hits(every.ids[:k], every.scores[:k])

    def scores_of(ids: Ids) -> Hits:
        return ranked(ids.tolist())

    found = best_identities(search, lambda ids: {image: owners[image] for image in ids}, limit)
    members = {image: owner for image, owner in owners.items() if owner in found}
    answer = rank_identities(found, members, scores_of, per_identity)

    expected: dict[int, list[int]] = {}
    for image in ranked(list(owners)).ids.tolist():
        expected.setdefault(owners[image], []).append(image)
    assert [(item.identity_id, [image for image, _ in item.images]) for item in answer] == [
        (owner, images[:per_identity]) for owner, images in list(expected.items())[:limit]
    ]


def test_a_large_identity_does_not_push_others_off_the_page(
    client: TestClient, ingest: IngestFolder, tmp_path: Path
) -> None:
    folder = tmp_path / "crowd"
    entries: list[dict[str, object]] = []
    for number in range(60):
        picture(folder / f"r{number}.jpg", "red", "red", shade=number // 2, size=(20 + number, 50))
        entries.append({"file": f"r{number}.jpg", "identity": "everywhere"})
    for colour in ("blue", "green"):
        picture(folder / f"{colour}.jpg", colour, colour)
        entries.append({"file": f"{colour}.jpg", "identity": colour})
    write_manifest(folder, entries)
    ingest(folder)
    answer = ask(client, "red coat", limit=3)
    assert next(c["identity"]["external_id"] for c in answer["candidates"]) == "everywhere"
    assert len(answer["candidates"]) == 3


def test_a_query_by_a_turned_photograph(filled: TestClient) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (90, 40), COLOURS["blue"]).save(buffer, "JPEG", exif=exif)
    assert upload(filled, buffer.getvalue()).json()["candidates"][0]["identity"]["external_id"] == "blue"
