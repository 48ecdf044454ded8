"""Whatever stands in a manifest: it is refused as a whole with a reason, or each line gives exactly one entry."""

import csv
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import ManifestError
from app.gallery.sources import Entry, Refused, open_source

KEYS = ("file", "identity", "camera", "captured_at", "description", "attributes", "", "other", "a\0b")
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["1.jpg", "../1.jpg", "/etc/passwd", "\ud800.jpg", "a\0.jpg", "2026-01-01", "9999999-01-01", ""]),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
ROWS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
LINES = st.one_of(
    ROWS.map(json.dumps),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), max_size=40),
    st.sampled_from(["", " ", "[" * 3000, "1" * 5000, '{"file": 1e999}', '{"file": "1.jpg", "x": NaN}', "null", '"']),
)
QUICK = settings(
    max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "1.jpg").touch()
    return tmp_path


def entries(manifest: Path, data: bytes) -> list[Entry | Refused]:
    manifest.write_bytes(data)
    found = open_source(manifest).entries
    for entry in found:
        assert isinstance(entry, Refused) or entry.path.name == "1.jpg"
        entry.name.encode()
        assert "\0" not in entry.name  # PostgreSQL keeps no such text
        if isinstance(entry, Refused):
            assert entry.error.message.encode()
            assert "\0" not in entry.error.message
    return found


@QUICK
@given(lines=st.lists(LINES, max_size=8))
def test_every_line_of_json_is_one_entry(folder: Path, lines: list[str]) -> None:
    found = entries(folder / "list.jsonl", "\n".join(lines).encode("utf-8", "surrogatepass"))
    assert len(found) == sum(bool(line.strip()) for line in lines)


@QUICK
@given(rows=st.lists(st.dictionaries(st.sampled_from(KEYS), st.text(max_size=12)), max_size=6))
def test_every_row_of_a_table_is_one_entry(folder: Path, rows: list[dict[str, Any]]) -> None:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, KEYS)
    writer.writeheader()
    writer.writerows(rows)
    assert len(entries(folder / "list.csv", table.getvalue().encode())) == len(rows)


@QUICK
@given(
    data=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)),
    kind=st.sampled_from(["csv", "jsonl"]),
)
def test_any_bytes_are_read_or_refused(folder: Path, data: bytes, kind: str) -> None:
    with suppress(ManifestError):
        entries(folder / f"list.{kind}", data)
