"""The model card that a checkpoint carries."""

from collections.abc import Mapping
from pathlib import Path

from training.evaluation import Metrics
from training.recipe import Recipe, dump_recipe
from training.records import SPLITS, PersonData


def model_card(
    recipe: Recipe,
    data: PersonData,
    metrics: Metrics,
    epoch: int,
    seconds: float,
    pictures: Mapping[str, Metrics] | None = None,
) -> str:
    """Markdown: what this is, what it saw, how good it is and on what, and what it must not be used for.

    Args:
        metrics: text to image.
        pictures: image to image, by what was compared.
    """
    told = _without_places(recipe)
    return f"""# {recipe.name}

A text-to-person encoder: it gives person images and written descriptions unit-norm vectors whose inner product ranks
the images for a description.

* Method: {recipe.method}, backbone {recipe.encoder.backbone}, input {recipe.encoder.height} x {recipe.encoder.width}
* Chosen at epoch {epoch + 1} of {recipe.epochs} on the {recipe.data.select_on} split, {seconds / 60:.1f}
  minutes into training

{_sizes(data)}{_notes(data)}## Quality, text to image, on {recipe.data.select_on} ({_queries(metrics)})

| R@1 | R@5 | R@10 | mAP | mINP |
|---|---|---|---|---|
| {metrics.r1:.2f} | {metrics.r5:.2f} | {metrics.r10:.2f} | {metrics.mean_ap:.2f} | {metrics.mean_inp:.2f} |

{_pictures(recipe, pictures or {})}These numbers hold for data like the above and say nothing about other cameras,
places or people.

## Use

It proposes candidates for a person to look at. It does not identify anyone: a high score means that picture and words
agree, not that this is the person who is meant.

## Recipe

```yaml
{dump_recipe(told).rstrip()}
```
"""


def _without_places(recipe: Recipe) -> Recipe:
    """The card travels; where the data lay on one machine does not belong in it."""
    part = recipe.data.model_copy(update={"root": Path(recipe.data.root.name)})
    if part.pictures:
        beside = part.pictures.model_copy(update={"root": Path(part.pictures.root.name)})
        part = part.model_copy(update={"pictures": beside})
    return recipe.model_copy(update={"data": part})


def _sizes(data: PersonData) -> str:
    rows = "\n".join(
        f"| {split} | {len(data.identities(split)):,} | {len(data.splits[split]):,} "
        f"| {sum(len(record.descriptions) for record in data.splits[split]):,} |"
        for split in SPLITS
    )
    table = f"## Data: {data.name}\n\n| split | identities | images | descriptions |\n|---|---|---|---|\n{rows}\n\n"
    return table + (_sizes(data.pictures) if data.pictures else "")


def _pictures(recipe: Recipe, rows: Mapping[str, Metrics]) -> str:
    return "".join(
        f"## Quality, {name.replace('_', ' ')}, on {recipe.data.select_on} ({_queries(found)})\n\n"
        f"| R@1 | mAP |\n|---|---|\n| {found.r1:.2f} | {found.mean_ap:.2f} |\n\n"
        for name, found in rows.items()
    )


def _notes(data: PersonData) -> str:
    return "".join(f"* {note}\n" for note in data.notes) + ("\n" if data.notes else "")


def _queries(metrics: Metrics) -> str:
    skipped = f", {metrics.skipped:,} more without a relevant image skipped" if metrics.skipped else ""
    return f"{metrics.queries:,} queries{skipped}"
