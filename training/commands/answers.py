"""The verbs that say what answers are worth: `reliability` and `robustness`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from models.device import chosen_device
from training.commands.options import Device, Json, SplitName, asked_for, handed_over, say

if TYPE_CHECKING:
    from models.encoder import PersonEncoder
    from training.evaluation import Embedded

Folder = Annotated[Path, typer.Argument(help="Folder of the checkpoint.")]
Data = Annotated[Path, typer.Option(help="Folder of the data set.")]
FormatName = Annotated[str, typer.Option("--format", help="On-disk format of the data set.")]


def reliability(
    checkpoint: Folder,
    data: Data,
    format_name: FormatName = "cuhk_pedes",
    split: SplitName = "test",
    sizes: Annotated[str, typer.Option(help="People in the gallery, comma-separated; all of them come too.")] = (
        "30,100,300,1000"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of people.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for reliability.json and reliability.png.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure confidences and "no good match" of a calibrated checkpoint on people that nothing was learnt from: half
    of those who are asked for are not there. By size of the gallery, and with a filter by camera."""
    with asked_for():
        people = [int(size) for size in sizes.split(",")]
    from models.calibration import read_calibration
    from models.confidence import confidence_curves
    from models.presence import presence_rules
    from training.errors import DatasetError
    from training.studies.reliability import draw, measure

    calibration = read_calibration(checkpoint)
    rules = presence_rules(calibration)
    if not rules:
        raise DatasetError(f"{checkpoint} says nothing about who is there: run `python -m training calibrate` first")
    _, embedded = _embed(checkpoint, data, format_name, split, device)
    found = measure(embedded, rules, confidence_curves(calibration), sizes=people, seed=seed)
    rows = [one.to_dict() for one in found]
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "reliability.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        say(f"wrote {draw(found, out)}")
    if as_json:
        typer.echo(json.dumps(rows))
        return
    _print(
        "What answers are worth; half of the people asked for are not there",
        ("query", "gallery", "people", "queries", "ECE", "ECE if there", "ECE first", "ECE old", "Brier",
         "flagged, absent", "flagged, there"),
        [
            (
                {"text": "words", "image": "picture"}[one.space],
                one.gallery,
                f"{one.people:,}",
                f"{one.queries:,}",
                *(f"{value:.4f}" for value in (one.error, one.error_there, one.error_first)),
                "" if one.error_curve is None else f"{one.error_curve:.4f}",
                f"{one.brier:.4f}",
                f"{one.flagged_absent:.1%}",
                f"{one.flagged_present:.1%}",
            )
            for one in found
        ],
    )  # fmt: skip


def robustness(
    checkpoint: Folder,
    data: Data,
    format_name: FormatName = "cuhk_pedes",
    split: SplitName = "test",
    seed: Annotated[int, typer.Option(min=0, help="Of the changes.")] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file to write the result to as well.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure a checkpoint on descriptions as other people would type them: misspelt, shuffled, in other words, short;
    and on synthetic people with something denied."""
    from models.calibration import read_calibration
    from models.confidence import confidence_curves
    from models.presence import presence_rules
    from training.studies.robustness import measure_denials, measure_rewordings

    encoder, embedded = _embed(checkpoint, data, format_name, split, device)
    calibration = read_calibration(checkpoint)
    rows = measure_rewordings(encoder, embedded, presence_rules(calibration).get("text"), seed=seed)
    synthetic = (data / "attributes.json").is_file()
    denials = measure_denials(encoder, embedded, data, confidence_curves(calibration), seed=seed) if synthetic else []
    result = {"rewordings": rows, "denials": denials}
    if handed_over(result, out, as_json=as_json):
        return
    names = ("R@1 as written", "R@1", "R@10", "mAP", "refused", "flagged")
    _print(
        "The same descriptions, typed differently; in percent",
        ("", "queries", *names, "for example"),
        [(row["how"], f"{row['queries']:,}", *_percents(row, names), row["example"]) for row in rows],
    )
    columns = ("share", "R@1", "R@10", "mAP", "noticed")
    if denials:
        _print(
            "Something denied that the person lacks; share: of the first ten, who has it; in percent",
            ("", "queries", *columns),
            [(row["how"], f"{row['queries']:,}", *_percents(row, columns)) for row in denials],
        )


def _percents(row: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    return ["" if row.get(name) is None else f"{row[name]:.2f}" for name in names]


def _embed(checkpoint: Path, data: Path, format_name: str, split: str, device: str) -> "tuple[PersonEncoder, Embedded]":
    from models.checkpoint import load_checkpoint
    from training.datasets import read_dataset
    from training.datasets.images import ImageSource
    from training.errors import DatasetError
    from training.evaluation import embed_split
    from training.events import progress_bar
    from training.records import SPLITS

    wanted = next((name for name in SPLITS if name == split), None)
    if wanted is None:
        raise DatasetError(f"no split {split!r}; it is one of {', '.join(SPLITS)}")
    on = chosen_device(device)
    encoder = load_checkpoint(checkpoint, device=on)
    people = read_dataset(format_name, data)
    records = people.splits[wanted]
    if not records:
        raise DatasetError(f"{people.name} has no images in its {split} split")
    source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
    try:
        with progress_bar(f"encoding {split}") as advance:
            embedded = embed_split(encoder, records, source, progress=lambda done, total: advance(done, total, ""))
    finally:
        source.close()
    return encoder, embedded


def _print(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
