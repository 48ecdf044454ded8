"""Stores that fail in the middle of a job: nothing is rejected for that, what is done stays, a retry goes on."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.core import Core, opened
from app.database.sessions import Database
from app.database.tables import HEAD_ID
from app.errors import DiskLowError, StorageError
from app.gallery.local_store import LocalStore
from app.gallery.open_store import open_store
from app.gallery.sources import open_source
from app.gallery.store import ImageStore
from app.main import create_app
from tests.app.test_batches_api import left, send_archive, zipped
from tests.app.test_ingest_folder import rows
from tests.app.test_job_retries import work
from tests.app.test_problems import check

COUNT, MIB = 12, 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "descry-test", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"mounting is not allowed here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def noise(folder: Path, count: int = COUNT) -> dict[str, bytes]:
    """Pictures of which about ten fill the small disk."""
    folder.mkdir()
    random = np.random.default_rng(5)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (500, 400, 3), np.uint8)).save(folder / f"{number:02}.jpg", quality=90)
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    assert 4 * MIB > sum(map(len, found.values())) * 8 // count > 1 * MIB
    return found


def on(core: Core, folder: Path) -> Core:
    """The same service with its pictures elsewhere."""
    assert isinstance(core.store, LocalStore)
    return beside(core, LocalStore(folder / "images", core.store._referenced))


def beside(core: Core, store: ImageStore) -> Core:
    other = Core(core.settings, core.database, store)
    other._active = core.active  # whose threads the fixture ends
    return other


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
    assert shutil.disk_usage(disk).free < 4096


def grow(database: Database) -> None:
    with database.write() as session:
        for number in range(2000):
            session.connection().exec_driver_sql(
                f"INSERT INTO collections (name, created_at) VALUES ('{number}{'x' * 190}', '2026-01-01')"
            )


def test_a_disk_that_runs_full_fails_the_job_and_a_retry_goes_on(
    client: TestClient, core: Core, small_disk: Path, tmp_path: Path
) -> None:
    answer = send_archive(client, zipped(noise(tmp_path / "p")))
    (small_disk / "images").mkdir()
    filler = small_disk / "filler"
    filler.write_bytes(bytes(5 * MIB // 2))
    narrow = on(core, small_disk)
    job_id = work(narrow)
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert job_id == answer.json()["id"]
    assert (job["state"], job["error"]["code"], job["retryable"]) == ("failed", "storage_failed", True)
    assert "No space left" in job["error"]["message"]
    assert job["counts"]["ingested"] < COUNT  # chunks overlap: how many were done before is chance
    assert job["counts"]["rejected"] == 0
    done = job["counts"]["ingested"]
    assert len(rows(core)) == done == len(list(small_disk.rglob("*.jpg"))) - thumbnails(small_disk)
    assert len(left(core)) == COUNT - done  # what a retry needs, and no more
    assert len(client.post("/v1/search/text", json={"query": "red", "limit": 100}).json()["candidates"]) == done
    filler.unlink()
    again = client.post(f"/v1/jobs/{job_id}/retry").json()
    assert again["total"] == COUNT - done
    work(narrow)
    assert client.get(f"/v1/jobs/{again['id']}").json()["counts"]["ingested"] == COUNT - done
    assert (len(rows(core)), left(core)) == (COUNT, [])


def thumbnails(folder: Path) -> int:
    return len(list(folder.rglob("*.thumb.jpg")))


def test_a_disk_without_any_room_is_told_before_a_picture_is_written(
    core: Core, small_disk: Path, tmp_path: Path
) -> None:
    noise(tmp_path / "p", 2)
    (small_disk / "images").mkdir()
    fill(small_disk)
    with pytest.raises(StorageError):  # the journal is what cannot be written
        list(on(core, small_disk).ingest().run(open_source(tmp_path / "p")))
    assert rows(core) == []
    (small_disk / "filler").unlink()
    outcomes = list(on(core, small_disk).ingest().run(open_source(tmp_path / "p")))
    assert [outcome.status for outcome in outcomes] == ["ingested"] * 2


def test_a_full_disk_under_the_database_is_a_typed_error(core: Core, small_disk: Path, tmp_path: Path) -> None:
    with opened(core.settings.model_copy(update={"data_dir": small_disk, "min_free_bytes": 0})) as narrow:
        with narrow.database.read() as session:
            before = session.connection().exec_driver_sql("SELECT count(*) FROM collections").scalar()
        fill(small_disk)
        with pytest.raises(StorageError, match="database cannot be written"):
            grow(narrow.database)
        with narrow.database.read() as session:
            assert session.connection().exec_driver_sql("SELECT count(*) FROM collections").scalar() == before
            assert session.connection().exec_driver_sql("SELECT id FROM head").scalar() == HEAD_ID


def test_the_reserve_of_the_disk_stays_free(core: Core, tmp_path: Path) -> None:
    archive = zipped(noise(tmp_path / "p", 2))
    greedy = core.settings.model_copy(update={"min_free_bytes": 2**60})
    store = open_store(greedy, lambda names: set(names))
    with pytest.raises(DiskLowError, match="DESCRY_MIN_FREE_BYTES"):
        list(beside(core, store).ingest().run(open_source(tmp_path / "p")))
    with TestClient(create_app(greedy), base_url="http://127.0.0.1:8000") as client:
        refused = send_archive(client, archive)
        check(refused, 507, "disk_low")
        assert int(refused.headers["retry-after"]) > 0
        assert list(core.settings.staging_dir.iterdir()) == []
        assert client.post("/v1/search/text", json={"query": "red"}).status_code == 200
