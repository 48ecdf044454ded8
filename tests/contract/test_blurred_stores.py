"""Thumbnails made anew, on a folder and a real S3 server: complete, resumed, and never of somebody who was erased."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.commands.models import activate_version, register_checkpoint
from app.core import Core, opened
from app.database.tables import Image
from app.gallery.remaking import Remade, Remaking
from app.gallery.sources import open_source
from app.gallery.store import BLURRED, KINDS, PICTURE, THUMBNAIL, ImageStore
from app.identities.service import IdentityService
from app.settings import Settings
from tests.app.heads import head_is_gone, write
from tests.app.heads import opened as picture_of
from tests.app.toy import toy_checkpoint
from tests.contract.test_image_stores import (
    ROWS,
    Opener,
    bucket,
    credentials,
    erase,
    journals,
    keep,
    s3_settings,
    store,
    store_of,
)
from tests.contract.test_image_stores import settings as settings  # not that of conftest: on both stores

__all__ = ["bucket", "credentials", "s3_settings", "store", "store_of"]
PEOPLE, LARGE = 5, 2
DIES = """
import os, signal, sys
from app.core import opened
from app.gallery import remaking
from app.settings import Settings

remaking.cores = lambda: 1
calls = 0


def dying(method):
    def instead(*given):
        global calls
        calls += 1
        if calls == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*given)

    return instead


with opened(Settings()) as core:
    core.store._put, core.store._drop = dying(core.store._put), dying(core.store._drop)
    list(remaking.Remaking(core).run())
"""


@pytest.fixture
def plain(settings: Settings, tmp_path: Path) -> Settings:
    """A gallery that was filled without blurring; two of its pictures are larger than thumbnails."""
    with opened(settings.model_copy(update={"device": "cpu"})) as core:
        activate_version(core, register_checkpoint(core, toy_checkpoint(tmp_path / "toy"), "toy").id)
        write(tmp_path / "p", PEOPLE, large=LARGE)
        assert {outcome.status for outcome in core.ingest().run(open_source(tmp_path / "p"))} == {"ingested"}
    return settings


@pytest.fixture
def blurring(plain: Settings) -> Iterator[Core]:
    with opened(plain.model_copy(update={"blur_faces": True})) as core:
        yield core


def names(core: Core) -> list[str]:
    with core.database.read() as session:
        return list(session.scalars(select(Image.store_name).order_by(Image.id)))


def held(core: Core) -> dict[str, int]:
    return {kind: sum(core.store.holds(name, kind) for name in names(core)) for kind in KINDS}


def done(core: Core, *, again: bool = False) -> tuple[int, int, list[int]]:
    found = [Remade(), *Remaking(core, again=again).run()][-1]
    return found.made, found.right, found.lost


def all_blurred(core: Core) -> bool:
    for name in names(core):
        stored, original = core.store.read_blurred(name), core.store.read(name)
        assert stored is not None
        assert original is not None
        if not head_is_gone(picture_of(stored), picture_of(original)):
            return False
    return held(core) == {PICTURE: PEOPLE, THUMBNAIL: 0, BLURRED: PEOPLE}


def test_every_thumbnail_is_made_anew_once_and_back_again(blurring: Core, plain: Settings) -> None:
    assert held(blurring) == {PICTURE: PEOPLE, THUMBNAIL: LARGE, BLURRED: 0}
    originals = [blurring.store.read(name) for name in names(blurring)]
    assert done(blurring) == (PEOPLE, 0, [])
    assert all_blurred(blurring)
    assert done(blurring) == (0, PEOPLE, [])
    assert done(blurring, again=True) == (PEOPLE, 0, [])
    assert all_blurred(blurring)
    assert [blurring.store.read(name) for name in names(blurring)] == originals
    assert set(blurring.store.names()) == set(names(blurring))  # blurred files are no pictures of their own
    assert blurring.store.sweep(older_than_s=0) == 0
    with opened(plain) as clear:
        assert done(clear) == (PEOPLE, 0, [])
        assert held(clear) == {PICTURE: PEOPLE, THUMBNAIL: LARGE, BLURRED: 0}
        assert done(clear) == (0, PEOPLE, [])
        assert all(clear.showing.thumbnail(name) for name in names(clear))


def test_a_picture_that_is_lost_or_damaged_is_named_and_stops_nothing(blurring: Core) -> None:
    lost, damaged, *_ = names(blurring)
    with blurring.store.change() as change:
        change.note([damaged])
        blurring.store._drop(lost, PICTURE)
        blurring.store._put(damaged, PICTURE, b"\xff\xd8\xff no picture any more")
    assert done(blurring) == (PEOPLE - 2, 0, [1, 2])
    assert blurring.showing.thumbnail(lost) is None


@pytest.mark.parametrize("at", [3, 4])
def test_killed_anywhere_it_goes_on(plain: Settings, at: int) -> None:
    """Calls alternate: a new thumbnail is put, the old one dropped."""
    values = {
        "DESCRY_DATA_DIR": str(plain.data_dir),
        "DESCRY_IMAGE_STORE": plain.image_store,
        "DESCRY_S3_ENDPOINT": plain.s3_endpoint,
        "DESCRY_BLUR_FACES": "true",
    }
    command = [sys.executable, "-c", DIES, str(at)]
    killed = subprocess.run(command, env={**os.environ, **values}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(journals(plain)) == 1
    with opened(plain.model_copy(update={"blur_faces": True})) as core:
        assert journals(plain) == []
        assert held(core) == {PICTURE: PEOPLE, THUMBNAIL: LARGE - 1, BLURRED: at // 2}
        assert done(core) == (PEOPLE - 1, 1, [])
        assert all_blurred(core)
    assert not list(plain.data_dir.rglob("*.new"))


def test_what_a_killed_write_left_goes_with_the_next_one_and_with_the_image(blurring: Core, plain: Settings) -> None:
    if plain.image_store:
        return  # an object appears whole or not at all
    first, second, *_ = names(blurring)
    for name in (first, second):
        (plain.images_dir / f"{name}{BLURRED}.new").write_bytes(b"half a pict")
    with blurring.store.change() as change, blurring.database.write() as session:
        change.doom(IdentityService(session).delete_image(2))
    assert [path.name for path in plain.images_dir.rglob("*.new")] == [f"{Path(first).name}{BLURRED}.new"]
    assert done(blurring) == (PEOPLE - 1, 0, [])
    assert not list(plain.images_dir.rglob("*.new"))


def test_who_is_erased_meanwhile_gets_no_thumbnail(store: ImageStore, settings: Settings, store_of: Opener) -> None:
    first, second = keep(store, b"one", b"two")
    other = store_of(settings)
    with store.change() as change:
        change.note([first, second])
        ROWS.discard(first)
        erase(other, first)
        for name in (first, second):
            change.replace(name, put=(BLURRED, b"blurred"), drop=THUMBNAIL)
        assert store.read_blurred(first) == b"blurred"
    assert [store.holds(first, kind) for kind in KINDS] == [False] * 3
    assert [store.holds(second, kind) for kind in KINDS] == [True, False, True]
    ROWS.discard(second)
    erase(other, second)
    assert [store.holds(second, kind) for kind in KINDS] == [False] * 3
    assert store.read_blurred(second) is None
    assert journals(settings) == []
