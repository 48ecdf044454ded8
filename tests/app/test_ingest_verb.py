"""descry ingest: folders, archives, manifests, single pictures; at once or left to a worker. And the sweep."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.batches.staging import Stage
from app.cli import app
from app.commands.intake import REJECTED_EXIT
from app.core import Core
from app.errors import ArchiveError, BatchEntryError, BatchTooLargeError, ConfigurationError, SourceError, StorageError
from models.errors import DescryError
from tests.app.test_batches_api import left, tarred, zipped
from tests.app.test_ingest_folder import rows
from tests.app.test_job_retries import work
from tests.app.toy import picture


@pytest.fixture(autouse=True)
def folder(core: Core, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Four pictures, which all look the same to a hash of shapes, and a text."""
    monkeypatch.setenv("DESCRY_DATA_DIR", str(core.settings.data_dir))
    monkeypatch.setenv("COLUMNS", "200")
    made = tmp_path / "p"
    for name, colour in (("a/1.jpg", "red"), ("a/2.jpg", "blue"), ("3.jpg", "green")):
        picture(made / name, colour)
    picture(made / "a" / "again.png", "red")
    (made / "text.jpg").write_text("no picture")
    return made


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def verb(*words: str | Path) -> str:
    done = invoke(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*words: str | Path) -> DescryError:
    error = invoke(*words).exception
    assert isinstance(error, DescryError), error
    return error


def entries(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_archive_is_ingested_and_leaves_no_staging(core: Core, folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "people.zip"
    archive.write_bytes(zipped(entries(folder)))
    report = json.loads(verb("ingest", archive, "--json"))
    assert {key: report[key] for key in ("ingested", "duplicate", "rejected", "near_duplicates")} == {
        "ingested": 4,
        "duplicate": 0,
        "rejected": 1,
        "near_duplicates": 3,
    }
    assert [(item["file"], item["code"]) for item in report["rejections"]] == [("text.jpg", "not_an_image")]
    assert list(core.settings.staging_dir.iterdir()) == []
    packed = tmp_path / "people-of-monday"  # told by what it holds
    packed.write_bytes(tarred(entries(folder)))
    assert json.loads(verb("ingest", packed, "--json"))["duplicate"] == 4
    assert len(rows(core)) == 4


def test_a_report_for_people_and_the_exit_code(folder: Path) -> None:
    text = verb("ingest", folder)
    assert "4 ingested (3 look like an image that was there), 0 duplicates, 1 rejected" in text
    assert "not_an_image" in text
    assert invoke("ingest", folder, "--strict").exit_code == REJECTED_EXIT
    (folder / "text.jpg").unlink()
    assert invoke("ingest", folder, "--strict").exit_code == 0


def test_a_manifest_by_its_path(core: Core, folder: Path, tmp_path: Path) -> None:
    own = folder / "list.csv"
    own.write_text("file,identity\na/1.jpg,p1\nabsent.jpg,p2\n")
    report = json.loads(verb("ingest", own, "--json"))
    assert (report["ingested"], report["rejections"][0]["code"]) == (1, "file_missing")
    elsewhere = tmp_path / "lists" / "monday.jsonl"
    elsewhere.parent.mkdir()
    elsewhere.write_text('{"file": "2.jpg", "identity": "p1"}\n{"file": "../3.jpg"}\n')
    report = json.loads(verb("ingest", elsewhere, "--root", folder / "a", "--json"))
    assert (report["ingested"], report["rejections"][0]["code"]) == (1, "path_outside_folder")
    assert len({row.identity_id for row in rows(core)}) == 1


def test_one_picture(core: Core, folder: Path) -> None:
    assert json.loads(verb("ingest", folder / "3.jpg", "--json"))["ingested"] == 1
    assert [row.source_name for row in rows(core)] == ["3.jpg"]


def test_all_of_them_can_be_left_to_a_worker(core: Core, folder: Path, tmp_path: Path) -> None:
    archive, manifest = tmp_path / "people.zip", tmp_path / "list.jsonl"
    archive.write_bytes(zipped(entries(folder)))
    manifest.write_text('{"file": "a/1.jpg"}\n{"file": "3.jpg"}\n')
    picture(tmp_path / "single.jpg", "white")
    queued = [
        json.loads(verb("ingest", *words, "--queue", "--json"))["id"]
        for words in ((archive,), (manifest, "--root", folder), (folder,), (tmp_path / "single.jpg",))
    ]
    archive.unlink()  # what the worker needs of it is staged
    assert {path.name for path in left(core)} == {"1.jpg", "2.jpg", "3.jpg", "again.png", "text.jpg"}
    assert [work(core) for _ in queued] == queued
    found = [json.loads(verb("jobs", "show", job_id, "--json"))["counts"] for job_id in queued]
    assert [(job["ingested"], job["duplicate"], job["rejected"]) for job in found] == [
        (4, 0, 1),
        (0, 2, 0),
        (0, 4, 1),
        (1, 0, 0),
    ]
    assert list(core.settings.staging_dir.iterdir()) == []


@pytest.mark.parametrize("way", [(), ("--queue",)])
def test_a_hostile_archive_is_refused_and_leaves_nothing(
    core: Core, tmp_path: Path, way: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESCRY_MAX_BATCH_FILES", "3")
    hostile = {
        "slip.zip": (zipped({"../evil.jpg": b"x"}), BatchEntryError),
        "many.tar": (tarred({f"{n}.jpg": b"x" for n in range(4)}), BatchTooLargeError),
        "bomb.zip": (zipped({"1.jpg": bytes(40 << 20)}), BatchTooLargeError),
        "cut.zip": (zipped({"1.jpg": b"x" * 999})[:-30], ArchiveError),
    }
    for name, (data, error) in hostile.items():
        (tmp_path / name).write_bytes(data)
        assert type(refused("ingest", tmp_path / name, *way)) is error
    assert list(core.settings.staging_dir.iterdir()) == []
    assert json.loads(verb("jobs", "list", "--json")) == []


def test_what_a_killed_ingest_unpacked_goes_with_the_next_one(core: Core, folder: Path, tmp_path: Path) -> None:
    Stage(core.settings, "here-killed").keep()
    alive = Stage(core.settings, "here-alive")
    archive = tmp_path / "people.zip"
    archive.write_bytes(zipped(entries(folder)))
    verb("ingest", archive)
    assert list(core.settings.staging_dir.iterdir()) == [alive.folder]
    alive.remove()


def test_what_cannot_be_ingested_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "a.zip").write_bytes(zipped({}))
    for words in (("notes.txt",), ("absent",), ("a.zip", "--root", folder), ("p", "--root", folder)):
        assert isinstance(refused("ingest", tmp_path / words[0], *words[1:]), SourceError)


def test_a_reserve_of_the_disk_is_kept(core: Core, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCRY_MIN_FREE_BYTES", str(2**60))
    error = refused("ingest", folder)
    assert (error.code, isinstance(error, StorageError)) == ("disk_low", True)
    assert rows(core) == []


def test_pictures_without_rows_are_counted_then_swept(core: Core, folder: Path) -> None:
    orphan = core.settings.images_dir / "ab" / "cd" / f"{'0' * 32}.jpg"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"x")
    os.utime(orphan, (0, 0))
    assert isinstance(refused("images", "sweep", "--delete"), ConfigurationError)  # no image at all: a wrong database?
    verb("ingest", folder)
    files = set(core.settings.images_dir.rglob("*.jpg"))
    assert "1 pictures" in verb("images", "sweep")
    assert json.loads(verb("images", "sweep", "--json"))["deleted"] == 0
    assert orphan.exists()
    assert json.loads(verb("images", "sweep", "--delete", "--json"))["deleted"] == 1
    assert set(core.settings.images_dir.rglob("*.jpg")) == files - {orphan}
