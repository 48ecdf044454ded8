"""Readers: one file per on-disk format, all yielding `training.records.Record` and a report of what they found.

`preparation.py` reads what a recipe asks for, `images.py` decodes the pictures."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from training.datasets import cuhk_pedes, descry_gallery, dukemtmc, icfg_pedes, market1501, msmt17, rstpreid
from training.datasets.report import DatasetReport, Reading, ReadOptions
from training.errors import DatasetError
from training.records import PersonData

_READERS: dict[str, Callable[[Path, ReadOptions], Reading]] = {
    "cuhk_pedes": cuhk_pedes.read,
    "icfg_pedes": icfg_pedes.read,
    "rstpreid": rstpreid.read,
    "market1501": market1501.read,
    "dukemtmc": dukemtmc.read,
    "msmt17": msmt17.read,
    "descry_gallery": descry_gallery.read,
}


def formats() -> tuple[str, ...]:
    """Names of the formats that can be read."""
    return tuple(_READERS)


def check_dataset(name: str, root: Path) -> DatasetReport:
    """Look through the data set of format `name` under `root`.

    Raises:
        DatasetError: unknown format.
    """
    return read_with_report(name, root).report


def read_dataset(
    name: str, root: Path, *, allow_missing: bool = False, drop_single_image_ids: bool = False
) -> PersonData:
    """Read the data set of format `name` under `root`.

    Args:
        allow_missing: go on with the images that are there; the data's notes say what is not.
        drop_single_image_ids: leave out of CUHK-PEDES' train the three ids that LGUR leaves out.

    Raises:
        DatasetError: unknown format, or files that are missing or malformed; the message is the report.
    """
    if drop_single_image_ids and name != "cuhk_pedes":
        raise DatasetError(f"drop_single_image_ids names ids of cuhk_pedes and means nothing for {name}")
    reading = read_with_report(name, root, ReadOptions(drop_single_image_ids))
    if not reading.report.usable(allow_missing=allow_missing):
        raise DatasetError(reading.report.refusal())
    missing = tuple(f"incomplete data: {finding.message}" for finding in reading.report.of("missing"))
    return replace(reading.data, notes=(*reading.data.notes, *missing))


def read_with_report(name: str, root: Path, options: ReadOptions = ReadOptions()) -> Reading:  # noqa: B008  frozen
    """Read the data set of format `name` under `root`, whatever the report says of it.

    Raises:
        DatasetError: unknown format.
    """
    if name not in _READERS:
        raise DatasetError(f"unknown data set format {name!r}; known: {', '.join(_READERS)}")
    return _READERS[name](root, options)
