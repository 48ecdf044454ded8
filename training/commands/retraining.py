"""The verbs that a retraining job starts: `plan` before a run, `compare` behind it."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.device import chosen_device
from training.commands.options import Device, Json

if TYPE_CHECKING:
    from training.records import Split


def plan(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped one.")],
    pairs: Annotated[int, typer.Option(min=0, help="Image-text pairs that there are to train on.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.field=value, repeatable.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data set, instead of the recipe's.")] = None,
    start: Annotated[Path | None, typer.Option("--from", help="Folder of a checkpoint to go on from.")] = None,
    also: Annotated[list[str] | None, typer.Option(help="FORMAT:FOLDER of a further set, repeatable.")] = None,
    on: Annotated[list[str] | None, typer.Option(help="FORMAT:SPLIT:FOLDER to be compared on, repeatable.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Take the time of a step.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Check a recipe, and say how many steps it has on so many pairs; trains nothing."""
    from training.engine.plan import make_plan
    from training.recipe import load_recipe

    chosen = load_recipe(recipe, overrides or (), data=data, start=start)
    more = sum(_pairs_in(text) for text in also or ())
    for text in on or ():
        _check_comparable(text)
    made = make_plan(chosen, pairs + more, device=device, measure=measure)
    if as_json:
        typer.echo(json.dumps(made.to_dict()))
        return
    speed = f", about {made.seconds:,.0f} s" if made.seconds is not None else ""
    typer.echo(f"{made.recipe}: {made.steps:,} steps of {made.batch} in {made.epochs} epochs{speed}")


def compare(
    candidate: Annotated[Path, typer.Argument(help="Folder of the new checkpoint.")],
    active: Annotated[Path, typer.Argument(help="Folder of the checkpoint that answers now.")],
    sets: Annotated[list[str], typer.Option("--on", help="FORMAT:SPLIT:FOLDER, repeatable.")],
    out: Annotated[Path | None, typer.Option(help="JSON file to write the figures to as well.")] = None,
    queries: Annotated[int, typer.Option(min=1, help="Least queries of a subgroup.")] = 50,
    identities: Annotated[int, typer.Option(min=1, help="Least identities of a subgroup.")] = 10,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    draws: Annotated[int, typer.Option(min=100, help="Bootstrap samples.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compare two checkpoints on the same queries: R@1, mAP, and intervals of the difference, also by subgroups."""
    from training.events import EventLog, progress_bar
    from training.studies.comparison import Demands
    from training.studies.comparison import compare as run

    demands = Demands(queries, identities, confidence, draws, seed)
    log = EventLog(out.parent, silent=out is None) if out else None
    with progress_bar("comparing") as advance:

        def tell(name: str, done: int, total: int) -> None:
            advance(done, total, name)
            if log is not None:
                log.write("comparison", data=name, done=done, total=total)

        where = chosen_device(device)
        found = run(candidate, active, [_set(text) for text in sets], demands, device=where, progress=tell)
    if log is not None:
        log.close()
    result = {"seed": seed, "draws": draws, "sets": found}
    if out:
        partial = out.with_name(f"{out.name}.partial")
        partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(out)
    if as_json:
        typer.echo(json.dumps(result))
        return
    for one in found:
        for metric in ("R@1", "mAP"):
            told = one[metric]
            sides = f"{told['candidate']:.2f} against {told['active']:.2f}"
            apart = f"{told['difference']:+.2f} [{told['low']:+.2f}, {told['high']:+.2f}]"
            typer.echo(f"{one['data']} {one['split']} {metric}: {sides}, {apart}, {one['queries']:,} queries")


def _set(text: str) -> "tuple[str, Path, Split]":
    from training.errors import DatasetError
    from training.records import SPLITS

    name, _, rest = text.partition(":")
    split, colon, root = rest.partition(":")
    for known in SPLITS:
        if known == split and colon and root:
            return name, Path(root), known
    raise DatasetError(f"{text!r} does not read FORMAT:SPLIT:FOLDER with a split of {', '.join(SPLITS)}")


def _check_comparable(text: str) -> None:
    from training.datasets import read_dataset
    from training.errors import DatasetError
    from training.records import pairs_of

    name, root, split = _set(text)
    people = read_dataset(name, root)
    if not pairs_of(people.splits[split]):
        raise DatasetError(f"{people.name} has no descriptions in its {split} split: nothing to compare on")


def _pairs_in(text: str) -> int:
    from training.datasets import read_dataset
    from training.records import pairs_of

    name, _, root = text.partition(":")
    return len(pairs_of(read_dataset(name, Path(root)).splits["train"]))
