"""Snapshots for tests."""

from dataclasses import replace
from pathlib import Path

from app.vectors.snapshot import Snapshot, SnapshotKey, SnapshotReader


def whole(path: Path, key: SnapshotKey, at_most: int) -> Snapshot:
    """A snapshot with all its pieces in memory."""
    with SnapshotReader(path, key, at_most=lambda: at_most).open() as found:
        return replace(found, pieces=list(found.pieces))


def ids_of(path: Path, key: SnapshotKey, at_most: int) -> list[int]:
    """The images that a snapshot holds."""
    return [number for piece in whole(path, key, at_most).pieces for number in piece.ids.tolist()]
