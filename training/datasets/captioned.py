"""What CUHK-PEDES, ICFG-PEDES and RSTPReid share (methods.md 2.1): one JSON list of entries beside `imgs/`."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import cast

from training.datasets.checks import check_disjoint, check_identities, check_texts
from training.datasets.files import absent, find_root, report_absent, stays_inside
from training.datasets.report import NAMED, DatasetReport, Finding, Findings, Part, Reading, Size, unreadable
from training.records import SPLITS, PersonData, Record, Split

IMAGES = "imgs"


@dataclass(frozen=True, slots=True)
class Layout:
    """What tells one format from another.

    Attributes:
        format: its name in recipes.
        title: the name of the data set, and of its folder.
        annotations: names of the file of entries, in the order in which they are looked for.
        path_fields: names of the field with the image's path, relative to `imgs/`.
        camera: its first group is the camera in an image's base name.
        first_identity: where the ids of train begin.
        published: sizes of the splits.
        mistaken: files that people have instead of the annotations, with a word on each.
        releases: identities in (train, val, test) of other releases, with a word on each.
    """

    format: str
    title: str
    annotations: tuple[str, ...]
    camera: re.Pattern[str]
    first_identity: int
    published: Mapping[Split, Size]
    path_fields: tuple[str, ...] = ("file_path",)
    mistaken: Mapping[str, str] = field(default_factory=dict)
    releases: Mapping[tuple[int, int, int], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    number: int
    split: Split
    identity: int
    file: str
    texts: tuple[str, ...]


class _MalformedError(Exception):
    """An entry that cannot be used."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind


def read_captioned(root: Path, layout: Layout, *, dropped: frozenset[int] = frozenset()) -> Reading:
    """Read the set in `root` or in the folder `layout.title` of it.

    Args:
        dropped: train identities that are left out, which is noted.
    """
    folder = find_root(root, (layout.title,), layout.annotations)
    if folder is None:
        return unreadable(layout.format, layout.title, root, _nothing(root, layout))
    file = next(folder / name for name in layout.annotations if (folder / name).exists())
    rows = _load(file)
    if isinstance(rows, Finding):
        return unreadable(layout.format, layout.title, folder, rows)
    findings = Findings()
    entries = _entries(rows, file.name, layout, findings)
    base = folder / IMAGES
    files = list(dict.fromkeys(entry.file for entry in entries))
    gone = absent(base, files)
    report_absent(findings, folder, base, gone, len(files))
    records = {
        split: tuple(_record(base, entry, layout) for entry in entries if entry.split == split) for split in SPLITS
    }
    parts = tuple(_part(split, records[split], gone, base, layout) for split in SPLITS)
    _compare(parts, layout, findings)
    check_disjoint(records, findings)
    check_identities(records["train"], layout.first_identity, findings)
    _check_repeats(entries, findings)
    check_texts(records, findings)
    kept = {
        split: tuple(
            record
            for record in found
            if record.path.relative_to(base).as_posix() not in gone
            and not (split == "train" and record.identity in dropped)
        )
        for split, found in records.items()
    }
    notes = _note_dropped(records["train"], dropped, findings)
    report = DatasetReport(layout.format, folder.name, folder, parts, findings.all())
    return Reading(PersonData(folder.name, kept, notes), report)


def _nothing(root: Path, layout: Layout) -> Finding:
    names = " or ".join(layout.annotations)
    places = f"{root} or {root / layout.title}"
    message = (
        f"no {names} in {places}; expected the {layout.title} layout: {layout.annotations[0]} beside a folder {IMAGES}/"
    )
    if not root.is_dir():
        message = f"no folder {root}; expected one with {names} beside a folder {IMAGES}/"
    for name, word in layout.mistaken.items():
        if find_root(root, (layout.title,), (name,)):
            message += f". There is a {name}: {word}"
    if layout.format == "cuhk_pedes":
        message += ". `descry synthesise FOLDER` makes such a set of synthetic people"
    return Finding("annotation_missing", "error", message)


def _load(file: Path) -> list[object] | Finding:
    def broken(words: str) -> Finding:
        return Finding("annotation_unreadable", "error", f"{file} cannot be read as JSON: {words}")

    try:
        rows = json.loads(file.read_bytes().decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        return broken(f"{error.msg} at line {error.lineno}, column {error.colno}")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return broken(f"line {line} is not UTF-8 (byte {error.start} of the file)")
    except (RecursionError, OSError) as error:
        return broken(str(error))
    if not isinstance(rows, list) or not rows:
        return broken("it must be a non-empty JSON list of entries")
    return rows


def _entries(rows: Sequence[object], name: str, layout: Layout, findings: Findings) -> list[_Entry]:
    entries: list[_Entry] = []
    broken: dict[str, list[str]] = defaultdict(list)
    for number, row in enumerate(rows):
        try:
            entries.append(_entry(number, row, layout))
        except _MalformedError as error:
            broken[error.kind].append(f"entry {number} {error}")
    words = {
        "entry_malformed": f"entries of {name} lack a field or hold a wrong value",
        "split_unknown": f"entries of {name} stand in an unknown split",
    }
    for kind, examples in broken.items():
        findings.add(kind, "error", f"{len(examples):,} {words[kind]}", examples)
    return entries


def _entry(number: int, row: object, layout: Layout) -> _Entry:
    def malformed(words: str) -> _MalformedError:
        return _MalformedError("entry_malformed", words)

    if not isinstance(row, dict):
        raise malformed("is not an object")
    field_name = next((name for name in layout.path_fields if name in row), layout.path_fields[0])
    absent_fields = [name for name in ("split", "id", field_name, "captions") if name not in row]
    if absent_fields:
        raise malformed(f"has no {', '.join(absent_fields)}")
    split, identity, file, texts = (row[name] for name in ("split", "id", field_name, "captions"))
    if split not in SPLITS:
        raise _MalformedError("split_unknown", f"has split {split!r}, expected one of {', '.join(SPLITS)}")
    if not isinstance(identity, int) or isinstance(identity, bool) or identity < 0:
        raise malformed(f"has id {identity!r}, expected a number from 0")
    if not isinstance(file, str) or not stays_inside(file):
        raise malformed(f"has {field_name} {file!r}, expected a path relative to {IMAGES}/ that stays in it")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise malformed("has captions that are no list of strings")
    told = tuple(text.strip() for text in texts if text.strip())
    return _Entry(number, cast("Split", split), identity, PurePosixPath(file).as_posix(), told)


def _record(base: Path, entry: _Entry, layout: Layout) -> Record:
    camera = layout.camera.search(PurePosixPath(entry.file).name)
    return Record(base / entry.file, entry.identity, entry.texts, camera[1] if camera else None)


def _part(split: Split, records: Sequence[Record], gone: set[str], base: Path, layout: Layout) -> Part:
    size = Size(
        len({record.identity for record in records}), len(records), sum(len(record.descriptions) for record in records)
    )
    missing = sum(record.path.relative_to(base).as_posix() in gone for record in records) if gone else 0
    return Part(split, size, missing, layout.published.get(split))


def _compare(parts: Sequence[Part], layout: Layout, findings: Findings) -> None:
    findings.compare(parts)
    train, val, test = (part.size.identities or 0 for part in parts)
    if (train, val, test) in layout.releases:
        findings.add("other_release", "warning", layout.releases[train, val, test])


def _check_repeats(entries: Sequence[_Entry], findings: Findings) -> None:
    files = Counter(entry.file for entry in entries)
    repeated = [f"{file} in {count} entries" for file, count in files.items() if count > 1]
    if repeated:
        findings.add("image_repeated", "warning", f"{len(repeated):,} images stand in several entries", repeated)


def _note_dropped(train: Sequence[Record], dropped: frozenset[int], findings: Findings) -> tuple[str, ...]:
    counts = Counter(record.identity for record in train if record.identity in dropped)
    if not counts:
        return ()
    some = ", ".join(f"{identity} ({counts[identity]} images)" for identity in sorted(counts)[: 2 * NAMED])
    note = f"{len(counts):,} train identities are left out as asked: {some}"
    findings.add("identities_dropped", "note", note, count=len(counts))
    return (note,)
