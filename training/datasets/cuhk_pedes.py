"""CUHK-PEDES on disk (methods.md 2.1): `reid_raw.json` beside `imgs/`. The synthetic people come in the same form."""

import json
import re
from pathlib import Path
from typing import cast

from training.errors import DatasetError
from training.records import SPLITS, PersonData, Record, Split

ANNOTATIONS = "reid_raw.json"
_CAMERA = re.compile(r"_c(\d+)_")
_NAMED = 5


def read(root: Path) -> PersonData:
    """Read `<root>/reid_raw.json` or `<root>/CUHK-PEDES/reid_raw.json`, and check that every image is there.

    Raises:
        DatasetError: no annotation file, an entry of the wrong shape, missing images, or an identity that stands in
            two splits. The message names the first few.
    """
    folder = _find(root)
    try:
        entries = json.loads((folder / ANNOTATIONS).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DatasetError(f"{folder / ANNOTATIONS} cannot be read as JSON: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise DatasetError(f"{folder / ANNOTATIONS} must be a non-empty JSON list of entries")
    found: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    for number, entry in enumerate(entries):
        split, record = _record(folder, number, entry)
        found[split].append(record)
    data = PersonData(folder.name, {split: tuple(records) for split, records in found.items()})
    _check_images(folder, data)
    _check_disjoint(folder, data)
    return data


def _find(root: Path) -> Path:
    for folder in (root, root / "CUHK-PEDES"):
        if (folder / ANNOTATIONS).is_file():
            return folder
    raise DatasetError(
        f"no {ANNOTATIONS} in {root} or {root / 'CUHK-PEDES'}; expected the CUHK-PEDES layout: {ANNOTATIONS} beside "
        "a folder imgs/. `descry synthesise FOLDER` makes such a set of synthetic people"
    )


def _record(folder: Path, number: int, entry: object) -> tuple[Split, Record]:
    where = f"entry {number} of {folder / ANNOTATIONS}"
    if not isinstance(entry, dict):
        raise DatasetError(f"{where} is not an object")
    split, identity, file, texts = (entry.get(key) for key in ("split", "id", "file_path", "captions"))
    if split not in SPLITS:
        raise DatasetError(f"{where}: split is {split!r}, expected one of {', '.join(SPLITS)}")
    if not isinstance(identity, int) or isinstance(identity, bool) or identity < 0:
        raise DatasetError(f"{where}: id is {identity!r}, expected a number from 0")
    if not isinstance(file, str) or not file:
        raise DatasetError(f"{where}: file_path is {file!r}, expected a path relative to imgs/")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DatasetError(f"{where}: captions must be a list of strings")
    camera = _CAMERA.search(Path(file).name)
    texts = tuple(text.strip() for text in texts if text.strip())
    record = Record(folder / "imgs" / file, identity, texts, camera[1] if camera else None)
    return cast("Split", split), record


def _check_images(folder: Path, data: PersonData) -> None:
    missing = [record.path for records in data.splits.values() for record in records if not record.path.is_file()]
    if missing:
        some = ", ".join(str(path.relative_to(folder)) for path in missing[:_NAMED])
        raise DatasetError(f"{len(missing)} images that {folder / ANNOTATIONS} names are missing, e.g. {some}")


def _check_disjoint(folder: Path, data: PersonData) -> None:
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        both = data.identities(cast("Split", first)) & data.identities(cast("Split", second))
        if both:
            some = ", ".join(str(identity) for identity in sorted(both)[:_NAMED])
            raise DatasetError(f"{folder / ANNOTATIONS}: {len(both)} ids stand in {first} and in {second}, e.g. {some}")
