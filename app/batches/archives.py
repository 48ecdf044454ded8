"""Zip and tar, unpacked as a stream that is refused at the first byte too many."""

import bz2
import errno
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from app.batches.staging import Stage
from app.errors import ArchiveError, BatchEntryError, BatchTooLargeError, StorageError
from app.gallery.sources import MANIFEST_SUFFIXES
from app.gallery.sources import SUFFIXES as PICTURES
from app.settings import Settings

_BLOCK = 1 << 20
_SINGLE_READ = 16 << 20
"""No honest header of a tar is longer; tarfile would read it into memory in one piece."""
_SLACK = 16 << 20
_PACKED: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
"""How to open a packed tar, by its first bytes."""


_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ValueError,
    OverflowError,
    IndexError,
)
_NEVER = PICTURES | MANIFEST_SUFFIXES
SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""What archives that can be unpacked are called."""


def unpack(archive: Path, stage: Stage, settings: Settings) -> None:
    """Unpack a zip, or a tar that is plain or packed with gzip, bzip2 or xz.

    Raises:
        ArchiveError: it is none, damaged, or encrypted.
        StorageError: the disk is full or refuses.
        BatchEntryError: an entry is a link, a device, an archive, or its name leads elsewhere.
        BatchTooLargeError: too many files, too many bytes, or too many bytes for the size of the archive.
    """
    most = settings.max_batch_ratio * archive.stat().st_size + _SLACK
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, stage, most)
        else:
            _unpack_tar(archive, stage, most)
    except _DAMAGED as error:
        raise ArchiveError(f"the archive is no zip or tar that can be read: {error}") from error
    except (NotImplementedError, RuntimeError) as error:
        raise ArchiveError(f"the archive needs something that is not supported: {error}") from error
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # bzip2 has no number for damaged data; a broken zip seeks nowhere
            raise ArchiveError(f"the archive is no zip or tar that can be read: {error}") from error
        raise StorageError(f"the archive cannot be unpacked: {error.strerror}") from error


def is_archive(path: Path) -> bool:
    """Whether a file is meant to be unpacked: by its name, or by what it holds. A folder never is."""
    return path.is_file() and (
        path.name.lower().endswith(SUFFIXES)
        or (path.suffix.lower() not in _NEVER and (zipfile.is_zipfile(path) or _is_tar(path)))
    )


def _is_tar(path: Path) -> bool:
    """By the first header alone: `tarfile.is_tarfile` reads as much as a header asks for, and fails on damaged gzip."""
    try:
        with _raw(path) as raw:
            tarfile.TarInfo.frombuf(raw.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except (*_DAMAGED, OSError):
        return False
    return True


def _raw(archive: Path) -> IO[bytes]:
    """A tar, without what packs it."""
    with archive.open("rb") as head:
        magic = head.read(6)
    opener = next((found for start, found in _PACKED.items() if magic.startswith(start)), None)
    raw: IO[bytes] = opener(archive) if opener else archive.open("rb")
    return raw


def _unpack_zip(archive: Path, stage: Stage, most: int) -> None:
    written = 0
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                continue
            if kind not in (0, stat.S_IFREG):
                raise BatchEntryError(f"{info.filename!r} is refused: neither a file nor a folder")
            if info.flag_bits & 1:
                raise ArchiveError("the archive is encrypted")
            # zipfile cuts names at a NUL and turns the backslashes of Windows round; we want to see them.
            with stage.create(info.orig_filename) as target, opened.open(info) as source:
                written = _copy(source, target, stage, written, most)


def _unpack_tar(archive: Path, stage: Stage, most: int) -> None:
    written = 0
    with _raw(archive) as raw, tarfile.open(fileobj=_Bounded(raw, most), mode="r:") as opened:  # type: ignore[call-overload]
        for member in opened:
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise BatchEntryError(f"{member.name!r} is refused: neither a plain file nor a folder")
            source = opened.extractfile(member)
            assert source is not None  # it is a regular file
            with stage.create(member.name.removeprefix("./")) as target, source:
                written = _copy(source, target, stage, written, most)
            opened.members = []  # or a million entries would stay in memory


def _copy(source: IO[bytes], target: IO[bytes], stage: Stage, written: int, most: int) -> int:
    while block := source.read(_BLOCK):
        written += len(block)
        if written > most:
            raise _bomb()
        stage.account(len(block))
        target.write(block)
    return written


def _bomb() -> BatchTooLargeError:
    return BatchTooLargeError("the archive unpacks to far more than its size (DESCRY_MAX_BATCH_RATIO)")


class _Bounded:
    """What an archive unpacks to, as a file that refuses to go on too far."""

    def __init__(self, raw: IO[bytes], most: int) -> None:
        self._raw, self._most = raw, most

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _SINGLE_READ:
            raise ArchiveError("the archive has a header that is too long")
        data = self._raw.read(size)
        self._check(self._raw.tell())
        return data

    def tell(self) -> int:
        return self._raw.tell()

    def seek(self, position: int, whence: int = 0) -> int:
        self._check(position)
        return self._raw.seek(position, whence)

    def _check(self, position: int) -> None:
        if position > self._most:
            raise _bomb()
