"""Model versions: registered whole, encoded side by side, switched by one row, never mixed."""

import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.commands.models import activate_version, register_checkpoint
from app.core import Core, open_core
from app.errors import ModelIncompleteError, ModelNameTakenError, ModelNotFoundError, StorageError
from app.gallery.sources import open_source
from app.main import create_app
from app.registry.service import ModelService
from app.settings import Settings
from app.vectors.repository import LogRepository
from models.checkpoint import WEIGHTS
from models.errors import CheckpointError
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import ask, people
from tests.app.toy import picture, toy_checkpoint
from tests.waiting import until


def test_a_broken_checkpoint_is_refused_and_changes_nothing(core: Core, tmp_path: Path) -> None:
    broken = toy_checkpoint(tmp_path / "broken", words=("red", "blue"))
    (broken / WEIGHTS).write_bytes((broken / WEIGHTS).read_bytes()[:-3])
    with pytest.raises(CheckpointError):
        register_checkpoint(core, broken, "broken")
    with pytest.raises(CheckpointError):
        register_checkpoint(core, tmp_path / "nowhere", "nowhere")
    with core.database.read() as session:
        assert [item.name for item in ModelService(session).all()] == ["toy"]
    assert len(list(core.settings.models_dir.iterdir())) == 1


def test_registering_twice_gives_the_same_version(core: Core, tmp_path: Path) -> None:
    again = register_checkpoint(core, tmp_path / "toy", "another name")
    assert (again.id, again.name, again.status) == (1, "toy", "active")
    other = toy_checkpoint(tmp_path / "other", words=("red",))
    with pytest.raises(ModelNameTakenError):
        register_checkpoint(core, other, "toy")


def test_a_registered_version_needs_its_folder_no_more(core: Core, settings: Settings, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "toy")
    fresh = open_core(settings)
    fresh.active.follow()
    assert fresh.active.current().name == "toy"
    fresh.close()


def test_side_by_side_then_one_row(client: TestClient, core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    two = register_checkpoint(core, toy_checkpoint(tmp_path / "two", two_spaces=True), "two")
    assert (two.status, two.missing) == ("registered", 24)
    assert ask(client, "red")["model_version"]["name"] == "toy"

    steps: list[int] = []
    _, _, encoder = core.active.load_encoder(two.id)

    def record(_: object, count: int) -> bool:
        steps.append(count)
        return True

    assert core.activation.encode_missing(two.id, encoder, record)
    assert steps == [4] * 6
    assert ask(client, "red")["model_version"]["name"] == "toy"
    assert client.post(f"/v1/models/{two.id}/activate").json()["status"] == "active"
    answer = ask(client, "red coat")
    assert (answer["model_version"]["name"], answer["candidates"][0]["identity"]["external_id"]) == ("two", "red")
    back = client.post("/v1/models/1/activate")  # rolling back is the same act
    assert (back.status_code, ask(client, "red")["model_version"]["id"]) == (200, 1)
    listed = client.get("/v1/models").json()["models"]
    assert [(model["name"], model["status"], model["missing"]) for model in listed] == [
        ("toy", "active", 0),
        ("two", "ready", 0),
    ]
    with core.database.read() as session:
        assert [LogRepository(session).count(two.id, space) for space in ("text", "image")] == [24, 24]


def test_the_server_follows_an_activation_elsewhere(client: TestClient, core: Core, tmp_path: Path) -> None:
    other = register_checkpoint(core, toy_checkpoint(tmp_path / "other", words=("red",)), "other")
    activate_version(core, other.id)
    until(lambda: ask(client, "red")["model_version"]["name"] == "other", "the other version answers")


def test_images_that_came_meanwhile_are_missed_by_nobody(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "p" / "1.jpg", "red")
    ingest(tmp_path / "p")
    other = register_checkpoint(core, toy_checkpoint(tmp_path / "other", words=("red",)), "other")
    _, _, encoder = core.active.load_encoder(other.id)
    core.activation.encode_missing(other.id, encoder)
    picture(tmp_path / "p" / "2.jpg", "blue")
    ingest(tmp_path / "p")
    with pytest.raises(ModelIncompleteError, match="1 images"):
        core.activation.complete(other.id, activate=True)
    core.activation.encode_missing(other.id, encoder)
    core.activation.complete(other.id, activate=True)
    with core.database.read() as session:
        log = LogRepository(session)
        assert log.head().active_version_id == other.id
        assert log.count(other.id, "text") == 2


def test_a_lost_picture_is_named(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "p" / "1.jpg", "red")
    ingest(tmp_path / "p")
    next(core.settings.images_dir.rglob("*.jpg")).unlink()
    picture(tmp_path / "p" / "2.jpg", "blue")
    ingest(tmp_path / "p")
    other = register_checkpoint(core, toy_checkpoint(tmp_path / "other", words=("red",)), "other")
    with pytest.raises(StorageError, match="image 1"):
        activate_version(core, other.id)
    with core.database.read() as session:
        assert LogRepository(session).count(other.id, "text") == 1  # the one that is there
    assert next(iter(core.ingest().run(open_source(tmp_path / "p")))).status == "duplicate"


@pytest.mark.parametrize("wanted", ["99", "nobody", "9" * 30])
def test_versions_that_do_not_exist(core: Core, wanted: str) -> None:
    with core.database.read() as session, pytest.raises(ModelNotFoundError):
        ModelService(session).find(wanted)


def test_a_server_whose_model_is_broken_starts_and_says_so(core: Core, settings: Settings) -> None:
    weights = next(settings.models_dir.rglob(WEIGHTS))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-3])
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        missing = client.get("/readyz").json()["missing"]
        assert missing == ["model version 1: not loaded (yet); the log says why"]
        refused = client.post("/v1/search/text", json={"query": "red"})
        assert (refused.status_code, refused.json()["code"]) == (503, "model_not_loaded")
        assert client.get("/v1/models").status_code == 200
        weights.write_bytes(whole)
        assert client.post("/v1/models/1/activate").status_code == 200
        assert client.get("/readyz").json()["ready"]
