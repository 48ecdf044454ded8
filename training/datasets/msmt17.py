"""MSMT17 on disk (methods.md 2.2): lists of images with identities, over folders of two spellings (v1 and v2).

`list_val.txt` holds further images of the train identities. It could not choose an epoch honestly, so it joins train,
as CLIP-ReID has it; `training.records.carve_validation` makes a val split by identity. Test ids begin at 0 again in
the lists; here they follow the train ids.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.datasets.files import absent, find_root, report_absent, stays_inside
from training.datasets.report import DatasetReport, Finding, Findings, Part, Reading, ReadOptions, Size, unreadable
from training.records import PersonData, Record, Role

_FOLDERS = ("MSMT17_V1", "MSMT17_V2", "MSMT17")
_IMAGES = {"train": ("train", "mask_train_v2"), "test": ("test", "mask_test_v2")}
_LISTS: dict[str, tuple[str, str, Role | None]] = {
    "list_train.txt": ("train", "train", None),
    "list_val.txt": ("train", "train", None),
    "list_query.txt": ("query", "test", "query"),
    "list_gallery.txt": ("gallery", "test", "gallery"),
}
"""List -> (the part that its images belong to, their folder, their role)."""
_LINE = re.compile(r"(\S.*\S)\s+(\d+)")
_CAMERA = re.compile(r"^[^_]+_[^_]+_(\d+)_")
_PUBLISHED = {"train": Size(1_041, 32_621), "query": Size(None, 11_659), "gallery": Size(3_060, 82_161)}


@dataclass(frozen=True, slots=True)
class _Row:
    file: str
    identity: int
    camera: str


def read(root: Path, options: ReadOptions) -> Reading:
    """Read `<root>`, `<root>/MSMT17_V1`, `<root>/MSMT17_V2` or `<root>/MSMT17`."""
    folder = find_root(root, _FOLDERS, tuple(_LISTS))
    if folder is None:
        message = f"no {', '.join(_LISTS)} in {root} or {root / _FOLDERS[0]}; expected the layout of MSMT17"
        return unreadable("msmt17", "MSMT17", root, Finding("annotation_missing", "error", message))
    findings = Findings()
    rows = {name: _read_list(folder / name, findings) for name in _LISTS}
    people = [row.identity for name in ("list_train.txt", "list_val.txt") for row in rows[name]]
    shift = max(people, default=-1) + 1
    parts: dict[str, list[Record]] = {"train": [], "query": [], "gallery": []}
    gone = _find_images(folder, rows, findings)
    missing = dict.fromkeys(parts, 0)
    for name, (part, side, role) in _LISTS.items():
        base = _base(folder, side)
        for row in rows[name]:
            identity = row.identity + (shift if side == "test" else 0)
            parts[part].append(Record(base / row.file, identity, (), row.camera, role))
            missing[part] += f"{base.name}/{row.file}" in gone
    sizes = tuple(
        Part(part, Size(len({r.identity for r in records}), len(records)), missing[part], _PUBLISHED[part])
        for part, records in parts.items()
    )
    findings.compare(sizes)
    kept = {part: _there(records, folder, gone) for part, records in parts.items()}
    data = PersonData(folder.name, {"train": kept["train"], "val": (), "test": (*kept["query"], *kept["gallery"])})
    return Reading(data, DatasetReport("msmt17", folder.name, folder, sizes, findings.all()))


def _base(folder: Path, side: str) -> Path:
    """The image folder of the first or second version, whichever is there; the first if none is."""
    return next((folder / name for name in _IMAGES[side] if (folder / name).is_dir()), folder / _IMAGES[side][0])


def _read_list(path: Path, findings: Findings) -> tuple[_Row, ...]:
    if not path.is_file():
        findings.add("list_missing", "missing", f"{path.name} is missing, and with it all images that it names")
        return ()
    rows: list[_Row] = []
    broken: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        camera = _CAMERA.match(match[1].rsplit("/", 1)[-1]) if match else None
        if match is None or camera is None or not stays_inside(match[1]):
            broken.append(f"line {number}: {line.strip()[:80]!r}")
        else:
            rows.append(_Row(match[1], int(match[2]), camera[1]))
    if broken:
        words = f"lines of {path.name} do not read FOLDER/PID_N_CAMERA_TIME_FRAME_BOX.jpg PID"
        findings.add("entry_malformed", "error", f"{len(broken):,} {words}", broken)
    return tuple(rows)


def _find_images(folder: Path, rows: dict[str, tuple[_Row, ...]], findings: Findings) -> set[str]:
    """The missing images, named from the data set's folder."""
    named = (f"{_base(folder, side).name}/{row.file}" for name, (_, side, _) in _LISTS.items() for row in rows[name])
    files = list(dict.fromkeys(named))
    gone = absent(folder, files)
    report_absent(findings, folder, folder, gone, len(files))
    return gone


def _there(records: Sequence[Record], folder: Path, gone: set[str]) -> tuple[Record, ...]:
    return tuple(record for record in records if record.path.relative_to(folder).as_posix() not in gone)
