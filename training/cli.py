"""`python -m training VERB`: train, evaluate, report, synthesise. `descry` forwards to it."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from models.errors import DescryError
from training.events import progress_bar

if TYPE_CHECKING:
    from models.encoder import PersonEncoder
    from training.evaluation import Embedded
    from training.recipe import Recipe
    from training.records import PersonData, Split

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[str, typer.Option(help="auto, or cpu.")]
SplitName = Annotated[str, typer.Option(help="train, val or test.")]


@cli.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped one.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data set, instead of the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/NAME.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.field=value, repeatable.")] = None,
    device: Device = "auto",
    restart: Annotated[bool, typer.Option(help="Begin again instead of resuming.")] = False,
    as_json: Json = False,
) -> None:
    """Train a recipe. A run that was killed goes on where it was when the same command is given again.

    In several processes: torchrun --nproc_per_node N -m training train ...
    """
    from training.engine import Trainer
    from training.recipe import load_recipe

    chosen = load_recipe(recipe, overrides or (), data=data)
    people = _prepared(chosen)
    folder = out or Path("runs") / chosen.name
    trainer = Trainer(chosen, people, folder, device=device, restart=restart)
    if trainer.position.step and trainer.main:
        _say(f"resuming {folder} at step {trainer.position.step}")
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
    _print(result, as_json, f"Best R@1 {result['best']:.2f} on {chosen.data.select_on}; checkpoint: {info.path}")


@cli.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the checkpoint.")],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    format_name: Annotated[str, typer.Option("--format", help="On-disk format of the data set.")] = "cuhk_pedes",
    split: SplitName = "test",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure a checkpoint on a split: R@1, R@5, R@10, mAP, mINP; beside the oracle on synthetic people."""
    encoder, people, embedded = _embed(checkpoint, data, format_name, split, device)
    rows: dict[str, dict[str, Any]] = {"model": embedded.measure().to_dict()} | _oracle(data, split)
    if as_json:
        typer.echo(json.dumps({"data": people.name, "split": split, **rows}))
        return
    table = Table(title=f"{encoder.spec.method} on {people.name} {split}")
    columns = ("R@1", "R@5", "R@10", "mAP", "mINP", "queries", "skipped")
    for column in ("", *columns):
        table.add_column(column, justify="right" if column else "left")
    for name, row in rows.items():
        values = (row.get(column, "") for column in columns)
        table.add_row(name, *(f"{v:.2f}" if isinstance(v, float) else str(v) for v in values))
    Console().print(table)


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
    with _asked_for():
        numbers = [int(seed) for seed in seeds.split(",")]
    from training.ablation import DATA, TABLE, first_people
    from training.ablation import ablate as run_rows
    from training.recipe import load_recipe

    chosen = load_recipe(recipe, overrides or (), data=data)
    folder = out or Path("runs") / f"{chosen.name}-ablation"
    run_rows(
        recipe,
        first_people(_prepared(chosen), people),
        folder,
        seeds=numbers,
        overrides=overrides or (),
        wanted=rows or (),
        root=data,
        split=_split(split),
        device=device,
        say=_say,
    )
    written = [str(folder / TABLE), str(folder / DATA)]
    _print({"written": written}, as_json, (folder / TABLE).read_text(encoding="utf-8"))


@cli.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data set, instead of the recipe's.")] = None,
    split: SplitName = "test",
    out: Annotated[Path | None, typer.Option(help="Where the pictures go; default RUN/report.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write a run's loss curve, CMC curve and a sheet of ranked lists; for DGCMIA also what it mined."""
    from training.engine import BEST
    from training.recipe import load_recipe
    from training.report import plot_cmc, plot_losses, plot_relations, ranked_sheet

    recipe = load_recipe(str(run / "recipe.yaml"), data=data)
    _, people, embedded = _embed(run / BEST, recipe.data.root, recipe.data.format, split, device)
    folder = out or run / "report"
    folder.mkdir(parents=True, exist_ok=True)
    written = [
        plot_losses(run, folder),
        plot_cmc(recipe.name, embedded.measure(), _oracle(recipe.data.root, split).get("oracle"), folder),
        ranked_sheet(embedded, people.splits[_split(split)], folder),
    ]
    if relations := plot_relations(run, folder):
        written.append(relations)
    _print({"written": [str(path) for path in written]}, as_json, "\n".join(f"wrote {path}" for path in written))


@cli.command()
def synthesise(
    out: Annotated[Path, typer.Argument(help="Folder to write; must not hold anything else.")],
    train_identities: Annotated[int, typer.Option("--train")] = 8000,
    val_identities: Annotated[int, typer.Option("--val")] = 200,
    test_identities: Annotated[int, typer.Option("--test")] = 1000,
    images: Annotated[int, typer.Option(help="Images of each identity.")] = 4,
    seed: int = 0,
    workers: Annotated[int | None, typer.Option(help="Processes; default one a core.")] = None,
    as_json: Json = False,
) -> None:
    """Make a data set of synthetic people with descriptions, in CUHK-PEDES format."""
    from training.synthetic import SyntheticConfig, generate

    with _asked_for():
        config = SyntheticConfig(train_identities, val_identities, test_identities, images, seed, workers)
    with progress_bar("synthetic people") as advance:
        folder = generate(config, out, progress=lambda done, total: advance(done, total, ""))
    _print({"folder": str(folder)}, as_json, f"wrote {folder}")


@cli.command("synthesise-gallery")
def synthesise_gallery(
    out: Annotated[Path, typer.Argument(help="Folder to write; must not hold anything else.")],
    identities: int = 600,
    images: Annotated[int, typer.Option(help="Images of each identity.")] = 4,
    seed: int = 1,
    workers: Annotated[int | None, typer.Option(help="Processes; default one a core.")] = None,
    as_json: Json = False,
) -> None:
    """Make a folder of synthetic people with a manifest, as `descry ingest` reads it."""
    from training.synthetic.gallery import GalleryConfig, write_gallery

    with _asked_for():
        config = GalleryConfig(identities=identities, images_per_identity=images, seed=seed, workers=workers)
    with progress_bar("synthetic gallery") as advance:
        folder = write_gallery(config, out, progress=lambda done, total: advance(done, total, ""))
    _print({"folder": str(folder)}, as_json, f"wrote {folder}")


def _prepared(recipe: "Recipe") -> "PersonData":
    """The recipe's data set, with a val split of its own making where it needs one and has none."""
    from training.datasets import read_dataset
    from training.records import carve_validation

    people = read_dataset(recipe.data.format, recipe.data.root)
    if recipe.data.select_on == "val" and not people.splits["val"]:
        people = carve_validation(people, share=recipe.data.carve, seed=recipe.seed)
        _say(f"{people.name} has no val split: {len(people.identities('val'))} train identities were set aside for it")
    return people


@contextmanager
def _asked_for() -> Iterator[None]:
    """Numbers out of range come from the command line: a usage error, not a crash."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _embed(
    checkpoint: Path, data: Path, format_name: str, split: str, device: str
) -> "tuple[PersonEncoder, PersonData, Embedded]":
    import torch

    from models.checkpoint import load_checkpoint
    from training.datasets import read_dataset
    from training.errors import DatasetError
    from training.evaluation import embed_split
    from training.images import ImageSource

    on = "cuda" if device == "auto" and torch.cuda.is_available() else ("cpu" if device == "auto" else device)
    encoder = load_checkpoint(checkpoint, device=on)
    people = read_dataset(format_name, data)
    records = people.splits[_split(split)]
    if not any(record.descriptions for record in records):
        raise DatasetError(f"{people.name} has no described images in its {split} split")
    source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
    with progress_bar(f"encoding {split}") as advance:
        embedded = embed_split(encoder, records, source, progress=lambda done, total: advance(done, total, ""))
    source.close()
    return encoder, people, embedded


def _oracle(data: Path, split: str) -> "dict[str, dict[str, Any]]":
    """The ceiling on synthetic people: ranking by the true attributes that each description mentions."""
    from training.synthetic.oracle import score_set

    if not (data / "synthetic.json").is_file():
        return {}
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


def _print(result: dict[str, object], as_json: bool, words: str) -> None:
    typer.echo(json.dumps(result) if as_json else words)


def _say(words: str) -> None:
    typer.echo(words, err=True)


def main() -> NoReturn:
    """Run a verb; an error that Descry knows is one line on stderr and exit status 1."""
    try:
        cli(standalone_mode=True)
    except DescryError as error:
        _tell_torchrun(error)
        _say(f"error: {_process()}{error.message} [{error.code}]")
        sys.exit(1)
    except KeyboardInterrupt:
        _say("stopped; give the same command again to go on")
        sys.exit(130)
    except Exception as error:
        _tell_torchrun(error)
        raise
    sys.exit(0)


def _process() -> str:
    rank, world = os.environ.get("RANK"), os.environ.get("WORLD_SIZE", "1")
    return f"process {rank} of {world}: " if world != "1" else ""


def _tell_torchrun(error: Exception) -> None:
    """torchrun ends the other processes when one fails, and names as the reason what that one leaves in a file."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)
