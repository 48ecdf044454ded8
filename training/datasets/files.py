"""Which files a data set names are there: each folder is listed once, for asking file by file is slow on a network."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from training.datasets.report import NAMED, Finding, Findings, Level


def find_root(root: Path, folders: Sequence[str], marks: Sequence[str]) -> Path | None:
    """`root`, or the first of its `folders`, that holds one of `marks`."""
    for folder in (root, *(root / name for name in folders)):
        if any((folder / mark).exists() for mark in marks):
            return folder
    return None


def stays_inside(file: str) -> bool:
    """Whether a relative path stays under the folder that it is taken from."""
    path = PurePosixPath(file)
    return bool(file) and not path.is_absolute() and ".." not in path.parts and "\\" not in file and "\0" not in file


def absent(base: Path, files: Sequence[str]) -> set[str]:
    """Those of `files`, relative to `base`, that are not there."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for file in files:
        by_folder[str(PurePosixPath(file).parent)].append(file)
    gone: set[str] = set()
    for folder, named in by_folder.items():
        there = _names(base / folder)
        gone.update(file for file in named if PurePosixPath(file).name not in there)
    return gone


def report_absent(findings: Findings, folder: Path, base: Path, gone: set[str], all_files: int) -> None:
    """Say which folders are missing as a whole, and which images are missing in the others; `base` is in `folder`."""
    whole: dict[str, int] = defaultdict(int)
    single: dict[str, int] = defaultdict(int)
    some: list[str] = []
    for file in sorted(gone):
        top = _top(base, file)
        name = top.relative_to(folder).as_posix() + "/"
        if top.is_dir():
            single[name] += 1
            some.append((base / file).relative_to(folder).as_posix())
        else:
            whole[name] += 1
    level: Level = "error" if len(gone) == all_files else "missing"
    for kind, groups, examples, words in (
        ("folder_missing", whole, (), "images are missing with their whole folders"),
        ("image_missing", single, tuple(some[:NAMED]), "images are missing"),
    ):
        if groups:
            count = sum(groups.values())
            message = f"{count:,} of {all_files:,} {words}"
            findings.append(Finding(kind, level, message, count, examples, dict(groups)))


def _top(base: Path, file: str) -> Path:
    """The first folder under `base` on the way to `file`, or `base` itself where that is missing or it lies flat."""
    parts = PurePosixPath(file).parts
    return base / parts[0] if len(parts) > 1 and base.is_dir() else base


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
