"""descry queries and descry feedback: the same as over HTTP."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.errors import ExportTargetError, QueryNotFoundError
from tests.app.test_command_line import verb
from tests.app.test_search_api import people
from tests.app.toy import toy_checkpoint


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DESCRY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    verb("models", "register", str(toy_checkpoint(tmp_path / "toy")), "--activate")
    people(tmp_path / "people")
    verb("ingest", str(tmp_path / "people"))
    return tmp_path


def test_a_search_is_saved_judged_asked_again_and_printed(data: Path) -> None:
    found = json.loads(verb("search", "a red coat", "--purpose", "case 17", "--json"))
    query, order = found["query_id"], [candidate["identity"]["id"] for candidate in found["candidates"]]
    kept = json.loads(verb("queries", "show", query, "--json"))
    assert (kept["purpose"], kept["words"]) == ("case 17", "“a red coat”")
    assert json.loads(verb("queries", "save", query, "--name", "gate 4", "--json"))["name"] == "gate 4"
    assert "gate 4" in verb("queries", "list", "--saved")
    judged = verb("feedback", "add", query, "--reject", str(order[0]), "--confirm", str(order[3]), "--json")
    assert [row["verdict"] for row in json.loads(judged)["feedback"]] == ["confirm", "reject"]
    assert "confirm" in verb("feedback", "list", query)
    learnt = json.loads(verb("queries", "search", query, "--use-feedback", "--json"))
    second = [candidate["identity"]["id"] for candidate in learnt["candidates"]]
    assert (second[0], order[0] in second, learnt["query_id"]) == (order[3], False, query)
    for kind, start in (("pdf", b"%PDF-"), ("html", b"<!DOCTYPE html>"), ("csv", b"\xef\xbb\xbfrank,"), ("json", b"{")):
        verb("queries", "results", query, "--out", str(data / f"sheet.{kind}"))
        assert (data / f"sheet.{kind}").read_bytes().startswith(start)
    with pytest.raises(ExportTargetError):
        verb("queries", "results", query, "--out", str(data / "sheet.pdf"))
    number = json.loads(judged)["feedback"][0]["id"]
    verb("feedback", "remove", query, str(number))
    exported = json.loads(verb("feedback", "export", "--out", str(data / "pairs"), "--json"))
    assert (exported["images"], exported["pairs"], exported["held_out"]) == (0, 0, 0)
    verb("queries", "delete", query)
    with pytest.raises(QueryNotFoundError):
        verb("queries", "show", query)


def test_a_search_with_a_picture_is_kept_too(data: Path) -> None:
    found = json.loads(verb("search", "--image", str(data / "people" / "blue1.jpg"), "--json"))
    assert CliRunner().invoke(app, ["search", "red", "--purpose", "x" * 201]).exit_code == 2
    again = json.loads(verb("queries", "search", found["query_id"], "--json"))
    assert again["candidates"] == found["candidates"]
    found = json.loads(verb("search", "red", "--image", str(data / "people" / "blue1.jpg"), "--not", "green", "--json"))
    again = json.loads(verb("queries", "search", found["query_id"], "--json"))
    assert again["candidates"] == found["candidates"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["queries", "save", "0" * 32],
        ["queries", "save", "0" * 32, "--name", "x" * 201],
        ["feedback", "add", "0" * 32],
        ["queries", "results", "0" * 32, "--out", "sheet.docx"],
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setenv("DESCRY_DATA_DIR", str(tmp_path / "data"))
    assert CliRunner().invoke(app, arguments).exit_code == 2
