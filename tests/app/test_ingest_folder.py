"""Ingest: everything readable is taken, everything else is named, and running it again changes nothing."""

import csv
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from app.commands.models import activate_version, register_checkpoint
from app.core import Core, open_core
from app.database.tables import Identity, ModelVersion
from app.database.tables import Image as ImageRow
from app.errors import InvalidError, ManifestError, ModelChangedError, NoActiveModelError, SourceError, StorageError
from app.gallery.ingest import Outcome
from app.gallery.local_store import LocalStore
from app.gallery.repository import ImageRepository
from app.gallery.sources import open_source
from app.gallery.store import StoreChange
from app.settings import Settings
from app.vectors.repository import LogRepository
from tests.app.conftest import IngestFolder
from tests.app.toy import picture, toy_checkpoint


def stored_files(core: Core) -> set[str]:
    return {path.name for path in core.settings.images_dir.rglob("*.jpg")}


def rows(core: Core) -> list[ImageRow]:
    with core.database.read() as session:
        return list(session.scalars(select(ImageRow).order_by(ImageRow.id)))


def by_name(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.name: outcome.code or outcome.status for outcome in outcomes}


def ordinary_folder(folder: Path) -> None:
    """Photographs and video crops as people have them, some of them broken."""
    picture(folder / "portrait.jpg", "red", size=(300, 800))
    picture(folder / "landscape.JPG", "green", size=(900, 300))
    picture(folder / "deep" / "er" / "crop.png", "blue", size=(31, 77))
    picture(folder / "tiny.png", "yellow", size=(1, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(picture(folder / "rotated.jpg", "purple", size=(120, 40))).save(folder / "rotated.jpg", exif=exif)
    Image.new("CMYK", (30, 60), (10, 200, 90, 4)).save(folder / "cmyk.jpg")
    Image.new("L", (30, 60), 77).save(folder / "grey.jpeg")
    Image.fromarray(np.full((60, 30), 40_000, np.uint16)).save(folder / "sixteen.png")
    frames = [Image.new("RGB", (20, 40), (value, 0, 99)) for value in (10, 200)]
    frames[0].save(folder / "animated.webp", save_all=True, append_images=frames[1:])
    whole = picture(folder / "whole.jpg", "orange", size=(200, 400)).read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("not a picture at all\n" * 9)
    frames[0].save(folder / "old.gif")
    (folder / "notes.txt").write_text("about these pictures")
    (folder / ".hidden.jpg").write_text("an editor's leftover")


def test_an_ordinary_folder(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    ordinary_folder(folder)
    outcomes = by_name(ingest(folder))
    assert {name: code for name, code in outcomes.items() if code != "ingested"} == {
        "truncated.jpg": "image_damaged",
        "empty.jpg": "file_empty",
        "text.jpg": "not_an_image",
        "old.gif": "format_unsupported",
    }
    assert Counter(outcomes.values())["ingested"] == 10
    assert open_source(folder).ignored == 1
    images = rows(core)
    assert {(image.width, image.height) for image in images} >= {(1, 1), (300, 800), (900, 300), (40, 120)}
    assert {f"{Path(image.store_name).name}.jpg" for image in images} <= stored_files(core)
    core.active.follow()
    assert core.active.current().view("text").count == len(images) == 10


def test_running_it_again_changes_nothing(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    ordinary_folder(folder)
    first = ingest(folder)
    files = stored_files(core)
    again = ingest(folder)
    assert {outcome.name: outcome.image_id for outcome in again if outcome.status == "duplicate"} == {
        outcome.name: outcome.image_id for outcome in first if outcome.status == "ingested"
    }
    assert [o for o in again if o.status == "rejected"] == [o for o in first if o.status == "rejected"]
    assert (stored_files(core), len(rows(core))) == (files, 10)


def test_the_same_bytes_are_taken_once_in_and_across_chunks(ingest: IngestFolder, tmp_path: Path) -> None:
    source = picture(tmp_path / "p" / "000.jpg", "red")
    for number in range(1, 13):
        shutil.copy(source, tmp_path / "p" / f"{number:03}.jpg")
    assert Counter(outcome.status for outcome in ingest(tmp_path / "p")) == {"ingested": 1, "duplicate": 12}


def test_the_same_bad_bytes_are_rejected_each_time(ingest: IngestFolder, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for number in range(6):  # in one chunk, and across
        (tmp_path / "p" / f"{number}.jpg").touch()
    assert {outcome.code for outcome in ingest(tmp_path / "p")} == {"file_empty"}


def write_manifest(folder: Path, entries: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def test_a_jsonl_manifest(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    picture(folder / "a" / "1.jpg", "red")
    picture(folder / "a" / "2.jpg", "red", shade=9)
    picture(folder / "unlisted.jpg", "blue")
    write_manifest(
        folder,
        [
            {"file": "a/1.jpg", "identity": 7, "camera": "north", "captured_at": "2026-03-01T14:05:00+01:00"},
            {
                "file": "a/2.jpg",
                "identity": "7",
                "description": " in red ",
                "attributes": {"hat": True},
                "gait": "slow",
            },
            {"file": "gone.jpg"},
            {"file": "a/1.jpg", "captured_at": "yesterday"},
            {"file": "a/1.jpg", "camera": "x" * 999},
            {"file": "a/1.jpg", "attributes": [1]},
            {"identity": "nobody"},
        ],
    )
    with (folder / "manifest.jsonl").open("a") as handle:
        handle.write('not json\n\n{"file": "a/1.jpg", "n": NaN}\n')
    outcomes = [(outcome.name, outcome.code or outcome.status) for outcome in ingest(folder)]
    assert outcomes == [
        ("a/1.jpg", "ingested"),
        ("a/2.jpg", "ingested"),
        ("gone.jpg", "file_missing"),
        *[("a/1.jpg", "manifest_entry_invalid")] * 3,
        ("manifest.jsonl:7", "manifest_entry_invalid"),
        ("manifest.jsonl:8", "manifest_entry_invalid"),
        ("a/1.jpg", "manifest_entry_invalid"),
    ]
    first, second = rows(core)
    assert first.identity_id == second.identity_id
    assert first.captured_at is not None
    assert first.captured_at.isoformat() == "2026-03-01T13:05:00+00:00"
    assert (second.description, second.attributes) == ("in red", {"hat": True, "gait": "slow"})
    with core.database.read() as session:
        identity = session.get_one(Identity, first.identity_id)
        assert (identity.external_id, identity.provisional) == ("7", False)
    assert open_source(folder).ignored == 1


def test_a_csv_manifest_as_spreadsheets_write_it(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    picture(folder / "ä 1.jpg", "red")
    with (folder / "manifest.csv").open("w", encoding="utf-8-sig", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "identity", "description", "attributes", "note"])
        writer.writerow(["ä 1.jpg", "", 'a "red"\ncoat, long', '{"hat": "cap"}', "n"])
        writer.writerow(["missing.jpg", "", "", "", ""])
    assert by_name(ingest(folder)) == {"ä 1.jpg": "ingested", "missing.jpg": "file_missing"}
    (image,) = rows(core)
    assert (image.description, image.attributes) == ('a "red"\ncoat, long', {"hat": "cap", "note": "n"})


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "a/../../secret.jpg", "/etc/passwd", "link.jpg", "linked/secret.jpg", "..\\secret.jpg"]
)
def test_no_entry_leaves_the_folder(core: Core, ingest: IngestFolder, tmp_path: Path, name: str) -> None:
    picture(tmp_path / "secret.jpg", "red")
    folder = tmp_path / "m"
    write_manifest(folder, [{"file": name}, {"file": "x" * 5000}])
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "linked").symlink_to(tmp_path)
    assert list(by_name(ingest(folder)).values()) == ["path_outside_folder", "file_missing"]
    assert rows(core) == []


def test_a_walk_follows_no_link_out_of_the_folder(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "secret.jpg", "red")
    picture(tmp_path / "m" / "own.jpg", "blue")
    (tmp_path / "m" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    assert by_name(ingest(tmp_path / "m")) == {"link.jpg": "path_outside_folder", "own.jpg": "ingested"}


def test_what_a_walk_does_not_look_into_is_named(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    picture(folder / "own.jpg", "blue")
    picture(tmp_path / "elsewhere" / "one.jpg", "red")
    (folder / "camera 2").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(folder)
    (folder / ".hidden").symlink_to(folder)
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    place = os.open(folder, os.O_RDONLY)
    for _ in range(20):  # whoever runs the test, nobody can open a path of 5,000 characters
        os.mkdir("d" * 250, dir_fd=place)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    found = by_name(ingest(folder))
    (deep,) = [name for name in found if name.startswith("ddd")]
    assert found.pop(deep) == "file_unreadable"
    assert found == {
        "own.jpg": "ingested",
        "camera 2/": "path_outside_folder",
        "again/": "path_outside_folder",
        **dict.fromkeys(("gone.jpg", "loop.jpg", "pipe.jpg"), "file_missing"),
    }


@pytest.mark.parametrize("separator", [", ", ";", "\t"])
def test_a_csv_manifest_is_read_whatever_separates_its_cells(
    core: Core, ingest: IngestFolder, tmp_path: Path, separator: str
) -> None:
    picture(tmp_path / "m" / "1.jpg", "red")
    lines = (("file", "identity", "camera"), ("1.jpg", "P-7", "gate 4"))
    (tmp_path / "m" / "manifest.csv").write_text("\r\n".join(separator.join(line) for line in lines))
    assert by_name(ingest(tmp_path / "m")) == {"1.jpg": "ingested"}
    (image,) = rows(core)
    assert (image.camera, image.attributes) == ("gate 4", {})
    with core.database.read() as session:
        assert session.get_one(Identity, image.identity_id).external_id == "P-7"


def test_a_csv_manifest_with_one_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("file,identity,identity\n1.jpg,P-1,P-2\n")
    with pytest.raises(ManifestError, match="`identity` twice"):
        open_source(tmp_path)


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        open_source(tmp_path / "nowhere")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SourceError, match="no folder, picture or manifest"):
        open_source(tmp_path / "notes.txt")
    for path in (tmp_path, picture(tmp_path / "one.jpg", "red")):
        with pytest.raises(SourceError):
            open_source(path, tmp_path)  # a root without a manifest
    (tmp_path / "manifest.csv").write_text("path,identity\n1.jpg,2\n")
    with pytest.raises(SourceError, match="no folder"):
        open_source(tmp_path / "manifest.csv", tmp_path / "nowhere")
    with pytest.raises(ManifestError, match="no column `file`"):
        open_source(tmp_path)
    (tmp_path / "manifest.csv").write_bytes(b"file\n\xff\xfe.jpg\n")
    with pytest.raises(ManifestError, match="UTF-8"):
        open_source(tmp_path)
    (tmp_path / "manifest.jsonl").touch()
    with pytest.raises(ManifestError, match="both"):
        open_source(tmp_path)


def test_limits_are_settings(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "p" / "large.jpg", "red", size=(400, 400))
    small = core.settings.model_copy(update={"max_pixels": 100_000})
    tight = open_core(small)
    try:
        (outcome,) = tight.ingest().run(open_source(tmp_path / "p"))
    finally:
        tight.close()
    assert (outcome.code, outcome.status) == ("too_many_pixels", "rejected")


def test_no_model_no_ingest(empty_core: Core) -> None:
    with pytest.raises(NoActiveModelError):
        empty_core.ingest()


def test_an_ingest_never_mixes_model_versions(core: Core, tmp_path: Path) -> None:
    for number in range(12):
        picture(tmp_path / "p" / f"{number}.jpg", "red", shade=number)
    other = register_checkpoint(core, toy_checkpoint(tmp_path / "other", words=("red",)), "other")
    running = core.ingest().run(open_source(tmp_path / "p"))
    done = [next(running) for _ in range(4)]
    activate_version(core, other.id)
    with pytest.raises(ModelChangedError):
        done += list(running)
    assert len(rows(core)) == len(done) == 4
    assert len(stored_files(core)) == 4
    with core.database.read() as session:
        assert LogRepository(session).count(other.id, "text") == 4


def test_a_full_disk_stops_the_ingest_and_leaves_nothing_behind(
    core: Core, ingest: IngestFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        picture(tmp_path / "p" / f"{number}.jpg", "red", shade=number)
    whole, written = StoreChange.write, []

    def write(self: StoreChange, name: str, data: bytes, thumb: bytes | None) -> None:
        written.append(name)
        if len(written) > 6:
            raise StorageError("a picture cannot be stored: No space left on device")
        whole(self, name, data, thumb)

    monkeypatch.setattr(StoreChange, "write", write)
    with pytest.raises(StorageError):
        ingest(tmp_path / "p")
    # Chunks of 4 overlap: which of them met the full disk is chance, but each is there whole or not at all.
    kept = len(rows(core))
    assert kept in (0, 4)
    assert len(stored_files(core)) == kept
    monkeypatch.undo()
    again = Counter(o.status for o in ingest(tmp_path / "p"))
    assert (again["duplicate"], again["ingested"]) == (kept, 10 - kept)


def test_files_without_rows_are_removed_at_the_next_start(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "p" / "1.jpg", "red")
    ingest(tmp_path / "p")
    store = core.store
    assert isinstance(store, LocalStore)
    kept = stored_files(core)
    # As a process leaves it that is killed between writing the files and the commit.
    (row,) = rows(core)
    orphan = f"ab/cd/{'0' * 32}"
    store.picture_path(orphan).parent.mkdir(parents=True, exist_ok=True)
    store.picture_path(orphan).write_bytes(b"x")
    journal = core.settings.images_dir / "journal" / "1"
    journal.write_text(f"{orphan}\n{row.store_name}\n../../descry.sqlite3\n")
    with store.change(new=1) as alive:
        alive.write(alive.names[0], b"in progress", None)
        open_core(core.settings).close()
        assert store.picture_path(alive.names[0]).exists()
    assert stored_files(core) == kept
    assert list(journal.parent.iterdir()) == []
    assert (core.settings.data_dir / "descry.sqlite3").exists()


def test_two_ingests_at_once_take_every_picture_once(core: Core, settings: Settings, tmp_path: Path) -> None:
    for number in range(20):
        picture(tmp_path / "p" / f"{number}.jpg", "red", shade=number)
    other = open_core(settings)
    try:
        first = core.ingest().run(open_source(tmp_path / "p"))
        second = other.ingest().run(open_source(tmp_path / "p"))
        outcomes = [outcome for pair in zip(first, second, strict=True) for outcome in pair]
    finally:
        other.close()
    assert Counter(outcome.status for outcome in outcomes) == {"ingested": 20, "duplicate": 20}
    assert len(rows(core)) == len(stored_files(core)) == 20


def test_a_name_that_is_not_text_can_be_reported(ingest: IngestFolder, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "p")
    os.mkdir(folder)  # noqa: PTH102  a path of bytes
    try:
        with open(folder + b"/\xff\xfe.jpg", "wb"):  # noqa: PTH123
            pass
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    (outcome,) = ingest(tmp_path / "p")
    assert outcome.code == "file_empty"
    outcome.name.encode()


def test_every_rejection_has_a_code_of_the_tree(ingest: IngestFolder, tmp_path: Path) -> None:
    ordinary_folder(tmp_path / "p")
    codes = set()
    waiting: list[type[InvalidError]] = [InvalidError]
    while waiting:
        codes.add(waiting[-1].code)
        waiting += waiting.pop().__subclasses__()
    assert {o.code for o in ingest(tmp_path / "p") if o.code} <= codes


def test_counting_what_a_version_lacks(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "p" / "1.jpg", "red")
    ingest(tmp_path / "p")
    with core.database.read() as session:
        images, toy = ImageRepository(session), session.get_one(ModelVersion, 1)
        other = ModelVersion(id=99, spec=toy.spec)
        assert (images.count_lacking(toy), images.count_lacking(other), images.count()) == (0, 1, 1)
