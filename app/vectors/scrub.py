"""Taking vectors out of an index file without the index: for erasures where no server runs that would do it."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from app.errors import SnapshotError, StorageError
from app.vectors.contract import Piece
from app.vectors.snapshot import Snapshot, SnapshotKey, SnapshotReader, save_snapshot

_HEADER_LIMIT = 4096


def without(path: Path, image_ids: Sequence[int]) -> bool:
    """Write an index file anew without some images, if it has any of them; whether it had.

    A file that cannot be read is removed: the database makes it again, and nobody can say what is in it.

    Raises:
        StorageError: it cannot be written.
    """
    gone = np.array(sorted(image_ids), np.int64)
    try:
        if not _holds(path, gone):
            return False
        with _reader(path).open() as found:
            save_snapshot(path, Snapshot(found.key, found.sequence, found.coarse, _left(iter(found.pieces), gone)))
    except SnapshotError:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path.name} cannot be written: {error.strerror}") from error
    return True


def remove_stale(folder: Path, loaded: Collection[int], deleted_after: Callable[[int], set[int]]) -> list[str]:
    """Remove index files of versions that nobody has in memory, if images were deleted since; returns their names.

    The views of a version that is loaded save by themselves. The others are made again from the database when needed.

    Args:
        deleted_after: the images that were deleted after a place in the log.
    """
    gone = []
    for path in sorted(folder.glob("version-*.index")):
        if path.name.split("-")[1] in map(str, loaded):
            continue
        try:
            if not deleted_after(sequence_of(path)):
                continue
        except SnapshotError:
            pass
        path.unlink(missing_ok=True)
        gone.append(path.name)
    return gone


def sequence_of(path: Path) -> int:
    """The place in the log that an index file says it was taken at.

    Raises:
        SnapshotError: it says none.
    """
    try:
        with path.open("rb") as handle:
            return int(json.loads(handle.readline(_HEADER_LIMIT))["sequence"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotError(f"{path.name}: {error}") from error


def _reader(path: Path) -> SnapshotReader:
    try:
        with path.open("rb") as handle:
            header = json.loads(handle.readline(_HEADER_LIMIT))
        key = SnapshotKey(*(header[name] for name in ("history", "fingerprint", "space", "dim")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotError(f"{path.name}: {error}") from error
    return SnapshotReader(path, key, at_most=lambda: int(header["sequence"]))


def _holds(path: Path, gone: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
    with _reader(path).open() as found:
        held = [bool(np.isin(piece.ids, gone).any()) for piece in found.pieces]  # to the end: there is the checksum
    return any(held)


def _left(pieces: Iterator[Piece], gone: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Iterator[Piece]:
    for piece in pieces:
        kept = ~np.isin(piece.ids, gone)
        if kept.any():
            yield Piece(piece.ids[kept], piece.vectors[kept], None if piece.lists is None else piece.lists[kept])
