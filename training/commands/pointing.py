"""`python -m training pointing`: how good a checkpoint's explanations are."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.commands.options import Json, say
from training.events import progress_bar

if TYPE_CHECKING:
    from training.studies.pointing import Explained


def pointing(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint.")],
    phrases: Annotated[int, typer.Option(min=1, help="How many phrases.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the people, who are in no data set.")] = 0,
    with_occlusion: Annotated[bool, typer.Option("--with-occlusion", help="Its rival too: 40 times as long.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Picture file of some overlays to look at.")] = None,
    as_json: Json = False,
) -> None:
    """Whether heat maps point at what phrases of synthetic people name, and whether support tells true from untrue."""
    from models.checkpoint import load_checkpoint
    from training.studies.pointing import cases, draw_sheet, explain

    encoder = load_checkpoint(checkpoint)
    chosen = cases(seed, phrases)
    with progress_bar("pointing") as advance:
        found = explain(
            encoder,
            chosen,
            seed,
            lambda done, total: advance(done, total, ""),
            with_occlusion=with_occlusion,
        )
    if sheet is not None:
        say(f"wrote {draw_sheet(encoder, chosen, sheet, seed=seed)}")
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
    else:
        _print(found)


def _print(found: "Explained") -> None:
    table = Table(title="Pointing game, % of phrases", caption="chance: share of the picture that shows the thing")
    occluded = ("occlusion",) if found.kinds["all"].occlusion is not None else ()
    for column in ("", "phrases", "heat", "chance", "centre", "place of its kind", *occluded):
        table.add_column(column, justify="right" if column else "left")
    for kind, row in sorted(found.kinds.items(), key=lambda item: -item[1].phrases):
        shares = (row.heat, row.chance, row.centre, row.prior, row.occlusion)
        told = (f"{100 * share:.1f}" for share in shares if share is not None)
        table.add_row(kind.replace("_", " "), str(row.phrases), *told)
    Console().print(table)
    areas = Table(title=f"True against untrue phrases, AUC, {found.phrases:,} phrases, {found.pairs:,} pairs")
    for column in ("", *found.cosine):
        areas.add_column(column, justify="right" if column else "left")
    for name, values in (("cosine", found.cosine), ("support", found.support)):
        areas.add_row(name, *(f"{values[column]:.4f}" for column in found.cosine))
    Console().print(areas)
