"""What is known of a checkpoint's runtimes on a machine: a small JSON file for each, in the data folder.

It is no part of the database: it holds for this machine, and all of it can be measured again.
"""

import hashlib
import json
import logging
import os
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

from app.embedding.runtimes.known import RuntimeName

_log = logging.getLogger(__name__)
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """What one runtime took.

    Attributes:
        runtime: its name.
        text_ms: one description of the usual length, milliseconds, with the threads of a query.
        image_ms: one picture, likewise.
        texts_s: descriptions a second in batches, all cores.
        images_s: pictures a second in batches, all cores.
        cosine: the smallest between its vectors and the exact ones.
        open_s: seconds until it had made its first vectors, without export.
    """

    runtime: RuntimeName
    text_ms: float
    image_ms: float
    texts_s: float
    images_s: float
    cosine: float
    open_s: float


@dataclass(frozen=True, slots=True)
class RuntimeRecord:
    """A checkpoint's runtimes on one machine.

    Attributes:
        machine: what it holds for (`names.machine`).
        choice: what `descry tune` chose; None before.
        measured: all that it measured, the exact runtime first.
        refused: why it measured no others, by name.
        cosines: the smallest cosine to the exact vectors of each runtime that was ever tried here.
    """

    machine: dict[str, str]
    choice: RuntimeName | None = None
    measured: tuple[Measured, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    cosines: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        return {"format": _FORMAT, **asdict(self)}


def record_path(home: Path, machine: tuple[tuple[str, str], ...]) -> Path:
    """Where the record of a machine is, in the folder of a checkpoint's exports."""
    return home / f"{hashlib.sha256(json.dumps(machine).encode()).hexdigest()[:16]}.json"


def read_record(home: Path, machine: tuple[tuple[str, str], ...]) -> RuntimeRecord:
    """The record of a machine; an empty one where there is none, or none that can be read, which the log says."""
    path, empty = record_path(home, machine), RuntimeRecord(dict(machine))
    try:
        found = json.loads(path.read_text())
        if found.pop("format") != _FORMAT or found["machine"] != empty.machine:
            return empty
        if found["choice"] not in (None, *get_args(RuntimeName)):
            raise ValueError(f"unknown runtime {found['choice']!r}")
        found["measured"] = tuple(Measured(**item) for item in found["measured"])
        return RuntimeRecord(**found)
    except FileNotFoundError:
        return empty
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("%s cannot be read (%s); `descry tune` writes it anew", path, error)
        return empty


def write_record(home: Path, record: RuntimeRecord) -> None:
    """Write a record; it appears whole or not at all."""
    home.mkdir(parents=True, exist_ok=True)
    path = record_path(home, tuple(record.machine.items()))
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with partial.open("w", encoding="utf-8") as handle:
            json.dump(record.to_dict(), handle, indent=1)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remember_cosine(home: Path, machine: tuple[tuple[str, str], ...], name: RuntimeName, cosine: float) -> None:
    """Add what a parity check found to the record of a machine."""
    record = read_record(home, machine)
    write_record(home, replace(record, cosines={**record.cosines, cast("str", name): cosine}))
