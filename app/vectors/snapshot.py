"""An index on disk: one file with a checksum, which appears whole or not at all. Any engine can start from it.

line 1    JSON header: format, history, fingerprint, space, dim, count, sequence, SHA-256 of the rest
rest      ids (count int64), then vectors (count x dim float16), little-endian
"""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

from app.errors import SnapshotError
from app.files import sync_folder
from app.vectors.contract import Half, Ids

FORMAT = "descry-index-1"
_HEADER_LIMIT = 4096
_PARTIAL = ".partial"


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
    """The vectors of one view at one point of the log."""

    key: SnapshotKey
    sequence: int
    ids: Ids
    vectors: Half


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot; a reader finds the old file or the new one, never a part.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    ids = snapshot.ids.astype("<i8").tobytes()
    vectors = np.ascontiguousarray(snapshot.vectors, "<f2").data.cast("B") if len(snapshot.ids) else b""
    digest = hashlib.sha256(ids)
    digest.update(vectors)
    header = {
        "format": FORMAT,
        **asdict(snapshot.key),
        "count": len(snapshot.ids),
        "sequence": snapshot.sequence,
        "sha256": digest.hexdigest(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path)
    with _replacement(path) as handle:
        handle.write(json.dumps(header).encode() + b"\n")
        handle.write(ids)
        handle.write(vectors)
    sync_folder(path.parent)


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


def load_snapshot(path: Path, key: SnapshotKey, *, at_most: int) -> Snapshot:
    """Read a snapshot that fits.

    Args:
        at_most: head of the log: a snapshot that is ahead of it belongs to another past.

    Raises:
        SnapshotError: missing, damaged, or taken of something else.
    """
    try:
        with path.open("rb") as handle:
            header = json.loads(handle.readline(_HEADER_LIMIT))
            payload = handle.read()
    except (OSError, ValueError, RecursionError) as error:
        raise SnapshotError(f"{path.name}: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise SnapshotError(f"{path.name} is not in the format {FORMAT}")
    wrong = [name for name, value in asdict(key).items() if header.get(name) != value]
    if wrong:
        raise SnapshotError(f"{path.name} belongs to another gallery or model: {', '.join(wrong)} differ")
    if hashlib.sha256(payload).hexdigest() != header.get("sha256"):
        raise SnapshotError(f"{path.name} is damaged: its checksum does not match its content")
    count, sequence = header.get("count"), header.get("sequence")
    if not isinstance(count, int) or not isinstance(sequence, int) or len(payload) != count * (8 + 2 * key.dim):
        raise SnapshotError(f"{path.name} is damaged: its size does not match its header")
    if sequence > at_most:
        raise SnapshotError(f"{path.name} is at sequence {sequence}, ahead of the database at {at_most}")
    ids = np.frombuffer(payload, "<i8", count)
    return Snapshot(key, sequence, ids, np.frombuffer(payload, "<f2", offset=8 * count).reshape(count, key.dim))
