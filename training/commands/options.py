"""Options that several verbs have, and how verbs speak."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

Precision = Literal["standard", "trapezoid"]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[str, typer.Option(help="auto, or cpu.")]
SplitName = Annotated[str, typer.Option(help="train, val or test.")]
Beside = Annotated[
    tuple[str, Path] | None,
    typer.Option("--with", metavar="FORMAT ROOT", help="An image-image set that goes with it, for pictures alone."),
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Go on with the images that are there, and say so.")
]


@contextmanager
def asked_for() -> Iterator[None]:
    """Numbers out of range come from the command line: a usage error, not a crash."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def show(result: dict[str, object], as_json: bool, words: str) -> None:
    """Print the result, as JSON or in words."""
    typer.echo(json.dumps(result) if as_json else words)


def handed_over(figures: object, out: Path | None, *, as_json: bool) -> bool:
    """Write figures to a file, where one is named, and print them as JSON where that is asked for.

    Returns:
        Whether they are printed; if not, they are still to be shown.
    """
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(figures))
    return as_json


def say(words: str) -> None:
    """What is told beside the result goes to stderr."""
    typer.echo(words, err=True)
