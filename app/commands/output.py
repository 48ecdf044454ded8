"""What verbs print: results to standard output, progress and errors to standard error."""

import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.errors import StorageError

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of database, images and index (DESCRY_DATA_DIR).", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

Originals = Annotated[
    bool, typer.Option("--originals", help="While heads are blurred (DESCRY_BLUR_FACES): pictures without that.")
]


@cache
def results() -> Console:
    """The console on standard output."""
    return Console()


@cache
def errors() -> Console:
    """The console on standard error."""
    return Console(stderr=True)


def write_out(out: Path, data: bytes) -> None:
    """Write what a verb was asked to write.

    Raises:
        StorageError: it cannot be written there.
    """
    try:
        out.write_bytes(data)
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror or error}") from error


def print_json(value: Any) -> None:  # noqa: ANN401  anything that JSON can carry
    """Print a result for programs."""
    results().print(json.dumps(value, ensure_ascii=False, indent=1), markup=False, highlight=False, soft_wrap=True)


def shown(text: str) -> str:
    """Text from outside as text: no markup, no control characters that would drive the terminal."""
    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text))


def progress_bar() -> Progress:
    """A bar on standard error with count, speed and remaining time; silent where that is no terminal's."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=errors(),
    )
