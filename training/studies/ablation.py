"""The rows of a method's ablation table, each trained with several seeds, in one resumable command.

Every run has a folder of its own below the table's, where `Trainer` resumes it; a finished one leaves `result.json` and
is not trained again. After each run the table is written anew, so that a look at it never waits for the last one.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev

from models.checkpoint import load_checkpoint
from models.encoder import PersonEncoder
from training.datasets.images import ImageSource
from training.engine.trainer import BEST, Trainer
from training.errors import NothingRelevantError, TrainingError
from training.evaluation import Embedded, embed_split, measure_pictures
from training.methods import METHODS
from training.methods.base import Row
from training.recipe import Recipe, dump_recipe, load_recipe
from training.records import PersonData, Split

RESULT, TABLE, DATA = "result.json", "ablation.md", "ablation.json"
METRICS = ("R@1", "R@5", "R@10", "mAP", "mINP")
_PICTURES = {
    "image_to_image": ("I2I R@1", "I2I mAP"),
    "image_to_image_in_text_space": ("I2I R@1, text space", "I2I mAP, text space"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run gave.

    Attributes:
        row, seed: which run.
        recipe: the resolved recipe, as YAML: a result of another recipe is not taken.
        pairs: image-text pairs that optimiser steps processed.
        cpu: seconds of processor time, all threads; of the last part of the run if it was resumed (`resumed`).
        metrics: R@1 and so on, in percent, of the best checkpoint on the measured split.
        chosen_on: the same on the split that chose the checkpoint, R@1 only.
        pictures: image to image, by the names of the table's columns; for methods that train on pictures too.
    """

    row: str
    seed: int
    recipe: str
    pairs: int
    cpu: float
    resumed: bool
    metrics: dict[str, float]
    chosen_on: float
    pictures: dict[str, float] = field(default_factory=dict)


def first_people(data: PersonData, count: int | None) -> PersonData:
    """The data set with the `count` lowest train identities only; val and test stay. None takes all.

    Raises:
        TrainingError: there are not that many.
    """
    if count is None:
        return data
    identities = sorted(data.identities("train"))
    if not 1 <= count <= len(identities):
        raise TrainingError(f"{data.name} has {len(identities)} train identities, not {count}")
    kept = set(identities[:count])
    train = tuple(record for record in data.splits["train"] if record.identity in kept)
    return replace(data, name=f"{data.name}, {count} train identities", splits={**data.splits, "train": train})


def rows_of(recipe: Recipe, wanted: Sequence[str] = ()) -> tuple[Row, ...]:
    """The rows of the recipe's method, or those of them that are `wanted`; the first one is compared with.

    Raises:
        TrainingError: the method has none, or not this one.
    """
    rows = METHODS[recipe.method].ablation(recipe)
    if not rows:
        raise TrainingError(f"the method {recipe.method} names no rows for an ablation")
    unknown = set(wanted) - {row.name for row in rows}
    if unknown:
        known = "; ".join(row.name for row in rows)
        raise TrainingError(f"no row {', '.join(sorted(unknown))!r}; the rows of {recipe.method} are: {known}")
    return tuple(row for row in rows if not wanted or row.name in wanted)


def ablate(
    name: str,
    data: PersonData,
    folder: Path,
    *,
    seeds: Sequence[int],
    overrides: Sequence[str] = (),
    wanted: Sequence[str] = (),
    root: Path | None = None,
    split: Split = "test",
    device: str = "auto",
    say: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Train what is missing of rows x seeds, seed by seed, and write `ablation.md` and `ablation.json`.

    Args:
        name: recipe file or shipped recipe, as for `load_recipe`.
        data: what to train and measure on, see `first_people`.
        overrides: for all rows; a row's own come after them.
        root: replaces data.root of the recipe.
        split: measured; the recipe's `data.select_on` chooses each run's checkpoint.
    """
    rows = rows_of(load_recipe(name, overrides, data=root), wanted)
    outcomes: list[Outcome] = []
    for seed in seeds:
        for row in rows:
            chosen = load_recipe(name, [*overrides, *row.overrides, f"seed={seed}"], data=root)
            run = folder / f"{_slug(row.name)}-seed{seed}"
            outcome = _finished(run, chosen) or _train(chosen, row, data, run, split, device)
            outcomes.append(outcome)
            say(f"{row.name}, seed {seed}: R@1 {outcome.metrics['R@1']:.2f} on {split}")
            _write(folder, data, rows, outcomes, split)
    return outcomes


def _finished(run: Path, recipe: Recipe) -> Outcome | None:
    path = run / RESULT
    if not path.is_file():
        return None
    outcome = Outcome(**json.loads(path.read_text(encoding="utf-8")))
    if outcome.recipe != dump_recipe(recipe):
        raise TrainingError(f"{path} is of another recipe; give the table another folder with --out")
    return outcome


def _train(recipe: Recipe, row: Row, data: PersonData, run: Path, split: Split, device: str) -> Outcome:
    began = time.process_time()
    trainer = Trainer(recipe, data, run, device=device)
    resumed = trainer.position.step > 0
    trainer.run()
    cpu = time.process_time() - began
    encoder = load_checkpoint(run / BEST, device=str(trainer.accelerator.device))
    embedded = _embed(encoder, data, split)
    found = embedded.measure().to_dict()
    outcome = Outcome(
        row=row.name,
        seed=recipe.seed,
        recipe=dump_recipe(recipe),
        pairs=trainer.position.step * recipe.batch,
        cpu=round(cpu, 1),
        resumed=resumed,
        metrics={metric: round(float(str(found[metric])), 3) for metric in METRICS},
        chosen_on=round(trainer.position.best, 3),
        pictures=_of_pictures(_embed(encoder, data.pictures, split) if data.pictures else embedded)
        if METHODS[recipe.method].takes_pictures
        else {},
    )
    partial = run / f"{RESULT}.partial"
    partial.write_text(json.dumps(asdict(outcome), indent=1) + "\n", encoding="utf-8")
    partial.replace(run / RESULT)
    return outcome


def _embed(encoder: PersonEncoder, data: PersonData, split: Split) -> Embedded:
    source = ImageSource([record.path for record in data.splits[split]], encoder.spec.preprocessing)
    try:
        return embed_split(encoder, data.splits[split], source)
    finally:
        source.close()


def _of_pictures(embedded: Embedded) -> dict[str, float]:
    """R@1 and mAP of image to image, in the image space and, where that is another, in the text space."""
    try:
        measured = measure_pictures(embedded)
    except NothingRelevantError:
        return {}
    return {
        column: round(float(str(found.to_dict()[column.split(",")[0].removeprefix("I2I ")])), 3)
        for name, found in measured.items()
        for column in _PICTURES[name]
    }


def _write(folder: Path, data: PersonData, rows: Sequence[Row], outcomes: Sequence[Outcome], split: Split) -> None:
    content = {
        "data": data.name,
        "split": split,
        "rows": [asdict(row) for row in rows],
        "runs": [asdict(outcome) for outcome in outcomes],
    }
    (folder / DATA).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / TABLE).write_text(table(data, rows, outcomes, split), encoding="utf-8")


def table(data: PersonData, rows: Sequence[Row], outcomes: Sequence[Outcome], split: str) -> str:
    """Markdown: mean and standard deviation over the seeds, and the difference to the first row, seed by seed."""
    by_row = {row.name: {o.seed: o for o in outcomes if o.row == row.name} for row in rows}
    base = by_row[rows[0].name]
    people, images = len(data.identities("train")), len(data.splits["train"])
    known = {column for outcome in outcomes for column in outcome.pictures}
    columns = [column for names in _PICTURES.values() for column in names if column in known]
    head = ["row", "seeds", "R@1", "R@1, difference", "mAP", "mINP", *columns, "R@1 that chose"]
    head += ["pairs processed", "processor time"]
    lines = [
        f"{data.name}: {images:,} train images of {people:,} people; measured on {split}, in percent.",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
    ]
    for row in rows:
        runs = by_row[row.name]
        if not runs:
            continue
        shared = [seed for seed in runs if seed in base]
        gain = [runs[seed].metrics["R@1"] - base[seed].metrics["R@1"] for seed in shared]
        cells = [
            row.name if row.equal_budget else f"{row.name} *",
            ", ".join(map(str, runs)),
            spread([o.metrics["R@1"] for o in runs.values()]),
            "" if row is rows[0] else spread(gain, sign=True),
            *(spread([o.metrics[metric] for o in runs.values()]) for metric in ("mAP", "mINP")),
            *(spread([o.pictures[c] for o in runs.values() if c in o.pictures]) for c in columns),
            spread([o.chosen_on for o in runs.values()]),
            f"{mean(o.pairs for o in runs.values()):,.0f}",
            _ratio(runs, base),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if any(not row.equal_budget for row in rows):
        lines += ["", "\\* processes another number of image-text pairs than the first row."]
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float], *, sign: bool = False) -> str:
    """ "mean +- standard deviation" (sample, n - 1) with two digits; the value alone if there is one."""
    if not values:
        return ""
    middle = f"{mean(values):+.2f}" if sign else f"{mean(values):.2f}"
    return f"{middle} ± {stdev(values):.2f}" if len(values) > 1 else middle


def _ratio(runs: dict[int, Outcome], base: dict[int, Outcome]) -> str:
    whole = [(runs[seed].cpu, base[seed].cpu) for seed in runs if seed in base]
    if not whole or any(runs[seed].resumed or base[seed].resumed for seed in runs if seed in base):
        return "resumed"
    spent, least = (math.fsum(column) for column in zip(*whole, strict=True))
    return f"{spent / len(whole):,.0f} s, x {spent / max(least, 1e-9):.2f}"


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
