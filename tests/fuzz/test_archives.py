"""Archives: unpacked within their stage, or refused; nothing outside, nothing left, nothing beyond the limits."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from app.batches.archives import is_archive, unpack
from app.batches.staging import Stage
from app.errors import ServiceError
from app.gallery.sources import open_source
from app.settings import Settings
from tests.fuzz.harness import Record, fuzz, mutated, often
from tests.fuzz.values import texts

MOST_BYTES, MOST_FILES = 200_000, 20
EVIL = ["../evil.jpg", "/tmp/evil.jpg", "..\\evil", "C:/evil", "a/../../evil", "in.zip", "a//b", "x" * 300]
names = often(
    (6, st.integers(0, 99).map("{}.jpg".format)),
    (2, st.sampled_from(["a/2.jpg", "manifest.csv", "manifest.jsonl", "a", "a/b/c/d.png", "./1.jpg"])),
    (1, st.sampled_from(EVIL)),
    (1, texts.map(lambda text: text.encode("utf-8", "replace").decode())),
)
contents = st.one_of(
    st.binary(max_size=64), st.sampled_from([b"", bytes(30_000), bytes(400_000), b'{"file": "1.jpg"}'])
)
modes = st.sampled_from(
    [0, 0, 0, 0, 0, stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR]
)
methods = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
kinds = st.sampled_from(
    [
        *[tarfile.REGTYPE] * 12,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.DIRTYPE,
        tarfile.CHRTYPE,
        tarfile.FIFOTYPE,
        tarfile.CONTTYPE,
    ]
)
packers: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, bz2.compress, lzma.compress]


@st.composite
def zips(draw: st.DrawFn) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, mode in draw(st.lists(st.tuples(names, modes), max_size=5, unique_by=lambda one: one[0])):
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, draw(methods)
            archive.writestr(info, draw(contents))
    return out.getvalue()


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=draw(st.sampled_from([0, 1, 2]))) as archive:
        for name, kind in draw(st.lists(st.tuples(names, kinds), max_size=5)):
            info = tarfile.TarInfo(name)
            data = draw(contents) if kind == tarfile.REGTYPE else b""
            info.type, info.linkname, info.size = kind, "/etc/passwd", len(data)
            try:
                archive.addfile(info, io.BytesIO(data))
            except ValueError:  # a name that this format of tar cannot say
                continue
    return out.getvalue()


packed = st.builds(lambda pack, data: pack(data), st.sampled_from(packers), tars() | mutated(tars()))
archives = often((4, zips()), (4, mutated(zips())), (4, packed), (3, mutated(packed)), (1, st.binary(max_size=600)))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "site" / "data",
        max_batch_bytes=MOST_BYTES,
        max_batch_files=MOST_FILES,
        max_batch_ratio=2,
        min_free_bytes=0,
    )


def test_archives_are_unpacked_or_refused(settings: Settings, tmp_path: Path, record_property: Record) -> None:
    path = tmp_path / "archive"

    def take(data: bytes) -> str:
        path.write_bytes(data)
        is_archive(path)
        stage = Stage(settings, "batch")
        try:
            unpack(path, stage, settings)
            inside = [one for one in stage.pictures.rglob("*") if not one.is_dir()]
            assert all(one.is_file() and not one.is_symlink() for one in inside)
            assert len(inside) <= MOST_FILES
            assert sum(one.stat().st_size for one in inside) <= MOST_BYTES
            open_source(stage.pictures)
        except ServiceError as error:
            error.message.encode()
            return type(error).__name__
        finally:
            stage.remove()
            assert list(settings.staging_dir.iterdir()) == []
            assert sorted(one.name for one in tmp_path.iterdir()) == ["archive", "site"]
            assert [one.name for one in (tmp_path / "site").iterdir()] == ["data"]
        return "unpacked"

    seen = fuzz(archives, take, record_property)
    assert {"unpacked", "ArchiveError"} <= set(seen)
