"""Batches over HTTP: staged and queued when they are sound, refused with nothing left on disk when they are not."""

import errno
import fcntl
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.batches.staging import Stage, reduce_staged, sweep
from app.core import Core
from app.database.tables import now
from app.errors import StorageError
from app.jobs.service import JobService
from app.main import create_app
from app.settings import Settings
from tests.app.test_jobs_api import run
from tests.app.test_problems import check
from tests.app.toy import picture

URL = "/v1/gallery/batches"


def jpeg(folder: Path, shade: int) -> bytes:
    return picture(folder / "made" / f"{shade}.jpg", "red", shade=shade).read_bytes()


def zipped(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def tarred(entries: dict[str, bytes], kind: bytes = tarfile.REGTYPE, mode: Any = "w:gz") -> bytes:  # noqa: ANN401
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def linked() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("link.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


def send_archive(client: TestClient, data: bytes, **headers: str) -> Any:  # noqa: ANN401  a response
    return client.post(URL, files={"archive": ("batch", data)}, headers=headers)


def left(core: Core) -> list[Path]:
    return [path for path in core.settings.staging_dir.rglob("*") if path.is_file()]


def test_files_with_a_manifest_become_a_job(client: TestClient, core: Core, tmp_path: Path) -> None:
    manifest = b'{"file": "a/1.jpg", "identity": "p1", "camera": "c"}\n{"file": "2.jpg", "identity": "p1"}\n'
    manifest += b'{"file": "absent.jpg"}\n'
    parts = [
        ("files", ("a/1.jpg", jpeg(tmp_path, 1))),
        ("files", ("2.jpg", jpeg(tmp_path, 2))),
        ("manifest", ("people.jsonl", manifest)),
    ]
    answer = client.post(URL, files=parts)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    run(core)
    job = client.get(answer.headers["location"]).json()
    assert (job["counts"]["ingested"], job["counts"]["rejected"]) == (2, 1)
    assert next(i["name"] for i in client.get(f"{answer.headers['location']}/items").json()["items"]) == "a/1.jpg"
    assert client.get("/v1/gallery").json()["identities"] == 1


@pytest.mark.parametrize("pack", [zipped, tarred, lambda entries: tarred(entries, mode="w:xz")])
def test_an_archive_is_unpacked(
    client: TestClient, core: Core, tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    entries = {f"p/{number}.jpg": jpeg(tmp_path, number) for number in range(5)}
    csv = b"file,identity\n" + b"".join(f"p/{number}.jpg,x\n".encode() for number in range(5))
    answer = send_archive(client, pack({**entries, "manifest.csv": csv}))
    assert answer.status_code == 202, answer.text
    run(core)
    assert client.get(f"/v1/jobs/{answer.json()['id']}").json()["counts"]["ingested"] == 5
    assert [path.name for path in left(core)].count("archive") == 0


def test_the_same_key_is_the_same_job_and_nothing_more(client: TestClient, core: Core, tmp_path: Path) -> None:
    data = zipped({"1.jpg": jpeg(tmp_path, 1)})
    first = send_archive(client, data, **{"Idempotency-Key": "k"})
    files = left(core)
    again = send_archive(client, data, **{"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    other = send_archive(client, zipped({"2.jpg": jpeg(tmp_path, 2)}), **{"Idempotency-Key": "k"})
    check(other, 409, "idempotency_key_reused")
    assert left(core) == files
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1


REFUSED: dict[str, tuple[bytes, str]] = {
    "slip": (zipped({"../evil.jpg": b"x"}), "batch_entry_refused"),
    "absolute": (zipped({"/tmp/evil.jpg": b"x"}), "batch_entry_refused"),
    "windows": (zipped({"..\\evil.jpg": b"x"}), "batch_entry_refused"),
    "drive": (zipped({"C:/evil.jpg": b"x"}), "batch_entry_refused"),
    "zip link": (linked(), "batch_entry_refused"),
    "nested": (zipped({"inner.zip": zipped({"a.jpg": b"x"})}), "batch_entry_refused"),
    "file as folder": (zipped({"a": b"x", "a/b.jpg": b"x"}), "batch_entry_refused"),
    "tar slip": (tarred({"a/../../evil.jpg": b"x"}), "batch_entry_refused"),
    "tar link": (tarred({"link.jpg": b""}, tarfile.SYMTYPE), "batch_entry_refused"),
    "tar hard link": (tarred({"link.jpg": b""}, tarfile.LNKTYPE), "batch_entry_refused"),
    "tar device": (tarred({"dev.jpg": b""}, tarfile.CHRTYPE), "batch_entry_refused"),
    "zip bomb": (zipped({"1.jpg": b"ok", "2.jpg": bytes(40 << 20)}), "batch_too_large"),
    "tar bomb": (tarred({"1.jpg": b"ok", "2.jpg": bytes(40 << 20)}), "batch_too_large"),
    "too many": (zipped({f"{number}.jpg": b"x" for number in range(51)}), "batch_too_large"),
    "no archive": (b"hello", "archive_unreadable"),
    "empty": (b"", "archive_unreadable"),
    "cut zip": (zipped({"1.jpg": bytes(range(256)) * 9})[:-30], "archive_unreadable"),
    "cut tar": (tarred({"1.jpg": bytes(range(256)) * 900}, mode="w")[:2000], "archive_unreadable"),
    "cut gzip": (tarred({"1.jpg": bytes(range(256)) * 900})[:-40], "archive_unreadable"),
}


@pytest.fixture
def tight(core: Core, settings: Settings) -> Iterator[TestClient]:
    limits = settings.model_copy(update={"max_batch_files": 50, "max_batch_bytes": 30 << 20})
    with TestClient(create_app(limits), base_url="http://127.0.0.1:8000") as found:
        yield found


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_archive_is_refused_and_leaves_nothing(tight: TestClient, core: Core, name: str) -> None:
    data, code = REFUSED[name]
    before = sorted(core.settings.data_dir.parent.rglob("*evil*"))
    check(send_archive(tight, data), 413 if code == "batch_too_large" else 422, code)
    assert list(core.settings.staging_dir.iterdir()) == []
    assert sorted(core.settings.data_dir.parent.rglob("*evil*")) == before == []
    assert tight.get("/v1/jobs").json()["jobs"] == []


def test_a_wrong_body_is_refused_and_leaves_nothing(tight: TestClient, core: Core) -> None:
    form = {"content-type": "multipart/form-data; boundary=b"}
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="1.jpg"\r\n\r\nhalf'
    check(tight.post(URL, content=b"{}", headers={"content-type": "application/json"}), 422, "batch_invalid")
    check(tight.post(URL, content=b"nonsense", headers=form), 422, "batch_invalid")
    check(tight.post(URL, content=part, headers=form), 422, "batch_invalid")
    check(tight.post(URL, files={"surprise": ("1.jpg", b"x")}), 422, "batch_invalid")
    check(tight.post(URL, files={"manifest": ("m.txt", b"x")}), 422, "batch_invalid")
    check(tight.post(URL, files={"manifest": ("m.csv", b"file\n")}), 422, "batch_invalid")
    check(tight.post(URL, files=[("files", ("1.jpg", b"x")), ("files", ("1.jpg", b"y"))]), 422, "batch_entry_refused")
    check(tight.post(URL, files={"files": ("../1.jpg", b"x")}), 422, "batch_entry_refused")
    check(tight.post(URL, files={"files": ("1.jpg", bytes((30 << 20) + 9))}), 413, "batch_too_large")
    assert list(core.settings.staging_dir.iterdir()) == []


def test_what_nobody_needs_is_swept(core: Core) -> None:
    """Left: what arrives just now, what an open job needs, and for a day what an ended one may be retried with."""
    stages = {name: Stage(core.settings, name) for name in ("arriving", "killed", "open", "ended", "long ended")}
    for name in ("killed", "open", "ended", "long ended"):
        stages[name].keep()  # gives the lock back, as the end of the process does
    with core.database.write() as session:
        for name in ("open", "ended", "long ended"):
            folder = str(stages[name].pictures.resolve())
            job = JobService(session).create("ingest", {"folder": folder, "staged": True}, job_id=name)
            if name != "open":
                JobService(session).finish(job, "cancelled")
                job.finished_at = now() - timedelta(hours=25 if name == "long ended" else 23)
    assert sweep(core.settings, core.database) == 2
    assert sorted(path.name for path in core.settings.staging_dir.iterdir()) == ["arriving", "ended", "open"]
    stages["arriving"].remove()


def test_only_staging_folders_are_reduced(core: Core, tmp_path: Path) -> None:
    reduce_staged(core.settings, str(core.settings.images_dir), [])
    assert core.settings.images_dir.is_dir()
    stage = Stage(core.settings, "batch")
    for name in ("a/1.jpg", "a/2.jpg", "manifest.csv"):
        stage.create(name).close()
    stage.keep()
    folder = str(stage.pictures.resolve())
    reduce_staged(core.settings, folder, None)
    assert len(left(core)) == 3
    reduce_staged(core.settings, folder, ["a/2.jpg"])
    assert sorted(path.name for path in left(core)) == ["2.jpg", "manifest.csv"]
    reduce_staged(core.settings, folder, [])
    assert list(core.settings.staging_dir.iterdir()) == []


def test_a_stage_that_is_swept_before_it_is_locked_is_made_again(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fcntl.flock
    swept: list[int] = []

    def late(descriptor: int, kind: int) -> None:
        if not swept:
            swept.append(descriptor)
            (core.settings.staging_dir / "batch").rmdir()
        lock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    stage = Stage(core.settings, "batch")
    assert swept
    assert stage.pictures.is_dir()
    stage.remove()


def test_a_full_disk_is_no_fault_of_the_name(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(core.settings, "batch")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match="No space"):
        stage.create("1.jpg")
    stage.remove()


def test_a_batch_goes_into_its_collection(client: TestClient, core: Core, tmp_path: Path) -> None:
    data = zipped({"a.jpg": jpeg(tmp_path, 1)})
    sent = client.post(f"{URL}?collection=lobby", files={"archive": ("batch", data)}, headers={"Idempotency-Key": "k"})
    assert sent.status_code == 202, sent.text
    assert run(core) == sent.json()["id"]
    counts = {found["name"]: found["images"] for found in client.get("/v1/collections").json()["collections"]}
    assert counts["lobby"] == 1
    elsewhere = client.post(
        f"{URL}?collection=hall", files={"archive": ("batch", data)}, headers={"Idempotency-Key": "k"}
    )
    assert elsewhere.json()["code"] == "idempotency_key_reused"
    nameless = client.post(f"{URL}?collection=%20", files={"archive": ("batch", data)})
    assert nameless.json()["code"] == "collection_name_invalid"
