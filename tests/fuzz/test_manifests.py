"""Manifests: each is read, with one entry for each line, or refused as a whole; what is read can be ingested."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from app.core import Core
from app.errors import ServiceError
from app.gallery.sources import Entry, Refused, open_source
from app.settings import Settings
from tests.app.conftest import core, empty_core
from tests.app.toy import picture
from tests.fuzz.harness import INPUTS, Record, fuzz, mutated, often
from tests.fuzz.values import scalars, texts, trees

__all__ = ["core", "empty_core"]
FIELDS = (
    "file",
    "identity",
    "camera",
    "track",
    "captured_at",
    "description",
    "attributes",
    "hair",
    "",
    "a\0b",
    "\ud800",
)
ODD_NAMES = ["./1.jpg", "../1.jpg", "/etc/passwd", "1.jpg\0", "link.jpg", "below/../1.jpg", "http://127.0.0.1:9/1.jpg"]
sound: dict[str, st.SearchStrategy[Any]] = {
    "file": st.sampled_from(["1.jpg", "2.jpg"]),
    "captured_at": st.datetimes().map(str) | st.just("2026-03-01T14:05:00+01:00"),
    "attributes": st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
}
names = sound["file"] | st.sampled_from(ODD_NAMES) | texts
words = st.sampled_from(["door", "p 7", "ж", "12"])


def _row(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A line of which one field or two are odd."""
    odd = st.dictionaries(st.sampled_from(FIELDS[1:]), values, max_size=2)
    good = st.fixed_dictionaries({"file": names}, optional={f: sound.get(f, words) for f in FIELDS[1:7]})
    return st.builds(lambda one, other: one | other, good, odd)


rows = _row(st.one_of(texts, scalars, trees))
lines = often((6, rows.map(json.dumps)), (1, texts), (1, trees.map(json.dumps)))


def _table(some: list[dict[str, Any]]) -> bytes:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, FIELDS)
    writer.writeheader()
    writer.writerows(some)
    return table.getvalue().encode("utf-8", "surrogatepass")


jsonl = st.lists(lines, max_size=6).map(lambda some: "\n".join(some).encode("utf-8", "surrogatepass"))
csvs = st.lists(_row(texts), max_size=6).map(_table)
manifests = st.one_of(
    st.tuples(st.just("jsonl"), often((8, jsonl), (5, mutated(jsonl)), (1, st.binary(max_size=200)))),
    st.tuples(st.just("csv"), often((8, csvs), (5, mutated(csvs)), (1, st.binary(max_size=200)))),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "batch"
    picture(made / "1.jpg", "red")
    picture(made / "2.jpg", "blue")
    (made / "link.jpg").symlink_to("/etc/hostname")
    return made


def test_manifests_are_read_or_refused(folder: Path, record_property: Record) -> None:
    def read(given: tuple[str, bytes]) -> str:
        kind, data = given
        path = folder / f"list.{kind}"
        path.write_bytes(data)
        try:
            entries = open_source(path).entries
        except ServiceError as error:
            return type(error).__name__
        for entry in entries:
            entry.name.encode()
            if isinstance(entry, Entry):
                assert entry.path.resolve() in {folder / "1.jpg", folder / "2.jpg"}
            else:
                entry.error.message.encode()
        return "read" if any(isinstance(entry, Entry) for entry in entries) else "read, all entries refused"

    seen = fuzz(manifests, read, record_property)
    assert seen["read"]
    assert seen["ManifestError"]


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=database_url, device="cpu", maintenance_s=3600)


def test_what_is_read_is_ingested_on_either_database(core: Core, folder: Path, record_property: Record) -> None:
    """Each picture comes once only: pictures that are there already would say nothing of their line."""
    count = 0

    def ingest(row: dict[str, Any]) -> str:
        nonlocal count
        count += 1
        data = bytearray((folder / "1.jpg").read_bytes())
        data[20:20] = b"\xff\xfe\x00\x06" + count.to_bytes(4, "big")  # a comment: other bytes, the same picture
        (folder / "1.jpg").unlink()
        (folder / "1.jpg").write_bytes(data)
        (folder / "list.jsonl").write_text(json.dumps({**row, "file": "1.jpg"}))
        (source,) = open_source(folder / "list.jsonl").entries
        (outcome,) = core.ingest().run(open_source(folder / "list.jsonl"))
        assert isinstance(source, Refused) == (outcome.image_id is None), outcome
        return outcome.code or str(outcome.status)

    seen = fuzz(rows, ingest, record_property, inputs=max(30, INPUTS // 10))
    assert seen["ingested"]
    assert seen["manifest_entry_invalid"]
