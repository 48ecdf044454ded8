"""Tables of verbs: as wide as the terminal at most with every id whole, and plain lines where there is no terminal."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from app.cli import app
from app.commands import output
from app.commands.output import Column, print_table
from app.commands.search import table_of
from app.search.schemas import SearchAnswer
from tests.app.test_command_line import verb
from tests.app.test_queries_verbs import data

__all__ = ["data"]
DIGITS = "12345678901234567890"


def drawn(columns: list[Column], rows: list[list[str]], width: int) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width)
    print_table(columns, rows, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def answer_of(folder: Path) -> SearchAnswer:
    """An answer as long as they get: large ids, long names of people, cameras and files, a description."""
    told = json.loads(verb("search", "a red coat", "--json"))
    for candidate in told["candidates"]:
        candidate["identity"] |= {"id": 1_234_567, "external_id": "a person from the second platform in the north"}
        candidate["confidence"] = 0.37
        candidate["images"][0] |= {
            "id": 7_654_321,
            "camera": "camera above the main entrance",
            "captured_at": "2026-05-04T09:00:00Z",
            "source_name": "a/rather/long/path/to/some/picture-000123.jpg",
            "description": "a woman with long blonde hair in a red coat " * 4,
        }
    return SearchAnswer.model_validate(told)


@pytest.mark.parametrize(
    ("width", "there", "absent"),
    [
        (60, ["ID", "Identity", "Confidence", "Image"], ["Camera", "Captured", "File", "Description"]),
        (80, ["ID", "Identity", "Confidence", "Captured", "Image"], ["File", "Description"]),
        (120, ["Identity", "Confidence", "Camera", "Captured", "Image", "Description"], ["File"]),
        (200, ["Identity", "Score", "Camera", "Captured", "Image", "File", "Description"], []),
    ],
)
def test_an_answer_fits_the_terminal(data: Path, width: int, there: list[str], absent: list[str]) -> None:
    answer = answer_of(data)
    lines = drawn(*table_of(answer), width)
    assert max(map(len, lines)) <= width
    assert [title for title in there if title not in lines[0].split()] == []
    assert [title for title in absent if title in lines[0].split()] == []
    ids = [line for line in lines if "1234567" in line]
    assert len(ids) == len(answer.candidates)
    assert all("7654321" in line and "37%" in line for line in ids)
    assert not any(char in "".join(lines) for char in "│┃┏")


def test_ids_are_whole_even_where_nothing_has_room() -> None:
    lines = drawn([Column("Query"), Column("Name", least=5), Column("More", spare=1)], [[DIGITS, "x" * 30, "y"]], 16)
    assert max(map(len, lines)) <= 16
    assert "".join(char for line in lines for char in line if char.isdigit()) == DIGITS
    assert sum(line.count("x") for line in lines) == 30
    assert "More" not in lines[0]


def test_a_pipe_gets_everything_in_plain_lines(data: Path) -> None:
    out = verb("search", "a red coat", "--limit", "3").splitlines()
    table = [line.split("\t") for line in out[:-1]]
    assert table[0][:3] == ["#", "ID", "Identity"]
    assert table[0][-3:] == ["Image", "File", "Description"]
    assert [row[0] for row in table[1:]] == ["1", "2", "3"]
    assert {len(row) for row in table} == {len(table[0])}
    assert out[-1].startswith("Candidates, not identifications. Query ")


def test_what_would_drive_a_terminal_is_no_part_of_a_table() -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    print_table([Column("Name")], [["[red]a\tb\x1b[2J\nc"]], console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "Name\n[red]a\ufffdb\ufffd[2J\ufffdc\n"
    (line,) = drawn([Column("Name")], [["[red]a\x1b[2J"]], 80)[2:]
    assert line.strip() == "[red]a\ufffd[2J"


def test_only_one_module_draws_tables() -> None:
    """So that none is drawn into a pipe."""
    commands = Path(output.__file__).parent
    drawing = {path.name for path in commands.glob("*.py") if "rich.table" in path.read_text(encoding="utf-8")}
    assert drawing == {"output.py"}


def test_every_table_goes_into_a_pipe_as_lines_with_tabs(data: Path) -> None:
    found = json.loads(verb("search", "a red coat", "--json"))
    person = str(found["candidates"][0]["identity"]["id"])
    verb("feedback", "add", found["query_id"], "--confirm", person)
    verb("identities", "split", person, "--image", str(found["candidates"][0]["images"][0]["id"]))
    verb("retention", "set", "--collection", "default", "--days", "90")
    verb("keys", "create", "desk", "--scope", "search")
    for arguments, columns in (
        (["models", "list"], 7),
        (["models", "show", "1"], 2),
        (["keys", "list"], 7),
        (["identities", "history", person], 7),
        (["identities", "timeline", person], 5),
        (["identities", "runs"], 5),
        (["feedback", "list", found["query_id"]], 6),
        (["retention", "list"], 4),
        (["audit", "list"], 7),
        (["jobs", "list"], 3),
    ):
        lines = verb(*arguments).splitlines()
        assert {line.count("\t") for line in lines} == {columns - 1}, (arguments, lines)
        assert len(lines) > 1 or arguments in (["identities", "runs"], ["jobs", "list"]), arguments
    ran = subprocess.run(
        [sys.executable, "-m", "app.cli", "keys", "list"], capture_output=True, text=True, check=True, timeout=60
    )
    head, key = (line.split("\t") for line in ran.stdout.splitlines())
    assert (head[:2], key[:2]) == (["Key", "Name"], ["1", "desk"])


def test_what_an_ingest_rejects_is_lines_with_tabs_below_a_title(data: Path) -> None:
    (data / "bad").mkdir()
    (data / "bad" / "empty.jpg").touch()
    told = CliRunner().invoke(app, ["ingest", str(data / "bad")])
    assert told.exit_code == 0, told.output
    title, head, row, *_ = told.stdout.splitlines()
    assert (title, head) == ("Rejected (1)", "File\tCode\tWhy")
    assert row.split("\t")[0] == "empty.jpg"
