"""What verbs print: results to standard output, progress and errors to standard error."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from app.errors import StorageError

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of database, images and index (DESCRY_DATA_DIR).", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

Originals = Annotated[
    bool, typer.Option("--originals", help="While heads are blurred (DESCRY_BLUR_FACES): pictures without that.")
]

_GAP = 3
"""Characters between two columns."""


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
    return escape(_printable(text))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table for people.

    Attributes:
        spare: 0: it is always there; else it is left out where no row has anything in it, and where the terminal is
            narrow, the highest number first.
        least: characters to which its text may be wrapped; None: its cells stay on one line, as ids must.
        most: characters after which a text is cut in a terminal; None: never.
    """

    title: str
    spare: int = 0
    least: int | None = None
    most: int | None = None


def print_rejected(title: str, rows: Sequence[Sequence[str]]) -> None:
    """What was not taken: name of the file, code, and why."""
    columns = [Column("File", least=10), Column("Code", least=10), Column("Why", least=20)]
    print_table(columns, rows, title=title)


def print_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], console: Console | None = None, *, title: str = ""
) -> None:
    """A table as wide as the terminal at most; into a pipe or a file everything, a line a row, tabs between cells.

    Args:
        title: a line above it, in either case.
    """
    out = console or results()
    cells = [[_printable(cell) for cell in row] for row in rows]
    if title:
        out.print(_printable(title), markup=False, highlight=False, soft_wrap=True)
    if not out.is_terminal:
        lines = [[column.title for column in columns], *cells]
        out.file.write("".join("\t".join(line) + "\n" for line in lines))
        return
    for row in cells:
        for index, column in enumerate(columns):
            if column.most is not None:
                row[index] = shorten(row[index], column.most, placeholder=" …")
    kept, tight = _fitting(columns, cells, out.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index in kept:
        # Where not even the ids have room they go on in the next line: no character of them is lost.
        table.add_column(columns[index].title, overflow="fold", no_wrap=columns[index].least is None and not tight)
    for row in cells:
        table.add_row(*(Text(row[index]) for index in kept))
    out.print(table)


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> tuple[list[int], bool]:
    """Which columns there is room for, and whether there is too little even for those that are always there."""

    def needs(index: int) -> int:
        longest = max(map(cell_len, (columns[index].title, *(row[index] for row in cells))))
        least = columns[index].least
        return _GAP + (longest if least is None else min(longest, max(least, cell_len(columns[index].title))))

    by_worth = sorted(range(len(columns)), key=lambda index: columns[index].spare)
    kept = [index for index in by_worth if columns[index].spare == 0]
    taken = sum(needs(index) for index in kept) - _GAP
    tight = taken > width
    for index in by_worth[len(kept) :]:
        if any(row[index] for row in cells) and taken + needs(index) <= width:
            kept.append(index)
            taken += needs(index)
    return sorted(kept), tight


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
