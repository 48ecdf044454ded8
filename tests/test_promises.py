"""docs/promises.md has every row of the table of promises, and every test that it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "promises.md"
ROWS = range(1, 33)
_ROW = re.compile(r"\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|")


def rows() -> dict[int, tuple[str, str, list[str]]]:
    """What is done, what must come of it, and the tests, by number."""
    found = {}
    for line in PAGE.read_text().splitlines():
        if (row := _ROW.fullmatch(line)) is not None:
            number, done, expected, tests = row.groups()
            assert int(number) not in found, f"row {number} is there twice"
            found[int(number)] = done.strip(), expected.strip(), re.findall(r"`T/([^`]+)`", tests)
            assert not re.sub(r"`T/[^`]+`", "", tests).strip(), f"row {number}: something that names no test"
    return found


@cache
def _tests_in(path: Path) -> frozenset[str]:
    """Names of the tests of a file that are not skipped; that they assert something is a house rule (test_house.py)."""
    if not path.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, functions) and node.name.startswith("test_") and not _skipped(node)
    )


def _skipped(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(re.search(r"mark\.(skip|xfail)\b", ast.unparse(mark)) for mark in node.decorator_list)


def test_every_row_is_there() -> None:
    assert sorted(rows()) == list(ROWS)


@pytest.mark.parametrize("number", ROWS)
def test_a_row_says_what_and_names_tests_that_exist(number: int) -> None:
    done, expected, tests = rows()[number]
    assert done
    assert expected
    assert tests, "the row names no test"
    missing = [name for name in tests if name.split("::")[1] not in _tests_in(ROOT / "tests" / name.split("::")[0])]
    assert missing == []


def test_the_check_can_fail() -> None:
    assert "test_the_check_can_fail" in _tests_in(Path(__file__))
    assert "test_that_nobody_wrote" not in _tests_in(Path(__file__))
    assert _tests_in(ROOT / "tests" / "nothing.py") == frozenset()
