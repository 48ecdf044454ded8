"""A backup restored elsewhere is the same gallery: from either database into either, of old schemas, after erasures."""

import json
import secrets
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image as Pictures
from sqlalchemy.engine import URL

from app.backup.restoring import Restore, read_ledger
from app.backup.service import Backup
from app.core import Core, looked_into, opened
from app.database.migrate import HEAD_REVISION, revision_of, run
from app.database.tables import Identity, Image
from app.errors import BackupError, BackupTargetError
from app.gallery.sources import open_source
from app.identities.answers import split
from app.identities.changes import IdentityChanges
from app.identities.erasures import ErasureRepository
from app.identities.schemas import SplitRequest
from app.identities.service import IdentityService
from app.settings import Settings
from app.vectors.repository import LogRepository
from tests.app.conftest import IngestFolder
from tests.app.toy import COLOURS
from tests.contract import postgres

Answer = list[tuple[int, float]]


def picture(colour: str, number: int, *, size: tuple[int, int] = (32, 64)) -> Pictures.Image:
    made = Pictures.new("RGB", size, COLOURS[colour])
    made.paste((number * 30, 99, 7), (0, 0, size[0] // 2, size[1] // 8))
    return made


@pytest.fixture
def gallery(core: Core, ingest: IngestFolder, tmp_path: Path) -> Core:
    """Eight images of four people, two of them with names; one image is larger than its thumbnail."""
    folder = tmp_path / "people"
    folder.mkdir()
    lines = []
    for number, colour in enumerate(("red", "green", "blue", "yellow", "purple", "orange", "white", "black")):
        picture(colour, number, size=(400, 600) if number == 0 else (32, 64)).save(folder / f"{number}.png")
        lines.append({"file": f"{number}.png", "identity": f"person-{number // 2}", "camera": "gate"})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ingest(folder)
    return core


def answers(core: Core) -> Answer:
    """Every image with its score for a fixed vector, from the index."""
    core.active.follow()
    view = core.active.current().view("text")
    hits = view.search(np.linspace(-1, 1, view.key.dim, dtype=np.float32), 100)
    return list(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True))


def names(core: Core) -> list[str]:
    with core.database.read() as session:
        return [image.store_name for image in session.query(Image).order_by(Image.id)]


def take(core: Core, target: Path) -> dict[str, Any]:
    return Backup(core.database, core.store, core.settings, target).run()


@contextmanager
def restored(source: Path, data_dir: Path, url: str = "", ledger: Path | None = None) -> Iterator[Core]:
    settings = Settings(data_dir=data_dir, database_url=url, device="cpu", ingest_chunk=4)
    Restore(source, settings, [] if ledger is None else read_ledger(ledger)).run()
    with opened(settings) as core:
        yield core


def see_whole(core: Core) -> None:
    """Each image has its files and its vectors, and nothing else is there."""
    with core.database.read() as session:
        stored = LogRepository(session).count(1, "text")
    found = names(core)
    assert stored == len(found) == core.active.current().view("text").count
    assert sorted(core.store.names()) == sorted(found)
    assert all(core.store.read(name, thumbnail=True) for name in found)


@pytest.mark.parametrize("form", ["backup", "backup.zip"])
def test_a_backup_answers_as_the_gallery_did(gallery: Core, tmp_path: Path, form: str) -> None:
    before = answers(gallery)
    manifest = take(gallery, tmp_path / form)
    assert (manifest["images"], manifest["identities"], manifest["pictures_missing"]) == (8, 4, [])
    with restored(tmp_path / form, tmp_path / "new") as core:
        assert answers(core) == before
        see_whole(core)
        assert [core.store.read(name) for name in names(core)] == [gallery.store.read(n) for n in names(gallery)]
        first = names(gallery)[0]
        assert core.store.read(first, thumbnail=True) == gallery.store.read(first, thumbnail=True)
        assert core.store.read(first, thumbnail=True) != core.store.read(first)
        with core.database.read() as one, gallery.database.read() as other:
            assert LogRepository(one).head().history != LogRepository(other).head().history
        outcomes = list(core.ingest().run(open_source(tmp_path / "people")))
        assert {outcome.status for outcome in outcomes} == {"duplicate"}


def test_a_backup_of_either_database_goes_into_postgresql(gallery: Core, tmp_path: Path, postgres_server: URL) -> None:
    before = answers(gallery)
    take(gallery, tmp_path / "backup")
    with postgres.fresh_database(postgres_server) as url:
        with restored(tmp_path / "backup", tmp_path / "new", url) as core:
            assert answers(core) == before
            see_whole(core)
            new = tmp_path / "new-people"
            new.mkdir()
            picture("red", 9).save(new / "x.png")
            (outcome,) = core.ingest().run(open_source(new))
            assert outcome.image_id is not None
            assert outcome.image_id > 1_000_000
        with pytest.raises(BackupTargetError, match="DESCRY_DATABASE_URL"):
            Restore(tmp_path / "backup", Settings(data_dir=tmp_path / "other", database_url=url)).run()
        assert not (tmp_path / "other").exists()


def test_what_is_erased_while_pictures_are_copied_is_not_in_it(gallery: Core, tmp_path: Path) -> None:
    """The database was copied with it; its picture is gone when it is to be copied, or was copied before."""
    before = answers(gallery)

    store = gallery.store
    read, erased = store.read, list[int]()

    def read_and_erase(name: str, *, thumbnail: bool = False) -> bytes | None:
        if not erased:
            erased.append(1)
            with store.change() as files, gallery.database.write() as session:
                files.doom(IdentityService(session).delete_identity(1))
        return read(name, thumbnail=thumbnail)

    store.read = read_and_erase  # type: ignore[method-assign]
    manifest = take(gallery, tmp_path / "backup")
    store.read = read  # type: ignore[method-assign]
    assert (manifest["images"], manifest["identities"], manifest["pictures_missing"]) == (6, 3, [])
    with restored(tmp_path / "backup", tmp_path / "new") as core:
        assert answers(core) == [row for row in before if row[0] not in (1, 2)]
        see_whole(core)


def test_a_ledger_is_applied_to_an_older_backup(gallery: Core, tmp_path: Path) -> None:
    take(gallery, tmp_path / "old.zip")
    with gallery.store.change() as files, gallery.database.write() as session:
        service = IdentityService(session)
        files.doom([*service.delete_identity(2), *service.delete_image(1)])
    with gallery.database.read() as session:
        entries = ErasureRepository(session).listed()
    lines = [json.dumps({"kind": kind, "number": number, "at": at.isoformat()}) for kind, number, at in entries]
    (tmp_path / "ledger.jsonl").write_text("\n".join(lines))
    take(gallery, tmp_path / "newer")
    for number, ledger in enumerate((tmp_path / "ledger.jsonl", tmp_path / "newer")):
        with restored(tmp_path / "old.zip", tmp_path / f"new-{number}", ledger=ledger) as core:
            assert answers(core) == answers(gallery)
            see_whole(core)
            with core.database.read() as session:
                assert {entry[:2] for entry in ErasureRepository(session).listed()} == {e[:2] for e in entries}
    with restored(tmp_path / "old.zip", tmp_path / "without") as core:
        assert len(answers(core)) == 8


def test_a_ledger_knows_merges_and_spares_who_was_split_off(gallery: Core, tmp_path: Path) -> None:
    """Person 2 was merged into 1, which was erased; of person 3, one image was somebody else's when it was erased."""
    take(gallery, tmp_path / "old")
    with gallery.database.write() as session:
        IdentityChanges(session).merge(1, [2], drop_names=True)
    with gallery.database.write() as session:
        other = split(session, 3, SplitRequest(image_ids=[6])).separated
    assert other is not None
    for person in (1, 3):
        with gallery.store.change() as files, gallery.database.write() as session:
            files.doom(IdentityService(session).delete_identity(person))
    take(gallery, tmp_path / "newer")
    with restored(tmp_path / "old", tmp_path / "new", ledger=tmp_path / "newer") as core:
        assert answers(core) == answers(gallery)
        see_whole(core)
        with core.database.read() as session:
            people = {(row.id, row.external_id, row.provisional) for row in session.query(Identity)}
        assert people == {(3, None, True), (4, "person-3", False)}


def test_a_backup_of_the_schema_before_is_migrated(gallery: Core, tmp_path: Path, database_url: str) -> None:
    before = answers(gallery)
    if not database_url.startswith("sqlite"):
        run(gallery.database, "0008")
        with pytest.raises(BackupError, match="start this release once"):
            take(gallery, tmp_path / "refused")
        assert not (tmp_path / "refused").exists()
        return
    run(gallery.database, "0008")
    (gallery.settings.images_dir / f"{_first_name(gallery)}.jpg").unlink()  # as an older release erases: no ledger
    with looked_into(gallery.settings) as (database, store):
        manifest = Backup(database, store, gallery.settings, tmp_path / "old").run()
        assert revision_of(database) == "0008"
    assert (manifest["revision"], manifest["pictures_missing"]) == ("0008", [1])
    with restored(tmp_path / "old", tmp_path / "new") as core:
        assert answers(core) == [row for row in before if row[0] != 1]
        assert revision_of(core.database) == HEAD_REVISION
        see_whole(core)


def _first_name(core: Core) -> str:
    with core.database.engine.connect() as connection:
        return str(connection.exec_driver_sql("SELECT store_name FROM images WHERE id = 1").scalar_one())


def test_what_is_not_whole_is_refused_and_leaves_nothing(gallery: Core, tmp_path: Path) -> None:
    take(gallery, tmp_path / "good")
    take(gallery, tmp_path / "good.zip")
    settings = Settings(data_dir=tmp_path / "new", device="cpu")
    for harm in (_without_manifest, _changed_part, _missing_part, _changed_manifest, _shorter_list):
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        harm(tmp_path / "bad")
        with pytest.raises(BackupError):
            Restore(tmp_path / "bad", settings).run()
    whole = (tmp_path / "good.zip").read_bytes()
    for size in (len(whole) // 3, len(whole) - 10):
        (tmp_path / "cut.zip").write_bytes(whole[:size])
        with pytest.raises(BackupError):
            Restore(tmp_path / "cut.zip", settings).run()
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "new.restoring").exists()
    with pytest.raises(BackupTargetError):
        take(gallery, tmp_path / "good")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "note.txt").write_text("mine")
    with pytest.raises(BackupTargetError, match="not empty"):
        Restore(tmp_path / "good", settings).run()
    assert (tmp_path / "new" / "note.txt").read_text() == "mine"


def _without_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _changed_part(folder: Path) -> None:
    part = next(path for path in (folder / "pictures").rglob("*") if path.is_file())
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)


def _missing_part(folder: Path) -> None:
    (folder / "database.sqlite3").unlink()


def _changed_manifest(folder: Path) -> None:
    found = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**found, "images": 7}))


def _shorter_list(folder: Path) -> None:
    lines = (folder / "parts.jsonl").read_text().splitlines(keepends=True)
    (folder / "parts.jsonl").write_text("".join(lines[:-1]))


def test_the_zip_holds_no_table_of_the_job_engine_and_nothing_of_the_erased(gallery: Core, tmp_path: Path) -> None:
    with gallery.store.change() as files, gallery.database.write() as session:
        files.doom(IdentityService(session).delete_identity(1))
    take(gallery, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as packed:
        data = packed.read("database.sqlite3")
    assert b"person-1" in data
    assert b"person-0" not in data
    assert b"workflow_status" not in data


def test_into_a_bucket_and_back(gallery: Core, tmp_path: Path, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "descry-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    name = f"b-{secrets.token_hex(6)}"
    client = boto3.session.Session().client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket=name)
    client.close()
    before = answers(gallery)
    take(gallery, tmp_path / "first")
    remote = Settings(data_dir=tmp_path / "a", image_store=f"s3://{name}/people", s3_endpoint=s3_server, device="cpu")
    Restore(tmp_path / "first", remote).run()
    with opened(remote) as core:
        see_whole_there(core)
        take(core, tmp_path / "second.zip")
    with pytest.raises(BackupTargetError, match="DESCRY_IMAGE_STORE"):
        Restore(tmp_path / "first", remote.model_copy(update={"data_dir": tmp_path / "c"})).run()
    with restored(tmp_path / "second.zip", tmp_path / "d") as core:
        assert answers(core) == before
        see_whole(core)


def see_whole_there(core: Core) -> None:
    core.active.follow()
    see_whole(core)
    assert not list(core.settings.images_dir.rglob("*.jpg"))
