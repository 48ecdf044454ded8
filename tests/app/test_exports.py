"""Exports: what goes out comes in again, what was deleted is not in it, and what is unfinished goes on or goes away."""

import io
import json
import os
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.commands.models import activate_version, register_checkpoint
from app.core import Core, opened
from app.errors import CollectionNotFoundError, ExportTooLargeError
from app.exports.package import Export
from app.exports.results import result_path, sweep_exports
from app.gallery.sources import Entry, open_source
from app.gallery.store import ImageStore
from app.identities.repository import IdentityRepository
from app.jobs.kinds import KINDS, Hands
from app.settings import Settings
from tests.app.test_indexing_jobs import finish, taken
from tests.app.test_problems import check
from tests.app.toy import picture, toy_checkpoint

LINES: list[dict[str, Any]] = [
    {"file": "a.jpg", "identity": "P-1", "camera": "north", "captured_at": "2026-05-04T09:12:00.123456+00:00"},
    {"file": "b.jpg", "identity": "P-1", "description": "ein Mann, “rot” <b>\nzweite Zeile", "attributes": {"n": [1]}},
    {"file": "c.jpg", "camera": "süd", "attributes": {"ticket": "A-220", "none": None}},
    {"file": "d.jpg"},
    {"file": "e.jpg", "identity": "P-2"},
]


def fill(core: Core, folder: Path, collection: str = "default", *, shade: int = 0) -> None:
    for number, line in enumerate(LINES):
        picture(folder / line["file"], "red", shade=5 * number + shade)
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(line) for line in LINES))
    assert {outcome.status for outcome in core.ingest(collection).run(open_source(folder))} == {"ingested"}


def content(core: Core, collection: str = "default") -> list[tuple[object, ...]]:
    """Everything that an export must carry, in the order of the images."""
    with core.database.read() as session:
        rows = IdentityRepository(session).page(range(1, 100)).values()
        return [
            (identity.external_id, image.camera, image.captured_at, image.description, image.attributes, image.width)
            for image, identity in sorted(rows, key=lambda row: row[0].id)
            if image.collection.name == collection
        ]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path / "elsewhere", device="cpu")
    with opened(settings) as core:
        activate_version(core, register_checkpoint(core, toy_checkpoint(tmp_path / "toy2"), "toy").id)
    return settings


def unpacked(data: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        assert packed.testzip() is None
        packed.extractall(folder)
    return folder


def test_what_a_job_exports_can_be_ingested(
    client: TestClient, core: Core, elsewhere: Settings, tmp_path: Path
) -> None:
    fill(core, tmp_path / "p")
    client.patch("/v1/identities/4", json={"external_id": None})  # no longer provisional, and without a name
    queued = client.post("/v1/exports", json={"collection": "default"})
    assert (queued.status_code, queued.json()["result_url"]) == (202, None)
    check(client.get(f"/v1/jobs/{queued.json()['id']}/result"), 404, "job_result_gone")
    job_id = finish(core)
    job = client.get(queued.headers["location"]).json()
    assert (job["state"], job["done"], job["total"]) == ("succeeded", 5, 5)
    whole = client.get(job["result_url"])
    assert whole.headers["content-type"] == "application/zip"
    part = client.get(job["result_url"], headers={"Range": "bytes=10-29"})
    assert (part.status_code, part.content) == (206, whole.content[10:30])
    assert [path.name for path in core.settings.exports_dir.iterdir()] == [f"{job_id}.zip"]

    source = open_source(unpacked(whole.content, tmp_path / "out"))
    assert source.ignored == 0
    with opened(elsewhere) as other:
        assert {outcome.status for outcome in other.ingest().run(source)} == {"ingested"}
        before, after = content(core), content(other)
    unnamed = [row[0] for row in after if row[0] not in (None, "P-1", "P-2")]
    assert len(unnamed) == 1
    assert str(unnamed[0]).startswith("unnamed-")
    assert [row[1:] for row in before] == [row[1:] for row in after]
    assert [row[0] for row in before] == [None if row[0] in unnamed else row[0] for row in after]


def test_everything_is_exported_by_collection(core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCRY_DATA_DIR", str(core.settings.data_dir))
    fill(core, tmp_path / "p")
    fill(core, tmp_path / "p", "north/../x")  # the same bytes, and a name that is no folder
    with core.database.write() as session:
        row = IdentityRepository(session).by_external_id("P-1")
        assert row is not None
        row.attributes = {"age": 30}
    run = CliRunner().invoke(app, ["export", "--out", str(tmp_path / "all"), "--json"], catch_exceptions=False)
    out = str(tmp_path / "all")
    told: dict[str, Any] = {"out": out, "collection": None, "images": 10, "blurred": False, "lost": []}
    assert json.loads(run.stdout) == told
    named = json.loads((tmp_path / "all" / "collections.json").read_text())
    assert [(item["name"], item["images"]) for item in named] == [("default", 5), ("north/../x", 5)]
    for item in named:
        folder = tmp_path / "all" / item["folder"]
        assert all(isinstance(entry, Entry) for entry in open_source(folder).entries)
        assert json.loads((folder / "identities.jsonl").read_text()) == {"identity": "P-1", "attributes": {"age": 30}}
    again = CliRunner().invoke(app, ["export", "--out", str(tmp_path / "all")])
    assert getattr(again.exception, "code", None) == "export_target_exists"
    assert CliRunner().invoke(app, ["export"]).exit_code == 2
    shown = CliRunner().invoke(app, ["export", "--queue", "--collection", "default"], catch_exceptions=False).stdout
    assert "export queued" in shown


def test_what_is_deleted_before_the_end_is_not_exported(
    client: TestClient, core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(core, tmp_path / "p")
    job_id = client.post("/v1/exports", json={}).json()["id"]
    _, work = taken(core)
    work.prepare()
    original, packs = Export._pack, []

    def deleting(export: Export, path: Path, going: Any) -> bool:  # noqa: ANN401
        packed = original(export, path, going)
        packs.append(len(list(export.folder.rglob("*.jpg"))))
        if len(packs) < 3:
            assert client.delete(f"/v1/images/{len(packs)}").status_code == 204
        return packed

    monkeypatch.setattr(Export, "_pack", deleting)
    while work.advance():
        pass
    assert packs == [5, 4, 3]
    with zipfile.ZipFile(result_path(core.settings, job_id)) as packed:
        names = [name for name in packed.namelist() if name.endswith(".jpg")]
        lines = packed.read("collection-1/manifest.jsonl").decode().splitlines()
    assert [Path(name).stem for name in names] == [f"{number:08}" for number in (3, 4, 5)]
    assert [json.loads(line)["file"] for line in lines] == [name.removeprefix("collection-1/") for name in names]
    assert client.get(f"/v1/jobs/{job_id}").json()["done"] == 3


def test_a_killed_export_goes_on_with_the_next_picture(
    client: TestClient, core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in range(3):
        fill(core, tmp_path / f"p{part}", shade=40 * part)
    monkeypatch.setattr("app.jobs.exporting.CHUNKS_A_STEP", 1)
    job_id = client.post("/v1/exports", json={}).json()["id"]
    _, work = taken(core)
    work.prepare()
    assert work.advance()
    assert work.advance()
    assert client.get(f"/v1/jobs/{job_id}").json()["done"] == 8
    read: list[str] = []
    original = type(core.store).read

    def counting(store: ImageStore, name: str, *, thumbnail: bool = False) -> bytes | None:
        read.append(name)
        return original(store, name, thumbnail=thumbnail)

    monkeypatch.setattr(type(core.store), "read", counting)
    restarted = KINDS["export"].start(Hands(core, job_id, "w", threading.Event()))
    while restarted.advance():
        pass
    assert len(read) == 7
    with zipfile.ZipFile(result_path(core.settings, job_id)) as packed:
        assert sum(name.endswith(".jpg") for name in packed.namelist()) == 15


def test_what_is_cancelled_or_too_large_leaves_nothing(client: TestClient, core: Core, tmp_path: Path) -> None:
    fill(core, tmp_path / "p")
    job_id = client.post("/v1/exports", json={}).json()["id"]
    _, work = taken(core)
    work.prepare()
    assert list(core.settings.exports_dir.iterdir())
    client.post(f"/v1/jobs/{job_id}/cancel")
    assert not work.advance()
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "cancelled"
    assert list(core.settings.exports_dir.iterdir()) == []
    client.post(f"/v1/jobs/{job_id}/retry")
    again, _ = taken(core)
    small = Core(core.settings.model_copy(update={"max_export_bytes": 1000}), core.database, core.store)
    refused = KINDS["export"].start(Hands(small, again, "w", threading.Event()))
    refused.prepare()
    with pytest.raises(ExportTooLargeError, match="DESCRY_MAX_EXPORT_BYTES"):
        refused.advance()
    assert list(core.settings.exports_dir.iterdir()) == []
    check(client.post("/v1/exports", json={"collection": "nowhere"}), 404, "collection_not_found")
    gone = Export(core.database, core.store, core.settings, tmp_path / "x.zip", "nowhere")
    with pytest.raises(CollectionNotFoundError):
        gone.begin()


def test_a_lost_picture_is_named_and_left_out(client: TestClient, core: Core, tmp_path: Path) -> None:
    fill(core, tmp_path / "p")
    next(path for path in sorted(core.settings.images_dir.rglob("*.jpg"))).unlink()
    client.post("/v1/exports", json={})
    job = client.get(f"/v1/jobs/{finish(core)}").json()
    assert (job["state"], job["done"]) == ("succeeded", 4)
    assert any("is not in the store" in line["message"] for line in job["log"])


def test_old_files_and_remains_are_swept(core: Core) -> None:
    folder = core.settings.exports_dir
    for name in ("open.zip.partial", "ended.zip.partial"):
        (folder / name).mkdir(parents=True)
    for name, age in (("new.zip", 0), ("old.zip", core.settings.export_keep_s + 60)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age,) * 2)
    sweep_exports(core.settings, {"open"})
    assert sorted(path.name for path in folder.iterdir()) == ["new.zip", "open.zip.partial"]
