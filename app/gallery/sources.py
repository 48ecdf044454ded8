"""What a folder, a manifest or a single picture offers to an ingest."""

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.database.tables import CAMERA_CHARS, DESCRIPTION_CHARS, EXTERNAL_ID_CHARS, TRACK_CHARS
from app.errors import (
    EntryError,
    FileMissingError,
    FileUnreadableError,
    FormatError,
    ManifestError,
    PathOutsideError,
    ServiceError,
    SourceError,
)
from app.values import check_attributes, check_text, printable

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"})
OTHER_SUFFIXES = frozenset({".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".ico"})
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".3gp", ".wmv"}
)
_VIDEO = "a video is no picture; `descry ingest-video` finds the people in it"
MANIFESTS = ("manifest.jsonl", "manifest.csv")
MANIFEST_SUFFIXES = frozenset({".jsonl", ".csv"})
_LINE_CHARS = 200_000
_SEPARATORS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture to ingest and what is known of it."""

    name: str
    """As the folder or manifest calls it: relative, with forward slashes."""
    path: Path
    identity: str | None = None
    camera: str | None = None
    track: str | None = None
    """Number that a tracker gave to the person, unique within its camera; `identity` wins over it."""
    captured_at: datetime | None = None
    description: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that cannot be ingested, and why."""

    name: str
    error: ServiceError


@dataclass(frozen=True, slots=True)
class Source:
    """What there is to ingest, in a stable order.

    Attributes:
        entries: pictures, and entries that are refused already.
        ignored: files that are no pictures, or that the manifest does not name.
    """

    entries: list[Entry | Refused]
    ignored: int


def open_source(path: Path, root: Path | None = None) -> Source:
    """List what a path offers.

    A folder offers the entries of its manifest if it has one, else every picture in it, recursively; a manifest offers
    its entries, and a picture itself. (An archive is unpacked first: `app.batches`.)

    Args:
        root: folder that the paths of a manifest begin in; its own if None.

    Raises:
        SourceError: there is no such thing, or it cannot be read.
        ManifestError: a manifest as a whole cannot be used.
    """
    if path.is_dir():
        if root is not None:
            raise SourceError(f"{path} is a folder: a root goes with the path of a manifest")
        return _from_folder(path)
    if not path.is_file():
        raise SourceError(f"{path} does not exist; name a folder of pictures, an archive or a manifest")
    if path.suffix.lower() in MANIFEST_SUFFIXES:
        return _from_file(root or path.parent, path)
    if root is None and path.suffix.lower() in SUFFIXES:
        return Source([_located(path.parent, path.name, {})], 0)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise SourceError(f"{path}: {_VIDEO}")
    raise SourceError(f"{path} is no folder, picture or manifest (.jsonl, .csv)")


def _from_file(root: Path, manifest: Path) -> Source:
    if not root.is_dir():
        raise SourceError(f"{root} is no folder; the paths of {manifest.name} must begin in one")
    try:
        return Source(list(_from_manifest(root, manifest)), 0)
    except OSError as error:
        raise SourceError(f"{manifest} cannot be read: {error}") from error


def _from_folder(folder: Path) -> Source:
    manifests = [folder / name for name in MANIFESTS if (folder / name).is_file()]
    if len(manifests) > 1:
        raise ManifestError(f"{folder} has both {' and '.join(MANIFESTS)}; keep one of them")
    try:
        files, closed = _walk(folder)
        if manifests:
            entries = list(_from_manifest(folder, manifests[0]))
            named = {entry.name for entry in entries}
            unnamed = [name for name in files if printable(name) not in named and name != manifests[0].name]
            return Source(entries, len(unnamed))
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error}") from error
    return _from_walk(folder, files, closed)


def _walk(folder: Path) -> tuple[list[str], list[Refused]]:
    """Names of all files that are not hidden, sorted, and the folders that are not looked into."""
    files: list[str] = []
    closed: list[Refused] = []

    def name_of(place: str | Path) -> str:
        return Path(place).relative_to(folder).as_posix()

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise error
        reason = FileUnreadableError(f"the folder cannot be read: {error.strerror}")
        closed.append(Refused(f"{printable(name_of(error.filename))}/", reason))

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if os.path.islink(path := Path(place, name)):  # noqa: PTH114  Path's own fails where a path is too long
                reason = PathOutsideError("a link to a folder is not followed; ingest the folder that it leads to")
                closed.append(Refused(f"{printable(name_of(path))}/", reason))
        files += [name_of(Path(place, name)) for name in names if not name.startswith(".")]
    return sorted(files), sorted(closed, key=lambda refused: refused.name)


def _from_walk(folder: Path, files: list[str], closed: list[Refused]) -> Source:
    entries: list[Entry | Refused] = [*closed]
    ignored = 0
    for name in files:
        suffix = Path(name).suffix.lower()
        if suffix in SUFFIXES:
            entries.append(_located(folder, name, {}))
        elif suffix in OTHER_SUFFIXES:
            entries.append(Refused(name, FormatError(f"{suffix} is not read; convert it to JPEG, PNG or WebP")))
        elif suffix in VIDEO_SUFFIXES:
            entries.append(Refused(name, FormatError(_VIDEO)))
        else:
            ignored += 1
    return Source(entries, ignored)


def _from_manifest(folder: Path, manifest: Path) -> Iterator[Entry | Refused]:
    rows = _jsonl(manifest) if manifest.suffix.lower() == ".jsonl" else _csv(manifest)
    for line, row in rows:
        if isinstance(row, ServiceError):
            yield Refused(f"{manifest.name}:{line}", row)
            continue
        name = row.pop("file", None)
        if not isinstance(name, str) or not name.strip():
            yield Refused(f"{manifest.name}:{line}", EntryError("the entry names no file (column or field `file`)"))
            continue
        yield _located(folder, name.strip(), row)


def _located(folder: Path, name: str, row: dict[str, Any]) -> Entry | Refused:
    """An entry for a file inside the folder. Links that lead out of it are refused like any other way out."""
    try:
        path = Path(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise PathOutsideError("the path must be relative to the folder, with forward slashes and without `..`")
        root = folder.resolve()
        if not (root / path).resolve().is_relative_to(root):
            raise PathOutsideError("the path leads out of the folder through a symbolic link")
        if not (root / path).is_file():
            there = (root / path).exists()
            raise FileMissingError("it is no ordinary file" if there else "the file does not exist in the folder")
        return Entry(printable(name), root / path, **_fields(row))
    except ServiceError as error:
        return Refused(printable(name), error)
    except OSError as error:  # a name that is too long
        return Refused(printable(name), FileMissingError(f"the path cannot be followed: {error.strerror}"))
    except RuntimeError:  # of Path.resolve before Python 3.13
        return Refused(printable(name), FileMissingError("the path cannot be followed: a loop of links"))
    except ValueError:  # half of a surrogate pair, which JSON can spell and no file system can hold
        return Refused(printable(name), FileMissingError("the name is not valid Unicode text"))


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    """The known fields, checked; every unknown one becomes an attribute."""
    attributes = _attributes(row.pop("attributes", None))
    known = {
        "identity": _text(row, "identity", EXTERNAL_ID_CHARS),
        "camera": _text(row, "camera", CAMERA_CHARS),
        "track": _text(row, "track", TRACK_CHARS),
        "description": _text(row, "description", DESCRIPTION_CHARS),
        "captured_at": _instant(row.pop("captured_at", None)),
    }
    attributes |= {key: value for key, value in row.items() if value not in (None, "")}
    try:
        return {**known, "attributes": check_attributes(attributes)}
    except ValueError as error:
        raise EntryError(str(error)) from None


def _text(row: dict[str, Any], key: str, limit: int) -> str | None:
    value = row.pop(key, None)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise EntryError(f"`{key}` must be text, not {type(value).__name__}")
    try:
        return check_text(str(value), key, limit)
    except ValueError as error:
        raise EntryError(str(error)) from None


def _instant(value: object) -> datetime | None:
    """An ISO 8601 instant; without a zone it is taken as UTC."""
    if value is None or value == "":
        return None
    try:
        instant = datetime.fromisoformat(str(value))
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise EntryError(
            f"`captured_at` is no ISO 8601 time, such as 2026-03-01T14:05:00+01:00: {value!r:.80}"
        ) from None


def _attributes(value: object) -> dict[str, Any]:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise EntryError("`attributes` must be a JSON object") from None
    if not isinstance(value, dict):
        raise EntryError("`attributes` must be a JSON object")
    return {str(key): item for key, item in value.items()}


def _jsonl(manifest: Path) -> Iterator[tuple[int, dict[str, Any] | ServiceError]]:
    for number, line in enumerate(_text_of(manifest).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line) if len(line) <= _LINE_CHARS else None
        except (ValueError, RecursionError):
            row = None
        yield number, row if isinstance(row, dict) else EntryError("the line is not a JSON object")


def _csv(manifest: Path) -> Iterator[tuple[int, dict[str, Any] | ServiceError]]:
    text, reader = _text_of(manifest), None
    try:
        separator, columns = _columns(text, manifest.name)
        reader = csv.DictReader(io.StringIO(text, newline=""), columns, restkey="", strict=True, delimiter=separator)
        next(reader, None)  # the names
        for row in reader:
            surplus = row.pop("", None)
            yield reader.line_num, EntryError("the line has more cells than columns") if surplus else dict(row)
    except csv.Error as error:
        raise ManifestError(f"{manifest.name}, line {reader.line_num if reader else 1}: {error}") from error


def _columns(text: str, name: str) -> tuple[str, list[str]]:
    """What separates the cells (spreadsheets write semicolons in some countries), and the names of the columns."""
    found: list[str] = []
    for separator in _SEPARATORS:
        first = next(csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator), [])
        columns = [column.strip() for column in first]
        if "file" in columns:
            if twice := sorted({column for column in columns if column and columns.count(column) > 1}):
                raise ManifestError(f"{name} has the column `{twice[0]}` twice; give each of them a name of its own")
            return separator, columns
        found = found or columns
    told = f"; it has {', '.join(found)[:200]}" if found else ""
    raise ManifestError(f"{name} has no column `file` (its first line must name the columns{told})")


def _text_of(manifest: Path) -> str:
    try:
        return manifest.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{manifest.name} is not UTF-8 text: {error}") from error
