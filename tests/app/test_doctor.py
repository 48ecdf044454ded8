"""`descry doctor` over things that are really broken: each is named, with what to do, and nothing is changed."""

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from importlib import metadata
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from app.access.schemas import NewKey
from app.access.service import KeyService
from app.cli import app
from app.core import Core
from app.database.migrate import run
from app.database.tables import AccessKey, Job, now
from app.diagnosis import installation, model, service
from app.diagnosis.machine import machine
from app.diagnosis.schemas import Finding
from app.diagnosis.service import diagnose
from app.jobs.names import worker_name
from app.settings import Settings
from models.checkpoint import save_checkpoint
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import people
from tests.app.toy import ToyEncoder, toy_spec


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", ingest_chunk=4, device="cpu", port=0)


@pytest.fixture
def filled(core: Core, ingest: IngestFolder, tmp_path: Path) -> Core:
    """A gallery with its snapshot on disk."""
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    loaded = core.active.current()
    loaded.catch_up()
    for view in loaded.views.values():
        view.save()
    return core


def found(settings: Settings) -> dict[str, Finding]:
    lines = list(diagnose(settings))
    assert len({line.check for line in lines}) == len(lines)
    assert all(line.message and (line.advice or line.status == "ok") for line in lines)
    return {line.check: line for line in lines}


def snapshot(settings: Settings) -> Path:
    (path,) = settings.index_dir.glob("*.index")
    return path


def test_a_sound_gallery_is_sound(filled: Core, settings: Settings) -> None:
    lines = found(settings)
    assert {line.status for line in lines.values()} == {"ok"}, lines
    assert set(lines) == {
        *("python", "torch", "faiss", "device", "extras", "settings", "folder", "disk", "port", "database", "pictures"),
        "model",
        *("runtime", "complete", "index", "memory", "workers", "access", "clock"),
    }
    assert "24 vectors, 0 entries behind" in lines["index"].message


def test_before_the_first_start_nothing_is_made(settings: Settings) -> None:
    lines = found(settings)
    assert lines["database"].status == "warn"
    assert "demo" in lines["database"].advice
    assert not settings.data_dir.exists()


def test_a_damaged_snapshot_is_found(filled: Core, settings: Settings) -> None:
    path = snapshot(settings)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    line = found(settings)["index"]
    assert (line.status, "checksum" in line.message, "rebuild" in line.advice) == ("fail", True, True)
    path.write_bytes(content[:-40])
    assert "ends too early" in found(settings)["index"].message
    path.unlink()
    assert found(settings)["index"].status == "warn"


def test_a_checkpoint_that_is_gone_damaged_or_another_is_found(filled: Core, settings: Settings) -> None:
    (folder,) = (path for path in settings.models_dir.iterdir() if path.is_dir())
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-10])
    assert "safetensors" in found(settings)["model"].message
    weights.unlink()
    line = found(settings)["model"]
    assert (line.status, "is missing" in line.message) == ("fail", True)
    save_checkpoint(ToyEncoder(toy_spec(words=("red", "person"))), folder, card="# other\n")
    assert "fingerprint differs" in found(settings)["model"].message


def test_a_folder_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    # /sys refuses files to root too, as permissions of a folder of ours would not.
    line = found(Settings(data_dir=Path("/sys/kernel"), device="cpu", port=0))["folder"]
    assert (line.status, "cannot be written" in line.message) == ("fail", True)
    (tmp_path / "file").touch()
    line = found(Settings(data_dir=tmp_path / "file" / "data", device="cpu", port=0))["folder"]
    assert (line.status, "cannot be made" in line.message) == ("fail", True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_found(filled: Core, settings: Settings) -> None:
    settings.data_dir.chmod(0o500)
    try:
        lines = found(settings)
    finally:
        settings.data_dir.chmod(0o700)
    assert (lines["folder"].status, lines["database"].status) == ("fail", "fail")


def test_pictures_that_are_gone_and_images_that_lack_vectors_are_found(filled: Core, settings: Settings) -> None:
    settings.images_dir.rename(settings.images_dir.with_name("elsewhere"))
    with filled.database.write() as session:
        session.execute(text("DELETE FROM embeddings WHERE image_id <= 10"))
    lines = found(settings)
    assert lines["pictures"].status == "fail"
    assert (lines["complete"].status, "lacks 10 of 24" in lines["complete"].message) == ("fail", True)


def test_a_database_of_another_release_or_that_is_none_is_found(empty_core: Core, settings: Settings) -> None:
    assert found(settings)["model"].status == "fail"  # none is active
    run(empty_core.database, "0008")
    line = found(settings)["database"]
    assert (line.status, "0008" in line.message) == ("warn", True)
    with empty_core.database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert found(settings)["database"].status == "fail"
    empty_core.database.close()
    for path in settings.data_dir.glob("descry.sqlite3*"):
        path.write_bytes(b"this is no database at all" * 100)
    assert found(settings)["database"].status == "fail"
    # Nothing listens at port 9 of this machine.
    away = settings.model_copy(update={"database_url": "postgresql://nobody:zebrawort@127.0.0.1:9/none"})
    line = found(away)["database"]
    assert (line.status, "zebrawort" in line.message) == ("fail", False)


def test_a_taken_port_is_found(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = settings.model_copy(update={"port": taken.getsockname()[1]})
        taken.close()
        assert found(busy)["port"].status == "ok"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.diagnosis.machine._ANSWER_S", 0.2)
        busy = settings.model_copy(update={"port": taken.getsockname()[1]})
        assert found(busy)["port"].status == "fail"


def test_jobs_without_a_worker_are_found(filled: Core, settings: Settings) -> None:
    with filled.database.write() as session:
        session.add(Job(id="waits", kind="ingest", resource="encoder", state="queued", parameters={}))
    assert "descry worker" in found(settings)["workers"].advice
    with worker_name(settings.workers_dir, "here"):
        assert found(settings)["workers"].status == "ok"
        with filled.database.write() as session:
            lost = Job(id="lost", kind="export", resource="export", state="running", parameters={}, worker="gone")
            lost.heartbeat_at = now() - timedelta(hours=1)
            session.add(lost)
        assert "lost" in found(settings)["workers"].message


def test_keys_and_the_clock(filled: Core, settings: Settings) -> None:
    beyond = settings.model_copy(update={"host": "0.0.0.0"})
    assert found(beyond)["access"].status == "fail"
    assert found(beyond.model_copy(update={"allow_open": True}))["access"].status == "warn"
    with filled.database.write() as session:
        made = KeyService(session).create(NewKey(name="desk", scopes=["search"]))
    assert found(settings)["access"].status == "warn"  # nobody can administrate
    with filled.database.write() as session:
        KeyService(session).create(NewKey(name="boss", scopes=["admin"]))
        row = session.get(AccessKey, made.id)
        assert row is not None
        row.last_used_at = now() + timedelta(days=400)
    lines = found(settings)
    assert lines["access"].status == "ok"
    assert lines["clock"].status == "fail"


def test_what_the_settings_ask_for_must_be_there(filled: Core, settings: Settings, tmp_path: Path) -> None:
    lines = found(settings.model_copy(update={"device": "cuda:9", "runtime": "torch-fp16"}))
    assert (lines["device"].status, lines["runtime"].status) == ("fail", "fail")
    lines = found(settings.model_copy(update={"runtime": "torch-fp16"}))
    assert "GPUs" in lines["runtime"].message
    settings.video_dir.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(installation, "version_of", lambda name: None)
        assert found(settings)["extras"].status == "warn"
        lines = found(settings.model_copy(update={"traces": True}))
    assert (lines["extras"].status, "otel" in lines["extras"].advice) == ("fail", True)


def test_every_extra_is_known() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    parts = {
        name: {re.split(r"[\[<>=;~]", part)[0] for part in wanted}
        for name, wanted in project["optional-dependencies"].items()
        if name not in ("cpu", "gpu", "dev")
    }
    assert {name: set(known) for name, known in installation._EXTRAS.items()} == parts


def test_each_setting_asks_for_its_extra(settings: Settings) -> None:
    def needed(**values: object) -> list[str]:
        return list(installation.needed_extras(settings.model_copy(update=values)))

    assert needed() == []
    assert needed(vector_engine="milvus") == ["milvus-lite"]
    assert needed(vector_engine="milvus", milvus_uri="http://milvus.example:19530") == ["milvus"]
    assert needed(video_detector="people.onnx") == needed(runtime="onnx-fp32") == ["onnx"]


def test_too_little_memory_is_found(filled: Core, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "available", lambda: 2**20)
    assert found(settings)["memory"].status == "fail"


def test_two_faiss_builds_or_two_builds_of_torch_are_found(settings: Settings, tmp_path: Path) -> None:
    """Other distributions that are installed: real metadata on a real path."""
    place = tmp_path / "site"
    for name, version in (("faiss_gpu", "1.14.0"), ("torchvision", "0.29.2+cu128")):
        folder = place / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        lines = found(settings)
    assert metadata.version("torchvision") != "0.29.2+cu128"
    assert (lines["faiss"].status, lines["torch"].status) == ("fail", "fail")
    assert "two builds" in lines["torch"].message


def test_a_look_that_breaks_keeps_no_other_from_being_taken(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Settings) -> Iterator[Finding]:
        raise KeyError("no")
        yield

    monkeypatch.setattr(service, "LOOKS", (broken, machine))
    lines = found(settings)
    assert lines["broken"].status == "fail"
    assert "folder" in lines


def test_the_verb_says_it_to_people_and_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCRY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DESCRY_PORT", "0")
    good = CliRunner().invoke(app, ["doctor"])
    assert good.exit_code == 0, good.output
    assert "descry demo" in good.stdout
    (tmp_path / "data").touch()
    command = [sys.executable, "-m", "app.cli", "doctor", "--json"]
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bad.returncode == 1, bad.stderr
    told = json.loads(bad.stdout)
    assert told["healthy"] is False
    assert {"check", "status", "message", "advice"} == set(told["findings"][0])
    assert [one["check"] for one in told["findings"] if one["status"] == "fail"] == ["folder"]
