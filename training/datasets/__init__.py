"""Readers: one file per on-disk format, all yielding `training.records.Record`."""

from collections.abc import Callable
from pathlib import Path

from training.datasets import cuhk_pedes
from training.errors import DatasetError
from training.records import PersonData

_READERS: dict[str, Callable[[Path], PersonData]] = {"cuhk_pedes": cuhk_pedes.read}


def formats() -> tuple[str, ...]:
    """Names of the formats that can be read."""
    return tuple(_READERS)


def read_dataset(name: str, root: Path) -> PersonData:
    """Read the data set of format `name` under `root`.

    Raises:
        DatasetError: unknown format, or files that are missing or malformed.
    """
    if name not in _READERS:
        raise DatasetError(f"unknown data set format {name!r}; known: {', '.join(_READERS)}")
    return _READERS[name](root)
