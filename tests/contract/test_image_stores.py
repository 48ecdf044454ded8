"""What every image store promises, on a folder and on a real S3 server."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from starlette.testclient import TestClient

from app.commands.models import activate_version, register_checkpoint
from app.core import open_core
from app.errors import BucketMissingError, ConfigurationError, StorageError, StoreDeniedError, StoreUnreachableError
from app.gallery.open_store import open_store
from app.gallery.sources import open_source
from app.gallery.store import ImageStore
from app.main import create_app
from app.settings import Settings, load_settings
from tests.app.toy import picture, toy_checkpoint

SECRET = "a-secret-that-no-message-holds"
Opener = Callable[..., ImageStore]
ROWS: set[str] = set()
DIES = """
import os, signal, sys
from app.gallery.open_store import open_store
from app.settings import Settings
store = open_store(Settings(), lambda names: set())
with store.change(new=2) as change:
    change.write(change.names[0], b"picture", b"thumbnail")
    change.seal()
    print(change.names[0], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def referenced(names: Sequence[str]) -> set[str]:
    return ROWS & set(names)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    ROWS.clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "descry-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def bucket(s3_server: str) -> str:
    name = f"b-{secrets.token_hex(6)}"
    client = boto3.session.Session().client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket=name)
    client.close()
    return name


@pytest.fixture
def s3_settings(tmp_path: Path, s3_server: str, bucket: str) -> Settings:
    url = f"s3://{bucket}/some/prefix"
    return Settings(data_dir=tmp_path / "data", image_store=url, s3_endpoint=s3_server, ingest_chunk=4, device="cpu")


@pytest.fixture(params=["local", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "local":
        return Settings(data_dir=tmp_path / "data")
    found: Settings = request.getfixturevalue("s3_settings")
    return found


@pytest.fixture
def store_of() -> Iterator[Opener]:
    opened: list[ImageStore] = []

    def opener(settings: Settings, **changes: object) -> ImageStore:
        settings.images_dir.mkdir(parents=True, exist_ok=True)
        opened.append(open_store(settings.model_copy(update=changes), referenced))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


@pytest.fixture
def store(settings: Settings) -> Iterator[ImageStore]:
    settings.images_dir.mkdir(parents=True)
    found = open_store(settings, referenced)
    yield found
    found.close()


def keep(store: ImageStore, *pictures: bytes) -> list[str]:
    with store.change(new=len(pictures)) as change:
        for name, data in zip(change.names, pictures, strict=True):
            change.write(name, data, b"small " + data)
        change.seal()
        ROWS.update(change.names)
    return change.names


def erase(store: ImageStore, *names: str) -> None:
    with store.change() as change:
        change.doom(names)
        ROWS.difference_update(names)


def journals(settings: Settings) -> list[Path]:
    return list((settings.images_dir / "journal").iterdir())


def test_written_and_sealed_is_read_again(store: ImageStore, settings: Settings) -> None:
    store.check()
    first, second = keep(store, b"one", b"two" * 400_000)
    assert (store.read(first), store.read(first, thumbnail=True)) == (b"one", b"small one")
    assert store.read(second) == b"two" * 400_000
    assert set(store.names()) == {first, second}
    assert list(store.names(older_than_s=3600)) == []
    assert store.read(f"00/00/{'0' * 32}") is store.read(f"00/00/{'0' * 32}", thumbnail=True) is None
    assert journals(settings) == []


def test_a_small_picture_is_its_own_thumbnail(store: ImageStore) -> None:
    with store.change(new=1) as change:
        change.write(change.names[0], b"small", None)
        change.seal()
        ROWS.update(change.names)
    assert store.read(change.names[0], thumbnail=True) == b"small"


def test_erased_is_gone_and_the_rest_stays(store: ImageStore) -> None:
    first, second = keep(store, b"one", b"two")
    erase(store, first)
    assert store.read(first) is store.read(first, thumbnail=True) is None
    assert store.read(second) == b"two"
    erase(store, first)


def test_a_deletion_that_was_rolled_back_removes_nothing(store: ImageStore) -> None:
    (name,) = keep(store, b"one")

    def fail() -> None:
        with store.change() as change:
            change.doom([name])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.read(name) == b"one"


def test_a_change_without_commit_leaves_nothing(store: ImageStore, settings: Settings) -> None:
    def fail() -> None:
        with store.change(new=2) as change:
            change.write(change.names[0], b"one", None)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (list(store.names()), journals(settings)) == ([], [])


def test_what_a_killed_process_left_is_removed_at_the_next_start(store: ImageStore, settings: Settings) -> None:
    (kept,) = keep(store, b"kept")
    values = {
        "DESCRY_DATA_DIR": str(settings.data_dir),
        "DESCRY_IMAGE_STORE": settings.image_store,
        "DESCRY_S3_ENDPOINT": settings.s3_endpoint,
    }
    done = subprocess.run(
        [sys.executable, "-c", DIES], env={**os.environ, **values}, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    orphan = done.stdout.strip()
    assert store.read(orphan) == b"picture"
    with store.change(new=1) as alive:
        alive.write(alive.names[0], b"alive", None)
        assert store.recover() == 1
        assert store.read(alive.names[0]) == b"alive"
        ROWS.update(alive.names)
    assert set(store.names()) == {kept, alive.names[0]}
    assert (store.read(orphan, thumbnail=True), journals(settings)) == (None, [])


def test_writers_at_once_keep_out_of_each_others_way(store: ImageStore, settings: Settings) -> None:
    other = open_store(settings, referenced)

    def work(number: int) -> list[str]:
        own = keep((store, other)[number % 2], b"a%d" % number, b"b%d" % number)
        erase(store, own[0])
        return own

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(work, range(16)))
    other.close()
    assert set(store.names()) == {second for _, second in done}
    assert [store.read(second) for _, second in done] == [b"b%d" % number for number in range(16)]


def test_a_sweep_removes_old_pictures_without_rows_only(store: ImageStore) -> None:
    first, second = keep(store, b"one", b"two")
    ROWS.discard(first)
    assert store.sweep(older_than_s=3600) == 0
    assert store.sweep(older_than_s=0) == 1
    assert list(store.names()) == [second]


def test_a_server_that_is_away_is_named_soon_and_its_journal_waits(s3_settings: Settings, store_of: Opener) -> None:
    store = store_of(s3_settings)
    (name,) = keep(store, b"one")
    away = store_of(s3_settings, s3_endpoint="http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(StoreUnreachableError, match="DESCRY_S3_ENDPOINT"):
        away.check()
    assert time.monotonic() - started < 60
    with pytest.raises(StoreUnreachableError):
        erase(away, name)
    assert (len(journals(s3_settings)), store.read(name)) == (1, b"one")
    keep(store_of(s3_settings), b"two")
    assert store.recover() == 1
    assert (store.read(name), journals(s3_settings)) == (None, [])


def test_a_bucket_that_does_not_exist(s3_settings: Settings, store_of: Opener) -> None:
    store = store_of(s3_settings, image_store="s3://no-such-bucket-here")
    with pytest.raises(BucketMissingError, match="no-such-bucket-here"):
        store.check()
    with pytest.raises(BucketMissingError):
        keep(store, b"one")


def test_no_credentials(
    s3_settings: Settings, store_of: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreDeniedError, match="AWS_ACCESS_KEY_ID"):
        store_of(s3_settings).check()


def test_a_bucket_that_keeps_what_is_erased_is_refused(s3_settings: Settings, store_of: Opener, bucket: str) -> None:
    client = boto3.session.Session().client("s3", endpoint_url=s3_settings.s3_endpoint, region_name="us-east-1")
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    client.close()
    with pytest.raises(StorageError, match="versioning"):
        store_of(s3_settings).check()


@pytest.mark.parametrize("value", ["bucket", "s3://", "http://bucket/x", "s3://user:secret@bucket"])
def test_a_store_that_cannot_be_is_a_configuration_error(value: str) -> None:
    with pytest.raises(ConfigurationError, match="IMAGE_STORE"):
        load_settings(image_store=value)


def test_ingest_search_and_delete_on_a_bucket(s3_settings: Settings, tmp_path: Path, store_of: Opener) -> None:
    core = open_core(s3_settings)
    try:
        activate_version(core, register_checkpoint(core, toy_checkpoint(tmp_path / "toy"), "toy").id)
        core.active.follow()
        picture(tmp_path / "p" / "1.jpg", "red", size=(300, 700))
        picture(tmp_path / "p" / "2.jpg", "blue")
        outcomes = list(core.ingest().run(open_source(tmp_path / "p")))
        assert [outcome.status for outcome in outcomes] == ["ingested", "ingested"]
        other = register_checkpoint(core, toy_checkpoint(tmp_path / "other", words=("red",)), "other")
        activate_version(core, other.id)  # reads every picture back
    finally:
        core.close()
    assert list(s3_settings.images_dir.rglob("*.jpg")) == []
    with TestClient(create_app(s3_settings), base_url="http://127.0.0.1:8000") as client:
        assert client.get("/readyz").json()["missing"] == []
        best = client.post("/v1/search/text", json={"query": "red"}).json()["candidates"][0]["images"][0]
        assert best["source_name"] == "1.jpg"
        file, thumbnail = client.get(best["url"]), client.get(best["thumbnail_url"])
        assert (file.status_code, file.headers["content-type"]) == (200, "image/jpeg")
        assert len(thumbnail.content) < len(file.content)
        assert client.delete(f"/v1/images/{best['id']}").status_code == 204
        assert client.get(best["url"]).status_code == 404
        assert len(list(store_of(s3_settings).names())) == 1


def test_a_store_that_is_away_is_named_by_readyz_and_keeps_nothing_from_starting(s3_settings: Settings) -> None:
    away = s3_settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    with TestClient(create_app(away), base_url="http://127.0.0.1:8000") as client:
        (missing,) = client.get("/readyz").json()["missing"]
    assert "store_unreachable" in missing
    assert SECRET not in missing
