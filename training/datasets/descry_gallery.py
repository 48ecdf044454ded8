"""The export of a Descry gallery: a folder of pictures with `manifest.jsonl`, one JSON object a line.

    file          path relative to the folder
    identity      what tells people apart, a text; a line without one is a person of its own
    split         train, val or test; a manifest that names none is all train
    description   a text, or `descriptions`, a list; a line may have neither
    camera, collection, attributes (a flat object): what results are told apart by

`descry export` writes it without splits, a retraining job (`app.retraining.dataset`) with them. The latter may have a
`dataset.json` beside it: `name`, and `also`, a list of {format, root} of further sets whose train split is trained on
together with the gallery's. Their identities get numbers of their own.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.datasets.checks import check_disjoint, check_texts
from training.datasets.files import absent, report_absent, stays_inside
from training.datasets.report import DatasetReport, Finding, Findings, Part, Reading, ReadOptions, Size, unreadable
from training.records import SPLITS, PersonData, Record, Split

MANIFEST, ABOUT = "manifest.jsonl", "dataset.json"
FORMAT, TITLE = "descry_gallery", "Descry gallery"
_VALUES = (str, int, float, bool)


def read(root: Path, options: ReadOptions) -> Reading:
    """Read `<root>`."""
    if not (root / MANIFEST).is_file():
        message = f"no {MANIFEST} in {root}; expected the export of a Descry gallery (`descry export`)"
        return unreadable(FORMAT, TITLE, root, Finding("manifest_missing", "error", message))
    findings = Findings()
    found = _records(root, findings)
    about = _about(root, findings)
    files = [record.path.relative_to(root).as_posix() for records in found.values() for record in records]
    gone = absent(root, files)
    if gone:
        report_absent(findings, root, root, gone, len(files))
    splits: dict[Split, tuple[Record, ...]] = {
        split: tuple(r for r in records if r.path.relative_to(root).as_posix() not in gone)
        for split, records in found.items()
    }
    check_disjoint(splits, findings)
    check_texts(splits, findings)
    parts = tuple(Part(split, _size(records), len(records) - len(splits[split])) for split, records in found.items())
    data = PersonData(str(about.get("name") or root.name), splits)
    for other in about.get("also", ()):
        data = _joined(data, _train_of(other, findings))
    return Reading(data, DatasetReport(FORMAT, data.name, root, parts, findings.all()))


def _records(root: Path, findings: Findings) -> dict[Split, list[Record]]:
    found: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    numbers: dict[str, int] = {}
    wrong: list[str] = []
    with (root / MANIFEST).open(encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                split, record = _record(root, row, f"line {number}", numbers)
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                wrong.append(f"line {number}: {error}")
            else:
                found[split].append(record)
    if wrong:
        findings.add("entry_malformed", "error", f"{len(wrong):,} lines of {MANIFEST} cannot be used", wrong)
    elif not any(found.values()):
        findings.add("manifest_empty", "error", f"{root / MANIFEST} names no picture")
    return found


def _record(root: Path, row: Mapping[str, Any], place: str, numbers: dict[str, int]) -> tuple[Split, Record]:
    file, identity = row["file"], row.get("identity")
    if not isinstance(file, str) or not stays_inside(file):
        raise ValueError(f"`file` must be a path inside the folder, not {file!r}")
    if identity is not None and not isinstance(identity, str):
        raise ValueError(f"`identity` must be a text, not {identity!r}")
    name = row.get("split", "train")
    split = next((one for one in SPLITS if one == name), None)
    if split is None:
        raise ValueError(f"`split` must be one of {', '.join(SPLITS)}, not {name!r}")
    told = row.get("descriptions", [row["description"]] if row.get("description") else [])
    if not isinstance(told, list) or not all(isinstance(text, str) for text in told):
        raise ValueError("a description must be a text")
    key = f"id {identity}" if identity is not None else place
    groups = [("collection", row["collection"])] if row.get("collection") else []
    groups += [(k, str(v)) for k, v in (row.get("attributes") or {}).items() if isinstance(v, _VALUES)]
    camera = row.get("camera")
    return split, Record(
        root / file,
        numbers.setdefault(key, len(numbers)),
        tuple(text.strip() for text in told if text.strip()),
        str(camera) if camera is not None else None,
        groups=tuple(groups),
    )


def _about(root: Path, findings: Findings) -> Mapping[str, Any]:
    if not (root / ABOUT).is_file():
        return {}
    try:
        about = json.loads((root / ABOUT).read_text(encoding="utf-8"))
        if not isinstance(about, dict) or not isinstance(about.get("also", []), list):
            raise ValueError("it must hold an object whose `also` is a list")
    except ValueError as error:
        findings.add("about_malformed", "error", f"{root / ABOUT} cannot be read: {error}")
        return {}
    return about


def _train_of(other: Mapping[str, str], findings: Findings) -> PersonData:
    from training.datasets import read_dataset
    from training.errors import DatasetError

    try:
        return read_dataset(str(other["format"]), Path(other["root"]))
    except (DatasetError, KeyError, TypeError) as error:
        findings.add("also_unreadable", "error", f"a set to be trained on as well cannot be read: {error}")
        return PersonData("", {"train": (), "val": (), "test": ()})


def _joined(data: PersonData, other: PersonData) -> PersonData:
    """The train split of `other` behind that of `data`, under identities of its own."""
    taken = {record.identity for records in data.splits.values() for record in records}
    first = max(taken, default=-1) + 1
    more = tuple(replace(record, identity=first + record.identity) for record in other.splits["train"])
    note = (f"trained together with {len(more):,} images of {other.name}",) if more else ()
    return PersonData(
        data.name, {**data.splits, "train": (*data.splits["train"], *more)}, (*data.notes, *other.notes, *note)
    )


def _size(records: "list[Record]") -> Size:
    texts = sum(len(record.descriptions) for record in records)
    return Size(len({record.identity for record in records}), len(records), texts)
