"""Market-1501 on disk (methods.md 2.2): three folders of JPEGs whose names say identity and camera.

Identity -1 is junk and dropped everywhere; identity 0 is a distractor, which stays in the gallery. DukeMTMC-reID has
the same form, and `dukemtmc.py` reads it through this file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.datasets.checks import check_disjoint
from training.datasets.files import find_root
from training.datasets.report import DatasetReport, Finding, Findings, Part, Reading, ReadOptions, Size, unreadable
from training.records import PersonData, Record, Role, Split

FOLDERS: Mapping[str, tuple[str, Role | None]] = {
    "train": ("bounding_box_train", None),
    "query": ("query", "query"),
    "gallery": ("bounding_box_test", "gallery"),
}
"""Part -> (its folder, the role of its images)."""
# The published cameras have one digit; synthetic people are seen by twelve.
_NAME = re.compile(r"([-\d]+)_c(\d+)")
_JUNK, _DISTRACTOR = -1, 0


@dataclass(frozen=True, slots=True)
class Layout:
    """What tells Market-1501 from DukeMTMC-reID."""

    format: str
    title: str
    folders: tuple[str, ...]
    published: Mapping[str, Size]


LAYOUT = Layout(
    format="market1501",
    title="Market-1501",
    folders=("Market-1501-v15.09.15", "Market-1501"),
    # Images without junk; the gallery's include the distractors.
    published={"train": Size(751, 12_936), "query": Size(750, 3_368), "gallery": Size(None, 15_913)},
)


def read(root: Path, options: ReadOptions) -> Reading:
    """Read `<root>` or `<root>/Market-1501-v15.09.15`."""
    return read_folders(root, LAYOUT)


def read_folders(root: Path, layout: Layout) -> Reading:
    """Read the three folders in `root` or in one of `layout.folders` of it."""
    folder = find_root(root, layout.folders, [name for name, _ in FOLDERS.values()])
    if folder is None:
        names = ", ".join(f"{name}/" for name, _ in FOLDERS.values())
        message = f"no {names} in {root} or {root / layout.folders[0]}; expected the layout of {layout.title}"
        return unreadable(layout.format, layout.title, root, Finding("folder_missing", "error", message))
    findings = Findings()
    found = {part: _read_part(folder / name, role, findings) for part, (name, role) in FOLDERS.items()}
    parts = tuple(Part(name, _size(records), 0, layout.published.get(name)) for name, records in found.items())
    splits: dict[Split, tuple[Record, ...]] = {
        "train": found["train"],
        "val": (),
        "test": (*found["query"], *found["gallery"]),
    }
    findings.compare(parts)
    check_disjoint(splits, findings)
    report = DatasetReport(layout.format, folder.name, folder, parts, findings.all())
    return Reading(PersonData(folder.name, splits), report)


def _read_part(folder: Path, role: Role | None, findings: Findings) -> tuple[Record, ...]:
    if not folder.is_dir():
        findings.add("folder_missing", "missing", f"the folder {folder.name}/ is missing")
        return ()
    records: list[Record] = []
    unnamed: list[str] = []
    junk = distractors = 0
    # In the order of names, so that the gallery's order does not depend on the file system.
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() == ".jpg"):
        match = _NAME.match(path.name)
        identity = _number(match[1]) if match else None
        if match is None or identity is None:
            unnamed.append(f"{folder.name}/{path.name}")
        elif identity == _JUNK:
            junk += 1
        else:
            distractor = role == "gallery" and identity == _DISTRACTOR
            distractors += distractor
            records.append(Record(path, identity, (), match[2], role, distractor))
    if unnamed:
        words = f"names in {folder.name}/ do not say identity and camera, as 0091_c3s1_021576_03.jpg does"
        findings.add("name_unknown", "error", f"{len(unnamed):,} {words}", unnamed)
    if not records:
        findings.add("folder_empty", "missing", f"the folder {folder.name}/ holds no images")
    if junk:
        findings.add(
            "junk_dropped", "note", f"{junk:,} junk images (identity -1) of {folder.name}/ are left out", count=junk
        )
    if distractors:
        words = f"{distractors:,} distractors (identity 0) stay in the gallery"
        findings.add("distractors_kept", "note", words, count=distractors)
    return tuple(records)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-1|\d+", text) else None


def _size(records: tuple[Record, ...]) -> Size:
    return Size(len({record.identity for record in records if not record.distractor}), len(records))
