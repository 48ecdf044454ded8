"""What a run tells: JSON lines for programs, a progress bar or plain lines for people."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVENTS = "events.jsonl"
_PLAIN_SECONDS = 15.0


class EventLog:
    """Appends one JSON object a line to `events.jsonl`; each line carries `event` and `time` (Unix seconds).

    Args:
        silent: write nothing; of several processes only one tells.
    """

    def __init__(self, folder: Path, *, silent: bool = False) -> None:
        self._file = None if silent else (folder / EVENTS).open("a", encoding="utf-8", buffering=1)
        if self._file is not None and _is_cut(folder / EVENTS):
            self._file.write("\n")

    def write(self, event: str, **fields: object) -> None:
        """Append one event."""
        if self._file is not None:
            self._file.write(json.dumps({"event": event, "time": round(time.time(), 3), **fields}) + "\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _is_cut(path: Path) -> bool:
    """Whether the last line has no end: the next one would be lost with it."""
    with path.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        return size > 0 and (handle.seek(size - 1), handle.read(1))[1] != b"\n"


def read_events(folder: Path) -> list[dict[str, Any]]:
    """All events of a run; a line cut short by a crash is left out."""
    events: list[dict[str, Any]] = []
    for line in (folder / EVENTS).read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


Advance = Callable[[int, int, str], None]
"""Called with (done, all, a few words on the state)."""


@contextmanager
def progress_bar(title: str, *, silent: bool = False) -> Iterator[Advance]:
    """A live bar on a terminal's stderr; elsewhere a plain line every 15 seconds, so that logs stay readable."""
    if silent:
        yield lambda done, total, words: None
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None, words="")

        def advance(done: int, total: int, words: str) -> None:
            bar.update(task, completed=done, total=total, words=words)

        yield advance


def _plain_lines(title: str) -> Advance:
    started = last = time.monotonic()

    def advance(done: int, total: int, words: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PLAIN_SECONDS or done >= total:
            last = now
            left = (now - started) / max(done, 1) * (total - done)
            sys.stderr.write(f"{title} {done}/{total}, {left:.0f} s left {words}\n")

    return advance
