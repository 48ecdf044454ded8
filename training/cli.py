"""`python -m training VERB`: train, evaluate, report, synthesise, datasets, describe. `descry` forwards to it."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from models.device import chosen_device
from models.errors import DescryError
from training.captioning.cli import describe
from training.commands.answers import reliability, robustness
from training.commands.composed import composed
from training.commands.data import datasets, synthesise, synthesise_gallery, synthesise_pictures
from training.commands.options import (
    AllowMissing,
    Beside,
    Device,
    Json,
    Precision,
    SplitName,
    asked_for,
    handed_over,
    say,
    show,
)
from training.commands.parse import parse
from training.commands.pointing import pointing
from training.commands.retraining import compare, plan
from training.errors import ResourceError, file_error, resource_error
from training.events import progress_bar
from training.processes.claim import claimed

if TYPE_CHECKING:
    from models.encoder import PersonEncoder
    from training.evaluation import Embedded
    from training.recipe import Recipe
    from training.records import PersonData, Split

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
cli.add_typer(datasets, name="datasets")
cli.add_typer(describe, name="describe")
cli.command()(parse)
cli.command()(synthesise)
cli.command("synthesise-pictures")(synthesise_pictures)
cli.command("synthesise-gallery")(synthesise_gallery)
cli.command()(plan)
cli.command()(pointing)
cli.command()(compare)
cli.command()(composed)
cli.command()(reliability)
cli.command()(robustness)


@cli.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped one.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data set, instead of the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/NAME.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.field=value, repeatable.")] = None,
    start: Annotated[Path | None, typer.Option("--from", help="Folder of a checkpoint to go on from.")] = None,
    device: Device = "auto",
    allow_missing: AllowMissing = False,
    restart: Annotated[bool, typer.Option(help="Begin again instead of resuming.")] = False,
    as_json: Json = False,
) -> None:
    """Train a recipe. A run that was killed goes on where it was when the same command is given again.

    In several processes: torchrun --nproc_per_node N -m training train ...
    """
    from training.recipe import load_recipe

    chosen = load_recipe(recipe, overrides or (), data=data, start=start)
    people = _prepared(chosen, allow_missing=allow_missing)
    from training.engine.trainer import Trainer  # seconds, which a mistake above need not wait for

    folder = out or Path("runs") / chosen.name
    with claimed(folder, main=_is_first()):
        trainer = Trainer(chosen, people, folder, device=device, restart=restart)
        if trainer.position.step and trainer.main:
            say(f"resuming {folder} at step {trainer.position.step}")
        info = trainer.run()
        trainer.close()
    if not trainer.main:
        return
    result = {
        "checkpoint": str(info.path),
        "best": trainer.position.best,
        "best_epoch": trainer.position.best_epoch,
        "seconds": round(trainer.position.seconds, 1),
    }
    show(result, as_json, f"Best R@1 {result['best']:.2f} on {chosen.data.select_on}; checkpoint: {info.path}")


@cli.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint.")],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    format_name: Annotated[str, typer.Option("--format", help="On-disk format of the data set.")] = "cuhk_pedes",
    split: SplitName = "test",
    beside: Beside = None,
    average_precision: Annotated[Precision, typer.Option(help="trapezoid is LGUR's, another number.")] = "standard",
    out: Annotated[Path | None, typer.Option(help="JSON file to write the result to as well.")] = None,
    device: Device = "auto",
    allow_missing: AllowMissing = False,
    as_json: Json = False,
) -> None:
    """Measure a checkpoint on a split: R@1, R@5, R@10, mAP, mINP, text to image and image to image, where the data
    allow; beside the oracle on synthetic people. A model with a space for pictures alone is also measured image to
    image by the vectors that are meant for descriptions. With --with, image to image is measured on the second set."""
    encoder, people, embedded = _embed(checkpoint, data, format_name, split, device, allow_missing=allow_missing)
    rows = _measure(embedded, average_precision)
    if beside:
        _, pictures, shown = _embed(checkpoint, beside[1], beside[0], split, device, allow_missing=allow_missing)
        rows = {name: row for name, row in rows.items() if name == "model"}
        rows |= {name: row for name, row in _measure(shown, average_precision).items() if name != "model"}
        people = replace(people, name=f"{people.name} with {pictures.name}", notes=(*people.notes, *pictures.notes))
    if not people.notes:  # the oracle knows all images
        rows |= _oracle(data, split)
    result = {"data": people.name, "split": split, "notes": list(people.notes), **rows}
    if handed_over(result, out, as_json=as_json):
        return
    _print_table(f"{encoder.spec.method} on {people.name} {split}", rows, average_precision)


@cli.command()
def calibrate(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint; calibration.json is written there.")],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    format_name: Annotated[str, typer.Option("--format", help="On-disk format of the data set.")] = "cuhk_pedes",
    split: SplitName = "val",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Learn from which score on two images show one person. Training does this at its end; this is for others."""
    from training.calibration.learning import calibrate as learn
    from training.datasets import read_dataset

    people = read_dataset(format_name, data)
    with progress_bar(f"encoding {split}") as advance:
        rule = learn(
            checkpoint,
            people,
            _split(split),
            device=chosen_device(device),
            progress=lambda done, total: advance(done, total, ""),
        )
    words = f"{rule.linkage} linkage from cosine {rule.threshold:.3f} on; F1 of pairs {rule.f1:.3f} on {split}"
    show(rule.to_dict(), as_json, words)


@cli.command()
def ablate(
    recipe: Annotated[str, typer.Argument(help="A recipe of the method, as for train.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data set, instead of the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the table; default runs/NAME-ablation.")] = None,
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "0,1,2",
    people: Annotated[int | None, typer.Option(help="Train on this many identities only.")] = None,
    rows: Annotated[list[str] | None, typer.Option("--row", help="Only this row, repeatable.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.field=value, repeatable.")] = None,
    split: SplitName = "test",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train the rows of a method's ablation table with several seeds; goes on where it was stopped."""
    with asked_for():
        numbers = [int(seed) for seed in seeds.split(",")]
    from training.recipe import load_recipe
    from training.studies.ablation import DATA, TABLE, first_people
    from training.studies.ablation import ablate as run_rows

    chosen = load_recipe(recipe, overrides or (), data=data)
    folder = out or Path("runs") / f"{chosen.name}-ablation"
    kept = first_people(_prepared(chosen), people)
    with claimed(folder, main=_is_first()):
        run_rows(
            recipe,
            kept,
            folder,
            seeds=numbers,
            overrides=overrides or (),
            wanted=rows or (),
            root=data,
            split=_split(split),
            device=device,
            say=say,
        )
    written = [str(folder / TABLE), str(folder / DATA)]
    show({"written": written}, as_json, (folder / TABLE).read_text(encoding="utf-8"))


@cli.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data set, instead of the recipe's.")] = None,
    split: SplitName = "test",
    out: Annotated[Path | None, typer.Option(help="Where the pictures go; default RUN/report.")] = None,
    device: Device = "auto",
    allow_missing: AllowMissing = False,
    as_json: Json = False,
) -> None:
    """Write a run's loss curve, CMC curve and a sheet of ranked lists; for DGCMIA also what it mined, for HKGR the
    words it hid and told, for BDAM its gates and features."""
    from training.engine.trainer import BEST
    from training.errors import DatasetError
    from training.recipe import load_recipe
    from training.reports.run import plot_cmc, plot_losses, plot_relations, ranked_sheet

    recipe = load_recipe(str(run / "recipe.yaml"), data=data)
    where = (recipe.data.root, recipe.data.format, split, device)
    encoder, people, embedded = _embed(run / BEST, *where, allow_missing=allow_missing)
    if not embedded.queries:
        raise DatasetError(f"{people.name} has no descriptions in its {split} split; a report is on text to image")
    oracle = {} if people.notes else _oracle(recipe.data.root, split)
    folder = out or run / "report"
    folder.mkdir(parents=True, exist_ok=True)
    written = [
        plot_losses(run, folder),
        plot_cmc(recipe.name, embedded.measure(), oracle.get("oracle"), folder),
        ranked_sheet(embedded, folder),
    ]
    if relations := plot_relations(run, folder):
        written.append(relations)
    if recipe.method == "hkgr":
        from training.reports.hkgr import masked_sheet

        written += [sheet for sheet in (masked_sheet(run, people, folder),) if sheet]
    if encoder.spec.method == "bdam":
        from training.reports.bdam import draw_split

        written += draw_split(recipe.name, encoder, embedded.records, folder)

    show({"written": [str(path) for path in written]}, as_json, "\n".join(f"wrote {path}" for path in written))


def _prepared(recipe: "Recipe", *, allow_missing: bool = False) -> "PersonData":
    """The recipe's data; its notes are said."""
    from training.datasets.preparation import prepare_data

    people = prepare_data(recipe, allow_missing=allow_missing)
    if _is_first():
        for note in people.notes:
            say(note)
    return people


def _is_first() -> bool:
    """Of the processes that torchrun has started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _embed(
    checkpoint: Path, data: Path, format_name: str, split: str, device: str, *, allow_missing: bool
) -> "tuple[PersonEncoder, PersonData, Embedded]":
    from models.checkpoint import load_checkpoint
    from training.datasets import read_dataset
    from training.datasets.images import ImageSource
    from training.errors import DatasetError
    from training.evaluation import embed_split

    encoder = load_checkpoint(checkpoint, device=chosen_device(device))
    people = read_dataset(format_name, data, allow_missing=allow_missing)
    for note in people.notes:
        say(note)
    records = people.splits[_split(split)]
    if not records:
        raise DatasetError(f"{people.name} has no images in its {split} split")
    source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
    with progress_bar(f"encoding {split}") as advance:
        embedded = embed_split(encoder, records, source, progress=lambda done, total: advance(done, total, ""))
    source.close()
    return encoder, people, embedded


def _print_table(title: str, rows: "dict[str, dict[str, Any]]", average_precision: "Precision") -> None:
    from training.evaluation.metrics import PROTOCOLS

    told = [PROTOCOLS[row["protocol"]] for row in rows.values() if "protocol" in row]
    if average_precision == "trapezoid":
        told.append("mAP by trapezoids, as LGUR has it, is not the mAP of other works")
    table = Table(title=title, caption="; ".join(told), caption_justify="left")
    columns = ("R@1", "R@5", "R@10", "mAP", "mINP", "queries", "skipped")
    for column in ("", *columns):
        table.add_column(column, justify="right" if column else "left")
    for name, row in rows.items():
        values = (row.get(column, "") for column in columns)
        label = {"model": "text to image"}.get(name, name.replace("_", " "))
        table.add_row(label, *(f"{v:.2f}" if isinstance(v, float) else str(v) for v in values))
    Console().print(table)


def _measure(embedded: "Embedded", average_precision: "Precision") -> dict[str, dict[str, Any]]:
    """Text to image as "model", image to image under its own name; what the data do not allow is said and left out."""
    from training.errors import NothingRelevantError
    from training.evaluation import measure_pictures

    rows: dict[str, dict[str, Any]] = {}
    if embedded.queries:
        rows["model"] = embedded.measure(average_precision).to_dict()
    try:
        rows |= {name: found.to_dict() for name, found in measure_pictures(embedded, average_precision).items()}
    except NothingRelevantError as error:
        if not rows:
            raise
        say(f"image to image is not measured: {error.message}")
    return rows


def _oracle(data: Path, split: str) -> "dict[str, dict[str, Any]]":
    """The ceiling on synthetic people: ranking by the true attributes that each description mentions."""
    from training.synthetic.oracle import score_set

    if not ((data / "synthetic.json").is_file() and (data / "attributes.json").is_file()):
        return {}  # also the synthetic pictures, of which nothing is described
    score = score_set(data, split)
    shares = {"R@1": score.rank1, "R@5": score.rank5, "R@10": score.rank10, "mAP": score.mean_ap}
    return {"oracle": {name: 100 * share for name, share in shares.items()} | {"queries": score.queries}}


def _split(name: str) -> "Split":
    from training.errors import DatasetError
    from training.records import SPLITS

    for split in SPLITS:
        if split == name:
            return split
    raise DatasetError(f"no split {name!r}; it is one of {', '.join(SPLITS)}")


_INTERRUPTED = 130


def main() -> NoReturn:
    """Run a verb; an error that Descry knows is one line on stderr and exit status 1."""
    try:
        cli(standalone_mode=True)
    except DescryError as error:
        _tell_torchrun(error)
        _end(resource_error(error) or error)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # Typer makes this of Ctrl-C, without a word
            say("stopped; the same command again goes on, or begins again where a verb keeps nothing")
        raise
    except Exception as error:
        _tell_torchrun(error)
        if (ended := resource_error(error) or file_error(error)) is None:
            raise
        _end(ended)
    sys.exit(0)


def _end(error: DescryError) -> NoReturn:
    try:
        say(f"error: {_process()}{error.message} [{error.code}]")
    except OSError:  # standard error lies on the disk that is full
        os.close(2)
        os.open(os.devnull, os.O_WRONLY)
    sys.exit(error.status if isinstance(error, ResourceError) else 1)


def _process() -> str:
    rank, world = os.environ.get("RANK"), os.environ.get("WORLD_SIZE", "1")
    return f"process {rank} of {world}: " if world != "1" else ""


def _tell_torchrun(error: Exception) -> None:
    """torchrun ends the other processes when one fails, and names as the reason what that one leaves in a file."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)
