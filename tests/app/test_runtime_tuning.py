"""The cache of exports, the record of a machine, and `descry tune`."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from app.cli import app
from app.commands.models import register_checkpoint
from app.core import Core
from app.embedding.runtime import TorchRuntime
from app.embedding.runtimes import opening, tuning
from app.embedding.runtimes.exports import exported, is_whole
from app.embedding.runtimes.known import RuntimeName
from app.embedding.runtimes.names import EXACT, machine, obstacle
from app.embedding.runtimes.opening import automatic, home_of, open_runtime
from app.embedding.runtimes.records import (
    Measured,
    RuntimeRecord,
    read_record,
    record_path,
    remember_cosine,
    write_record,
)
from app.errors import RuntimeRefusedError
from app.registry.retention import Retention
from app.settings import Settings
from models.checkpoint import DEMO, load_checkpoint
from models.encoder import PersonEncoder
from tests.waiting import LIMIT_S

HERE = machine(torch.device("cpu"))


@pytest.fixture(scope="module")
def encoder() -> PersonEncoder:
    return load_checkpoint(DEMO)


# --- Exports ---


def write_a_file(_: PersonEncoder, folder: Path) -> None:
    (folder / "text.bin").write_bytes(b"weights" * 1000)


def export(home: Path, encoder: PersonEncoder, write: object = write_a_file) -> Path:
    return exported(home, "openvino", encoder, write, least_free=0)  # type: ignore[arg-type]


def test_an_export_is_made_once_and_made_anew_when_it_is_damaged(tmp_path: Path, encoder: PersonEncoder) -> None:
    made: list[Path] = []

    def write(_: PersonEncoder, folder: Path) -> None:
        made.append(folder)
        write_a_file(_, folder)

    folder = export(tmp_path, encoder, write)
    assert export(tmp_path, encoder, write) == folder
    assert len(made) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", "text.bin"]
    (folder / "text.bin").write_bytes(b"weighty" * 1000)
    assert not is_whole(folder)
    assert is_whole(export(tmp_path, encoder, write))
    (folder / "export.json").write_text('{"format": 1, "sha256": 5}')
    assert is_whole(export(tmp_path, encoder, write))
    assert len(made) == 3


@pytest.mark.parametrize("error", [ValueError("no such operator"), OSError(28, "No space left on device")])
def test_an_export_that_fails_leaves_nothing(tmp_path: Path, encoder: PersonEncoder, error: Exception) -> None:
    def fail(_: PersonEncoder, folder: Path) -> None:
        (folder / "half").write_bytes(b"1")
        raise error

    expected = RuntimeRefusedError if isinstance(error, ValueError) else OSError
    with pytest.raises(expected, match=str(error.args[-1])):
        export(tmp_path, encoder, fail)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def die_halfway(home: str) -> None:
    """As a process that is killed within an export does."""
    import os

    def die(_: PersonEncoder, folder: Path) -> None:
        (folder / "half").write_bytes(b"1")
        os._exit(9)

    export(Path(home), load_checkpoint(DEMO), die)


def test_what_a_killed_process_left_is_removed(tmp_path: Path, encoder: PersonEncoder) -> None:
    # Not by `fork`: what threads of this process hold at that moment, nobody gives back in the child.
    child = multiprocessing.get_context("spawn").Process(target=die_halfway, args=(str(tmp_path),))
    child.start()
    child.join(LIMIT_S)
    assert child.exitcode == 9
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".partial-")]
    assert len(left) == 1
    folder = export(tmp_path, encoder)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", folder.name}


def test_exports_of_other_versions_go(tmp_path: Path, encoder: PersonEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    old = export(tmp_path, encoder)
    monkeypatch.setattr("app.embedding.runtimes.exports.version_of", lambda _: "9.9")
    new = export(tmp_path, encoder)
    assert new.name == "openvino-9.9-torch-9.9"
    assert not old.exists()
    assert is_whole(new)


# --- Records ---


def measured(name: RuntimeName, text: float, image: float = 10.0, cosine: float = 1.0) -> Measured:
    return Measured(name, text, image, 1000 / text, 1000 / image, cosine, 0.1)


def test_a_record_survives_and_belongs_to_its_machine(tmp_path: Path) -> None:
    record = RuntimeRecord(dict(HERE), EXACT, (measured(EXACT, 5.0),), {"torch-fp16": "fp16 is for GPUs"})
    write_record(tmp_path, record)
    remember_cosine(tmp_path, HERE, "torch-bf16", 0.99995)
    assert read_record(tmp_path, HERE) == replace(record, cosines={"torch-bf16": 0.99995})
    for key in ("processor", "torch", "openvino"):
        other = tuple((name, "another" if name == key else value) for name, value in HERE)
        assert read_record(tmp_path, other) == RuntimeRecord(dict(other))
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"format": 1}', json.dumps({"format": 1, "machine": dict(HERE), "choice": "tensorrt"})],
)
def test_a_record_that_cannot_be_read_counts_as_none(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    record_path(tmp_path, HERE).write_text(content)
    assert read_record(tmp_path, HERE) == RuntimeRecord(dict(HERE))
    assert "`descry tune` writes it anew" in caplog.text


# --- Tuning ---


def test_the_fastest_is_chosen_if_it_is_clearly_faster() -> None:
    exact = measured(EXACT, 10.0)
    assert tuning.best([exact]) is exact
    assert tuning.best([exact, measured("onnx-fp32", 9.5)]) is exact
    faster, fastest = measured("onnx-fp32", 5.0), measured("openvino-fp32", 4.0, 8.0)
    assert tuning.best([exact, faster, fastest]) is fastest
    # All four figures count: four times the texts do not make up for pictures that take ten times as long.
    assert tuning.best([exact, measured("onnx-fp32", 2.5, 100.0)]) is exact


def test_tuning_measures_what_is_here_and_auto_takes_the_choice(
    tmp_path: Path, encoder: PersonEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, min_free_bytes=0, device="cpu")
    told: list[tuple[str, str]] = []
    names: tuple[RuntimeName, ...] = ("torch-bf16", "torch-fp16", "openvino-fp32")
    record = tuning.tune(encoder, settings, names=names, seconds=0.05, progress=lambda *what: told.append(what))
    here = [name for name in (EXACT, *names) if obstacle(name, torch.device("cpu")) is None]
    assert [one.runtime for one in record.measured] == here
    assert set(record.refused) == {EXACT, *names} - set(here)
    assert told == [(name, what) for name in here for what in ("opening", "measuring")]
    assert all(one.text_ms > 0 and one.images_s > 0 and one.cosine >= 0.9999 for one in record.measured)
    assert read_record(home_of(encoder, settings), HERE) == record
    assert automatic(encoder, settings)[0] == record.choice

    chosen = replace(record, choice="torch-bf16")
    write_record(home_of(encoder, settings), chosen)
    monkeypatch.setattr("app.embedding.runtimes.names.has_bf16", lambda _: True)
    assert automatic(encoder, settings) == ("torch-bf16", "chosen by `descry tune` on this machine")
    assert type(open_runtime(encoder, settings)).__name__ == "HalfRuntime"
    # What is named holds, whatever was measured.
    assert type(open_runtime(encoder, settings.model_copy(update={"runtime": EXACT}))) is TorchRuntime


def test_a_candidate_that_is_too_far_is_not_measured(
    tmp_path: Path, encoder: PersonEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.embedding.runtimes.names.has_bf16", lambda _: True)
    monkeypatch.setattr(opening, "LEAST_COSINE", 0.9999999)
    settings = Settings(data_dir=tmp_path, device="cpu")
    record = tuning.tune(encoder, settings, names=("torch-bf16",), seconds=0.05)
    assert [one.runtime for one in record.measured] == [EXACT]
    assert "less than 0.9999999" in record.refused["torch-bf16"]
    assert record.choice == EXACT


def test_the_verb_prints_a_table_and_json(tmp_path: Path) -> None:
    options = ["tune", "--checkpoint", str(DEMO), "--data-dir", str(tmp_path)]
    before = CliRunner().invoke(app, [*options, "--show"])
    assert before.exit_code == 0, before.output
    assert "nothing was measured" in before.stdout
    assert "auto is torch-fp32" in before.stdout
    done = CliRunner().invoke(app, [*options, "--only", "torch-fp16", "--seconds", "0.05", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["choice"] == found["auto"] == EXACT
    assert [one["runtime"] for one in found["measured"]] == [EXACT]
    assert found["refused"] == {"torch-fp16": "fp16 is for GPUs"}
    assert found["machine"] == dict(HERE)
    table = CliRunner().invoke(app, [*options, "--show"], env={"COLUMNS": "120", "DESCRY_RUNTIME": "torch-bf16"})
    assert "Images/s" in table.stdout
    assert "torch-fp16: fp16 is for GPUs" in table.stdout
    assert "DESCRY_RUNTIME=torch-bf16 is set" in table.stdout
    wrong = CliRunner().invoke(app, [*options, "--only", "tensorrt"])
    assert wrong.exit_code == 2


def test_the_verb_takes_a_registered_version(core: Core) -> None:
    core.close()
    data = ["--data-dir", str(core.settings.data_dir), "--show", "--json"]
    active = CliRunner().invoke(app, ["tune", *data])
    assert active.exit_code == 0, active.output
    assert json.loads(active.stdout)["auto"] == EXACT
    assert CliRunner().invoke(app, ["tune", "no-such-version", *data]).exit_code == 1


def test_what_is_kept_of_a_version_goes_with_it(core: Core) -> None:
    version = register_checkpoint(core, DEMO, "shipped")
    home = home_of(load_checkpoint(DEMO), core.settings)
    write_record(home, RuntimeRecord(dict(HERE), EXACT))
    Retention(core.database, core.settings).delete(version.id)
    assert not home.exists()
