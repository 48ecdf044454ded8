"""Answers that say when the person is probably not there: over HTTP, whatever is asked of whatever page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.commands.models import activate_version, register_checkpoint
from app.core import Core
from app.gallery.sources import open_source
from app.main import create_app
from app.settings import Settings
from models.calibration import write_section
from tests.app.test_search_api import ask, people, upload
from tests.app.toy import COLOURS, picture, toy_checkpoint

RULE: dict[str, Any] = {"slope": 100.0, "crowd": -0.5, "shift": -96.0, "scale": 30.0, "least": 0.4, "words": 2}
ABOUT = {"data": "d", "split": "val", "queries": 90, "identities": 30}
WORTH = {"flagged_absent": 0.9, "flagged_present": 0.04, "error": 0.01, "brier": 0.02}
CURVE = {"kind": "platt", "scores": [0.2, 0.9], "probabilities": [0.1, 0.9], "data": "d", "split": "val"}
CURVE_ABOUT = {"queries": 90, "identities": 30, "depth": 10, "error": 0.01, "brier": 0.02}


@pytest.fixture
def calibrated(empty_core: Core, settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    """Eight people in one colour each, three images of each."""
    folder = toy_checkpoint(tmp_path / "toy")
    write_section(folder, "confidence", {"text": {**CURVE, **CURVE_ABOUT}, "image": {**CURVE, **CURVE_ABOUT}})
    write_section(folder, "presence", {"text": {**RULE, **ABOUT, **WORTH}})
    activate_version(empty_core, register_checkpoint(empty_core, folder, "toy").id)
    empty_core.active.follow()
    people(tmp_path / "people")
    list(empty_core.ingest().run(open_source(tmp_path / "people")))
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        yield client


def without(client: TestClient, name: str) -> None:
    found = ask(client, name, limit=100)["candidates"]
    (wanted,) = [c["identity"]["id"] for c in found if c["identity"]["external_id"] == name]
    assert client.delete(f"/v1/identities/{wanted}").status_code == 204


def test_who_is_there_is_a_match_and_who_is_not_is_none(calibrated: TestClient) -> None:
    there = ask(calibrated, "a person in a red coat")
    assert there["no_good_match"] is False
    assert there["candidates"][0]["confidence"] > 0.9
    without(calibrated, "red")
    gone = ask(calibrated, "a person in a red coat")
    assert gone["no_good_match"] is True
    assert gone["candidates"][0]["score"] < there["candidates"][0]["score"] - 0.02
    assert sum(c["confidence"] for c in gone["candidates"]) < 0.4


def test_confidences_share_what_is_likely_whatever_the_page_shows(calibrated: TestClient) -> None:
    whole = ask(calibrated, "purple coat", limit=100)
    told = {c["identity"]["external_id"]: c["confidence"] for c in whole["candidates"]}
    assert len(told) == 8
    assert sum(told.values()) <= 1
    pages = [ask(calibrated, "purple coat", limit=3)]
    while pages[-1]["next_cursor"]:
        pages.append(ask(calibrated, "purple coat", limit=3, cursor=pages[-1]["next_cursor"]))
    assert {c["identity"]["external_id"]: c["confidence"] for page in pages for c in page["candidates"]} == told
    assert {page["no_good_match"] for page in pages} == {whole["no_good_match"]}
    single = ask(calibrated, "purple coat", limit=1)
    assert single["candidates"][0]["confidence"] == told[single["candidates"][0]["identity"]["external_id"]]


def test_images_of_one_person_do_not_compete(calibrated: TestClient) -> None:
    people_of = ask(calibrated, "green coat", limit=1)["candidates"]
    images_of = ask(calibrated, "green coat", limit=3, group_by="image")
    assert [c["identity"]["external_id"] for c in images_of["candidates"]] == ["green"] * 3
    assert images_of["candidates"][0]["confidence"] == people_of[0]["confidence"]
    assert images_of["no_good_match"] is False


def test_a_filter_takes_the_person_away(calibrated: TestClient) -> None:
    red = [c for c in ask(calibrated, "red", limit=100)["candidates"] if c["identity"]["external_id"] == "red"]
    hidden = {"without_identities": [red[0]["identity"]["id"]]}
    assert ask(calibrated, "red coat")["no_good_match"] is False
    assert ask(calibrated, "red coat", filters=hidden)["no_good_match"] is True
    assert ask(calibrated, "red", filters=hidden)["no_good_match"] is False  # one word is too few to tell
    assert ask(calibrated, "red coat", filters={"cameras": ["nowhere"]})["no_good_match"] is True


def test_a_space_that_knows_its_curve_alone_goes_by_it(calibrated: TestClient, tmp_path: Path) -> None:
    data = picture(tmp_path / "query.png", "green", "green").read_bytes()
    found = upload(calibrated, data).json()
    assert (found["no_good_match"], found["candidates"][0]["confidence"]) == (False, 0.9)
    without(calibrated, "green")
    found = upload(calibrated, data).json()
    score = found["candidates"][0]["score"]
    assert found["no_good_match"] is (score < found["weak_below"]) is True


def test_the_command_line_says_so(calibrated: TestClient, settings: Settings) -> None:
    without(calibrated, "red")
    for query, said in (("a person in a red coat", True), ("a person in a green coat", False)):
        found = CliRunner().invoke(app, ["search", query, "--data-dir", str(settings.data_dir)])
        assert found.exit_code == 0, found.output
        assert ("No good match" in found.stderr) is said


def test_too_short_a_description_calls_nobody_missing_also_among_parts(calibrated: TestClient) -> None:
    def missing(*texts: str) -> bool | None:
        denied = [{"text": f"a {colour} coat", "weight": 1000} for colour in COLOURS]
        body = {"parts": [{"text": text} for text in texts], "negatives": denied}
        found: bool | None = calibrated.post("/v1/search/composed", json=body).json()["no_good_match"]
        return found

    assert missing("a person in a red coat") is True
    assert missing("red") is False
    assert missing("red", "coat") is True  # two words, as many as the version wants
