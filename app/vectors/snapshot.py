"""An index on disk: one file with a checksum, which appears whole or not at all. Any engine can start from it.

line 1    JSON header: format, history, fingerprint, space, dim, sequence, shortlist (components, lists, lists read,
          vectors scored exactly, recall) or null
then      components (dim x components float32) and centroids (lists x components float32), if there is a shortlist
pieces    count (int64) and whether it is in lists (bool); ids (int64), lists (int32) if it is, vectors (dim float16)
end       a piece of 0, and the SHA-256 of all before it. Little-endian.
"""

import fcntl
import hashlib
import json
import os
import secrets
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from app.errors import SnapshotError
from app.files import sync_folder
from app.vectors.contract import Piece
from app.vectors.lists import Coarse

FORMAT = "descry-index-3"
_HEADER_LIMIT = 4096
_PARTIAL = ".partial"
_COUNTS = struct.Struct("<q?")
_PIECE_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class SnapshotKey:
    """What a snapshot must have been taken of to be of use.

    Attributes:
        history: name of the database's log.
        fingerprint: of the model version's checkpoint.
    """

    history: str
    fingerprint: str
    space: str
    dim: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The vectors of one view at one point of the log.

    Attributes:
        coarse: how a shortlist is made, if the index made one.
        pieces: the vectors, each once; may be given out one by one, so that they are never all in memory twice.
    """

    key: SnapshotKey
    sequence: int
    coarse: Coarse | None
    pieces: Iterable[Piece]


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot; a reader finds the old file or the new one, never a part.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    coarse = snapshot.coarse
    header = {
        "format": FORMAT,
        **asdict(snapshot.key),
        "sequence": snapshot.sequence,
        "shortlist": None
        if coarse is None
        else [coarse.width, coarse.count, coarse.probe, coarse.shortlist, coarse.recall],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path)
    with _replacement(path) as handle:
        digest = hashlib.sha256()

        def write(data: bytes | memoryview) -> None:
            digest.update(data)
            handle.write(data)

        write(json.dumps(header).encode() + b"\n")
        if coarse is not None:
            write(_bytes(coarse.components, "<f4"))
            write(_bytes(coarse.centroids, "<f4"))
        for piece in snapshot.pieces:
            write(_COUNTS.pack(len(piece.ids), piece.lists is not None))
            write(_bytes(piece.ids, "<i8"))
            if piece.lists is not None:
                write(_bytes(piece.lists, "<i4"))
            write(_bytes(piece.vectors, "<f2"))
        write(_COUNTS.pack(0, False))
        handle.write(digest.digest())
    sync_folder(path.parent)


def _bytes(array: NDArray[Any], dtype: str) -> memoryview:
    return np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data


def remove_abandoned(path: Path) -> None:
    """Remove what processes that were killed have left beside a snapshot; what a live one writes stays."""
    for partial in path.parent.glob(f"{path.name}.*{_PARTIAL}"):
        try:
            with partial.open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                partial.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue


@contextmanager
def _replacement(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` when the block ends; locked meanwhile, see `remove_abandoned`."""
    while True:
        partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_PARTIAL}")
        try:
            with partial.open("xb") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if os.fstat(handle.fileno()).st_nlink == 0:
                    continue  # taken for a dead process's before the lock was held
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
                partial.replace(path)
            return
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


class SnapshotReader:
    """Reads a snapshot piece by piece. Nothing of it may be used before the last piece came: then it is whole.

    Args:
        at_most: reads the head of the log: a snapshot that is ahead of it belongs to another past. It is read after
            the file was opened: what another process saves in between is not ahead of it.
    """

    def __init__(self, path: Path, key: SnapshotKey, *, at_most: Callable[[], int]) -> None:
        self._path, self._key, self._at_most, self._digest = path, key, at_most, hashlib.sha256()

    @contextmanager
    def open(self) -> Iterator[Snapshot]:
        """The snapshot, whose pieces can be read once within the block.

        Raises:
            SnapshotError: missing, damaged, or taken of something else; also while pieces are read.
        """
        try:
            with self._path.open("rb") as handle:
                line = handle.readline(_HEADER_LIMIT)
                self._digest.update(line)
                header = self._checked(json.loads(line))
                coarse = self._coarse(handle, header)
                yield Snapshot(self._key, header["sequence"], coarse, self._pieces(handle, coarse))
        except (OSError, ValueError, RecursionError) as error:
            raise SnapshotError(f"{self._path.name}: {error}") from error

    def _checked(self, header: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
        name = self._path.name
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise SnapshotError(f"{name} is not in the format {FORMAT}")
        wrong = [field for field, value in asdict(self._key).items() if header.get(field) != value]
        if wrong:
            raise SnapshotError(f"{name} belongs to another gallery or model: {', '.join(wrong)} differ")
        sequence = header.get("sequence")
        if not isinstance(sequence, int):
            raise SnapshotError(f"{name} is damaged: it does not say where in the log it was taken")
        if sequence > (head := self._at_most()):
            raise SnapshotError(f"{name} is at sequence {sequence}, ahead of the database at {head}")
        return header

    def _coarse(self, handle: IO[bytes], header: dict[str, Any]) -> Coarse | None:
        found = header.get("shortlist")
        if found is None:
            return None
        width, count, probe, shortlist = map(int, found[:4])
        components = self._read(handle, (self._key.dim, width), "<f4").astype(np.float32)
        centroids = self._read(handle, (count, width), "<f4").astype(np.float32)
        return Coarse(components, centroids, probe, shortlist, float(found[4]))

    def _pieces(self, handle: IO[bytes], coarse: Coarse | None) -> Iterator[Piece]:
        while True:
            count, listed = _COUNTS.unpack(self._bytes(handle, _COUNTS.size))
            if count == 0:
                break
            if not 0 < count <= _PIECE_LIMIT or (listed and coarse is None):
                raise SnapshotError(f"{self._path.name} is damaged: a piece of it cannot be what it says")
            ids = self._read(handle, (count,), "<i8").astype(np.int64)
            lists = self._read(handle, (count,), "<i4").astype(np.int32) if listed else None
            if lists is not None and coarse is not None and not ((lists >= 0) & (lists < coarse.count)).all():
                raise SnapshotError(f"{self._path.name} is damaged: it names lists that it does not have")
            yield Piece(ids, self._read(handle, (count, self._key.dim), "<f2"), lists)
        if handle.read() != self._digest.digest():
            raise SnapshotError(f"{self._path.name} is damaged: its checksum does not match its content")

    def _read(self, handle: IO[bytes], shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer(self._bytes(handle, size), dtype).reshape(shape)

    def _bytes(self, handle: IO[bytes], size: int) -> bytes:
        data = handle.read(size)
        if len(data) != size:
            raise SnapshotError(f"{self._path.name} is damaged: it ends too early")
        self._digest.update(data)
        return data
