"""The verbs: results on standard output, errors as one line on standard error, quick to answer --help."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.commands.output import results
from app.errors import PortTakenError
from models.errors import DescryError
from tests.app.test_search_api import people
from tests.app.toy import picture, toy_checkpoint

runner = CliRunner()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DESCRY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def verb(*arguments: str) -> str:
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_from_a_checkpoint_to_an_answer(data: Path) -> None:
    checkpoint = toy_checkpoint(data / "toy")
    assert json.loads(verb("models", "register", str(checkpoint), "--json"))["status"] == "ready"
    assert json.loads(verb("models", "activate", "toy", "--json"))["status"] == "active"
    people(data / "people")
    (data / "people" / "notes.txt").touch()
    report = json.loads(verb("ingest", str(data / "people"), "--json"))
    assert (report["ingested"], report["rejected"], report["ignored"]) == (24, 0, 1)
    found = json.loads(verb("search", "a red coat", "--limit", "2", "--json"))
    assert found["candidates"][0]["identity"]["external_id"] == "red"
    found = json.loads(verb("search", "--image", str(data / "people" / "blue1.jpg"), "--json"))
    assert found["candidates"][0]["identity"]["external_id"] == "blue"
    assert "green" in verb("search", "green coat", "--limit", "1")
    blue = str(data / "people" / "blue1.jpg")
    found = json.loads(verb("search", "red", "--image", blue, "--not", "green", "--weight", "image=5", "--json"))
    assert found["candidates"][0]["identity"]["external_id"] == "blue"
    assert [part["negative"] for part in found["candidates"][0]["parts"]] == [False, False, True]
    best = found["candidates"][0]
    image, person = best["images"][0]["id"], best["identity"]["id"]
    found = json.loads(verb("search", "--like-image", str(image), "--not-picture", blue, "--json"))
    assert image not in [shown["id"] for shown in found["candidates"][0]["images"]]
    assert "blue" not in verb("search", "--like-identity", str(person), "--limit", "7")
    assert json.loads(verb("index", "rebuild", "--json"))[0]["vectors"] == 24
    assert [model["name"] for model in json.loads(verb("models", "list", "--json"))] == ["toy"]
    assert "active" in verb("models", "list")
    assert "24 duplicates" in verb("ingest", str(data / "people"))
    assert "24 ingested" in verb("ingest", str(data / "people"), "--collection", "north")
    found = json.loads(verb("search", "red coat", "--collection", "north", "--limit", "1", "--json"))
    assert {image["collection"] for image in found["candidates"][0]["images"]} == {"north"}


def test_bad_files_are_listed_and_markup_in_names_is_text(data: Path) -> None:
    verb("models", "register", str(toy_checkpoint(data / "toy")))
    verb("models", "activate", "1")
    picture(data / "p" / "good.jpg", "red")
    (data / "p" / "[red]x[].jpg").touch()
    shown = verb("ingest", str(data / "p"))
    assert "[red]x[].jpg" in shown
    assert "file_empty" in shown
    assert "1 ingested, 0 duplicates, 1 rejected" in shown


def test_errors_are_typed_and_usage_errors_are_usage_errors(data: Path) -> None:
    for arguments in (["ingest", str(data / "none")], ["models", "activate", "7"], ["models", "register", str(data)]):
        with pytest.raises(DescryError):
            runner.invoke(app, arguments, catch_exceptions=False)
    for arguments in (
        ["search"],
        ["search", "--not", "red"],
        ["search", "red", "--weight", "image=2"],
        ["models", "register"],
        ["ingest"],
    ):
        assert runner.invoke(app, arguments).exit_code == 2


def test_a_process_prints_one_line_and_no_traceback(data: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "app.cli", "ingest", str(data / "none")], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("error source_unreadable: ")
    assert ran.stderr.count("\n") == 1


def test_help_imports_no_torch() -> None:
    """Which would take seconds."""
    command = "import sys, app.cli; assert 'torch' not in sys.modules and 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", command], check=True)


def test_a_waiting_worker_loads_no_torch(data: Path) -> None:
    command = (
        "import sys, pathlib, app.jobs.worker; from app.core import opened; from app.settings import Settings\n"
        "with opened(Settings(data_dir=pathlib.Path(sys.argv[1]))) as core: core.store.check()\n"
        "assert not {'torch', 'faiss'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", command, str(data / "data")], check=True)


def test_training_verbs_are_passed_on() -> None:
    environment = {**os.environ, "COLUMNS": "120"}
    ran = subprocess.run(
        [sys.executable, "-m", "app.cli", "synthesise", "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert ran.returncode == 0
    assert "CUHK-PEDES" in ran.stdout


def test_a_taken_port_is_said_before_anything_slow_happens(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTakenError, match="--port"):
        runner.invoke(app, ["demo", "--port", str(taken.getsockname()[1])], catch_exceptions=False)
    assert not (data / "data").exists()


def test_a_narrow_terminal_shows_who_was_found(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verb("models", "register", str(toy_checkpoint(data / "toy")), "--activate")
    picture(data / "p" / "good.jpg", "red")
    verb("ingest", str(data / "p"))
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes it for a terminal
    for columns in ("40", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        results.cache_clear()
        shown = verb("search", "red person")
        assert "unnamed" in shown
        assert ("good.jpg" in shown) == (columns == "80")
        assert "Description" not in shown  # nobody has one
    results.cache_clear()
