"""`composed`: queries of several parts, on synthetic people."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from training.commands.options import Json, handed_over

if TYPE_CHECKING:
    from training.studies.composed import Row


def composed(
    data: Annotated[Path, typer.Option(help="Folder of a synthetic set (`descry synthesise`).")],
    checkpoint: Annotated[Path | None, typer.Option(help="Folder of a checkpoint; default the shipped one.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which queries are drawn.")] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file to write the figures to as well.")] = None,
    as_json: Json = False,
) -> None:
    """Measure queries of several parts on val and test: how parts are fused, denied parts, grouping by identity."""
    found = list(_rows(data, checkpoint, seed))
    if handed_over(found, out, as_json=as_json):
        return
    for kind in dict.fromkeys(row["kind"] for row in found):
        rows = [row for row in found if row["kind"] == kind]
        hidden = ("kind", "split", "how", "queries")
        names = list(dict.fromkeys(name for row in rows for name in row if name not in hidden))
        table = Table("", title=kind)
        for name in (f"{split} {name}" for split in ("val", "test") for name in names):
            table.add_column(name, justify="right", no_wrap=True)
        for how in dict.fromkeys(row["how"] for row in rows):
            sides = [next((r for r in rows if r["how"] == how and r["split"] == s), {}) for s in ("val", "test")]
            table.add_row(how, *(_figure(side.get(name)) for side in sides for name in names))
        Console().print(table)


def _rows(data: Path, checkpoint: Path | None, seed: int) -> "list[Row]":
    import numpy as np
    import torch

    from models.checkpoint import DEMO, load_checkpoint, read_info
    from models.confidence import confidence_curves
    from models.fusion import Fusion
    from training.datasets import read_dataset
    from training.datasets.images import ImageSource
    from training.evaluation import embed_split
    from training.studies import composed as parts
    from training.studies import composed_denials as denials

    folder = checkpoint or DEMO
    encoder = load_checkpoint(folder)
    people = read_dataset("cuhk_pedes", data)
    fusion = Fusion.of(confidence_curves(read_info(folder).calibration), {"text", "image"})

    @torch.inference_mode()
    def encode(texts: list[str]) -> parts.Floats:
        found: parts.Floats = encoder.encode_text(encoder.tokenize(texts).ids).double().numpy()
        return found

    found: list[Row] = []
    for split in ("val", "test"):
        rng = np.random.default_rng(seed)
        records = people.splits["val" if split == "val" else "test"]
        source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
        known = parts.Known.of(embed_split(encoder, records, source), split, data)
        source.close()
        found += parts.measure_fusions(known, fusion, rng)
        found += parts.measure_examples(known, rng)
        found += parts.measure_confidence(known, fusion, rng)
        found += denials.measure_denied_words(known, fusion, encode, rng)
        found += denials.measure_denied_pictures(known, fusion)
        found += parts.measure_groupings(known)
    return found


def _figure(value: Any) -> str:  # noqa: ANN401  of JSON
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if abs(value) < 0.1 else f"{value:.2f}"
