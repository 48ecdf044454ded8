"""Checkpoints from outside, by the API and by the verb: taken whole or refused with the reason, the model unchanged."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.core import Core
from app.main import create_app
from app.settings import Settings
from models.calibration import CALIBRATION, write_section
from models.checkpoint import CARD, SPEC, WEIGHTS
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import ask, people
from tests.models.test_trial import Bomb, compact_checkpoint, edit_spec, edit_weights, poison
from tests.training.calibration.test_confidence import curve

NAMES = {"weights": WEIGHTS, "spec": SPEC, "card": CARD, "calibration": CALIBRATION}


def send(client: TestClient, folder: Path, name: str = "outside") -> tuple[int, dict[str, object]]:
    files = {part: (file, (folder / file).read_bytes()) for part, file in NAMES.items() if (folder / file).exists()}
    response = client.post("/v1/models", files=files, data={"name": name})
    return response.status_code, response.json()


def pickled(folder: Path) -> Path:
    (folder / WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    return folder


def saved_by_torch(folder: Path) -> Path:
    torch.save(Bomb(), folder / WEIGHTS)
    return folder


def cut(folder: Path) -> Path:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-3])
    return folder


def no_json(folder: Path) -> Path:
    (folder / SPEC).write_bytes(b"\x80\x04.")
    return folder


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "pickle": (pickled, "safetensors"),
    "torch.save": (saved_by_torch, "safetensors"),
    "truncated": (cut, "safetensors"),
    "spec is no JSON": (no_json, "cannot be read"),
    "NaN": (lambda folder: edit_weights(folder, poison(float("nan"))), "not finite"),
    "dimensions": (
        lambda folder: edit_spec(folder, lambda spec: [s.update(dim=7) for s in spec["spaces"].values()]),
        "do not fit",
    ),
    "preprocessing": (
        lambda folder: edit_spec(folder, lambda spec: spec["preprocessing"].update(mean=[123.0] * 3)),
        "preprocessing",
    ),
    "tokenizer": (
        lambda folder: edit_spec(folder, lambda spec: spec["tokenizer"].update(vocabulary=["red"])),
        "do not fit",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_and_the_model_stays(
    client: TestClient, core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spoil, reason = REFUSED[name]
    folder = spoil(compact_checkpoint(tmp_path / "outside"))
    before = sorted(core.settings.models_dir.iterdir())
    status, problem = send(client, folder)
    assert (status, problem["code"]) == (422, "checkpoint_invalid")
    assert reason in str(problem["detail"])
    monkeypatch.setenv("DESCRY_DATA_DIR", str(core.settings.data_dir))
    done = CliRunner().invoke(app, ["models", "register", str(folder)])
    assert done.exit_code != 0
    assert getattr(done.exception, "code", None) == "checkpoint_invalid"
    assert sorted(core.settings.models_dir.iterdir()) == before
    listed = client.get("/v1/models").json()
    assert ([model["name"] for model in listed["models"]], listed["active_id"]) == (["toy"], 1)


def test_an_upload_becomes_a_version_once(client: TestClient, core: Core, tmp_path: Path) -> None:
    folder = compact_checkpoint(tmp_path / "outside")
    status, found = send(client, folder)
    assert (status, found["status"], found["method"]) == (201, "ready", "clip_baseline")  # there are no images
    assert client.get(f"/v1/models/{found['id']}").json() == found
    assert send(client, folder, "other name")[1]["id"] == found["id"]
    status, problem = send(client, compact_checkpoint(tmp_path / "two", seed=4))
    assert (status, problem["code"]) == (409, "model_name_taken")
    assert send(client, compact_checkpoint(tmp_path / "three", seed=5), " ")[0] == 422
    assert client.post(f"/v1/models/{found['id']}/activate").status_code == 200
    assert ask(client, "red")["model_version"]["name"] == "outside"
    assert client.post("/v1/models", files={"weights": b""}, data={"name": "x"}).status_code == 422


def test_a_checkpoint_beyond_the_limit(core: Core, settings: Settings, tmp_path: Path) -> None:
    small = settings.model_copy(update={"max_checkpoint_bytes": 1000})
    folder = compact_checkpoint(tmp_path / "outside")
    with TestClient(create_app(small), base_url="http://127.0.0.1") as client:
        assert send(client, folder)[1]["code"] == "body_too_large"


def test_confidence_is_said_where_it_is_known(
    client: TestClient, core: Core, ingest: IngestFolder, tmp_path: Path
) -> None:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    plain = ask(client, "red")
    assert (plain["calibrated"], plain["weak_below"], plain["candidates"][0]["confidence"]) == (False, None, None)
    write_section(tmp_path / "toy", "confidence", {"text": curve()})
    assert send(client, tmp_path / "toy")[1]["id"] == 1  # the same version, calibrated since
    core.active.follow()
    with TestClient(create_app(core.settings), base_url="http://127.0.0.1") as fresh:
        answer = ask(fresh, "red", limit=8)
        assert (answer["calibrated"], round(answer["weak_below"], 4)) == (True, 0.4667)
        for candidate in answer["candidates"]:
            expected = {True: 0.9, False: None}[candidate["score"] >= 0.6]
            assert expected is None or candidate["confidence"] == expected
        chances = [candidate["confidence"] for candidate in answer["candidates"]]
        assert chances == sorted(chances, reverse=True)
        assert chances[0] > chances[-1] == 0.1
        with (tmp_path / "people" / "red1.jpg").open("rb") as file:
            pictured = fresh.post("/v1/search/image", files={"file": file}).json()
        assert (pictured["calibrated"], pictured["candidates"][0]["confidence"]) == (False, None)
