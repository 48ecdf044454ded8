"""A text-image set and an image-image set as one: nothing that either measures on is trained on, ids mean one person.

The published pairs overlap: ICFG-PEDES is made of images of MSMT17 under their names, CUHK-PEDES of images of
Market-1501 and others (methods.md 7, point 9). What is compared are base names and bytes.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.datasets import read_with_report
from training.datasets.report import DatasetReport, Findings, Part, Size
from training.records import PersonData, Record, Split

_HELD_OUT: tuple[Split, Split] = ("val", "test")


@dataclass(frozen=True, slots=True)
class Joined:
    """Two sets as one: `data.pictures` is the second; `findings` say what was left out and what is the same."""

    data: PersonData
    findings: Findings


def join(data: PersonData, pictures: PersonData) -> Joined:
    """Put `pictures` beside `data`.

    * A train image whose base name, or whose bytes, stand in the other set's val or test is left out of train.
    * A picture that is byte for byte a train image of `data` shows the person whom `data` names. If several are named,
      it is the one whom most of that person's pictures name. All other identities of `pictures` are moved behind those
      of `data`.

    What is left out is in the findings, and in the notes of the data: log, events and model card repeat them. Only
    pictures are compared: other pictures of the same people stay in train, as in the published protocol.
    """
    findings = Findings()
    held = {one.name: [r for split in _HELD_OUT for r in one.splits[split]] for one in (data, pictures)}
    first = _without(data, held[pictures.name], pictures.name, findings)
    second = _without(pictures, held[data.name], data.name, findings)
    same = _same_people(first.splits["train"], second.splits["train"])
    if same:
        words = f"identities of {pictures.name} share images with {data.name} and are given its numbers"
        findings.add("identity_unified", "note", f"{len(same):,} {words}", count=len(same))
    offset = 1 + max((r.identity for split in data.splits.values() for r in split), default=-1)
    second = _renumbered(second, same, offset)
    notes = tuple(f"{data.name} with {pictures.name}: {finding.message}" for finding in findings.all())
    notes = (*data.notes, *pictures.notes, *notes)
    return Joined(replace(first, notes=notes, pictures=replace(second, notes=())), findings)


def check_joint(
    first: tuple[str, Path], second: tuple[str, Path], *, allow_missing: bool = False
) -> tuple[DatasetReport, ...]:
    """The reports of two sets, (format, folder) each, and a third on what training on both makes of them.

    The third counts no val split of `carve_validation`, which a recipe decides, and is left out where a set cannot be
    used.

    Raises:
        DatasetError: unknown format.
    """
    readings = [read_with_report(*place) for place in (first, second)]
    reports = tuple(reading.report for reading in readings)
    if not all(report.usable(allow_missing=allow_missing) for report in reports):
        return reports
    joined = join(readings[0].data, readings[1].data)
    pictures = joined.data.pictures
    assert pictures is not None
    parts = tuple(
        Part(f"train of {one.name}", Size(len(one.identities("train")), len(one.splits["train"])))
        for one in (joined.data, pictures)
    )
    name = f"{joined.data.name} with {pictures.name}"
    own = DatasetReport(f"{first[0]}+{second[0]}", name, first[1], parts, joined.findings.all())
    return (*reports, own)


def _without(data: PersonData, held_out: Sequence[Record], other: str, findings: Findings) -> PersonData:
    """`data` without the train images that the other set measures on."""
    train = data.splits["train"]
    names = {record.path.name for record in held_out}
    by_name = {record.path for record in train if record.path.name in names}
    by_bytes = {ours for ours, _ in _equal_files([r.path for r in train], [r.path for r in held_out])}
    gone = [record for record in train if record.path in by_name | by_bytes]
    if not gone:
        return data
    people = len({record.identity for record in gone})
    message = (
        f"{len(gone):,} train images of {people:,} identities of {data.name} stand in val or test of {other} and are "
        f"left out ({len(by_name):,} by their name, {len(by_bytes):,} by their bytes)"
    )
    findings.add("train_image_held_out", "note", message, (r.path.name for r in gone), count=len(gone))
    dropped = {record.path for record in gone}
    kept = tuple(record for record in train if record.path not in dropped)
    return replace(data, splits={**data.splits, "train": kept})


def _same_people(described: Sequence[Record], pictures: Sequence[Record]) -> dict[int, int]:
    """Identity among the pictures -> whom the described images that are the same files name most often."""
    named = {record.path: record.identity for record in described}
    shown = {record.path: record.identity for record in pictures}
    votes: dict[int, Counter[int]] = defaultdict(Counter)
    for ours, theirs in _equal_files(named, shown):
        votes[shown[theirs]][named[ours]] += 1
    return {theirs: min(count, key=lambda ours: (-count[ours], ours)) for theirs, count in votes.items()}


def _renumbered(data: PersonData, same: dict[int, int], offset: int) -> PersonData:
    def moved(record: Record) -> Record:
        return replace(record, identity=same.get(record.identity, offset + record.identity))

    splits = {split: tuple(map(moved, records)) for split, records in data.splits.items()}
    return replace(data, splits=splits)


def _equal_files(ours: Iterable[Path], theirs: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Pairs of files with the same bytes; only those of one size are read."""
    by_size: dict[int, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for side, paths in enumerate((ours, theirs)):
        for path in dict.fromkeys(paths):
            by_size[path.stat().st_size][side].append(path)
    found: list[tuple[Path, Path]] = []
    for mine, others in by_size.values():
        if mine and others:
            by_hash: dict[bytes, list[Path]] = defaultdict(list)
            for path in mine:
                by_hash[_hash(path)].append(path)
            found += [(path, other) for other in others for path in by_hash.get(_hash(other), ())]
    return found


def _hash(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
