"""`python -m benchmarks [NAME ...]`: run the benchmarks, print a table, and write the figures as JSON."""

import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.activation import measure_activation
from benchmarks.archive import measure_archive
from benchmarks.audit import measure_audit
from benchmarks.embedding import measure_embedding
from benchmarks.engines import measure_engines
from benchmarks.evaluation import measure_evaluation
from benchmarks.figures import Figure
from benchmarks.filters import measure_filters
from benchmarks.gallery import make_gallery
from benchmarks.ingest import measure_ingest
from benchmarks.machine import machine
from benchmarks.query import measure_queries
from benchmarks.retraining import measure_retraining
from benchmarks.serving import measure_serving
from benchmarks.start import measure_start
from benchmarks.table import figure_table
from benchmarks.training import measure_full_size, measure_training
from benchmarks.visibility import measure_visibility

Measure = Callable[[Path, Path], list[Figure]]
MEASURES: dict[str, Measure] = {
    "ingest": measure_ingest,
    "query": measure_queries,
    "visibility": measure_visibility,
    "activation": measure_activation,
}
"""On a gallery: called with its folder and a data folder."""
OWN: dict[str, Callable[[Path], list[Figure]]] = {
    "training": measure_training,
    "embedding": measure_embedding,
    "filters": measure_filters,
    "engines": measure_engines,
    "audit": measure_audit,
    "serving": measure_serving,
    "start": measure_start,
}
"""With data of their own: called with a folder."""
ALONE = ("evaluation", *OWN, "archive", "fullsize", "retraining")
"""Bring their own data."""
LONG = ("archive", "fullsize", "retraining", "engines")
"""Take minutes or what is not always installed: only when they are named."""


def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(help=f"Of: {', '.join((*MEASURES, *ALONE))}; default all but {' and '.join(LONG)}."),
    ] = None,
    identities: Annotated[int, typer.Option(help="People in the gallery, four images each.")] = 600,
    images: Annotated[int, typer.Option(help="Images of the archive.")] = 5000,
    backbone: Annotated[
        str | None, typer.Option(help="An open_clip model with random weights, for `archive` and `ingest`.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("runs/benchmarks.json"),
    method: Annotated[str, typer.Option(help="fullsize: which training method.")] = "clip_baseline",
    steps: Annotated[int, typer.Option(min=2, help="fullsize: steps on the fixed batch.")] = 6,
    batch: Annotated[int, typer.Option(min=2, help="fullsize: pairs in it.")] = 64,
    training: Annotated[bool, typer.Option("--training", help="activation: also while a retraining trains.")] = False,
) -> None:
    """Measure a synthetic gallery under the shipped checkpoint, evaluation at the sizes of published sets, training."""
    known = (*MEASURES, *ALONE)
    unknown = set(names or ()) - set(known)
    if unknown:
        raise typer.BadParameter(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    names = names or [name for name in known if name not in LONG]
    console, record = Console(), {"machine": machine(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    with tempfile.TemporaryDirectory(prefix="descry-bench-") as folder:
        gallery = Path(folder) / "gallery"
        if set(names) & set(MEASURES):
            make_gallery(gallery, identities)
        measures: dict[str, Measure] = {
            **MEASURES,
            "activation": partial(measure_activation, training=training),
            "ingest": partial(measure_ingest, backbone=backbone),
        }
        figures: list[Figure] = []
        for name in names:
            console.print(f"measuring {name} ...")
            own = Path(folder) / f"data-{name}"
            if name == "evaluation":
                figures += measure_evaluation()
            elif name in OWN:
                figures += OWN[name](own)
            elif name == "archive":
                figures += measure_archive(own, images, backbone)
            elif name == "retraining":
                figures += measure_retraining(own, identities)
            elif name == "fullsize":
                figures += measure_full_size(own, method, steps, batch)
            else:
                figures += measures[name](gallery, own)
    console.print(figure_table(figures))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record | {"figures": [figure.to_dict() for figure in figures]}, indent=1) + "\n")
    console.print(f"written to {out}")


typer.run(run)
