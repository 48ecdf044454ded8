"""`python -m benchmarks.capacity`: what galleries of several sizes need, as a table, JSON and a plot.

Each size is measured as `benchmarks.rebuild` does: a real database is filled, the index is built from it in a process
of its own, started from its snapshot in another, and searched. Sizes beyond are calculated from the largest one, and
marked: memory and disk by `app.vectors.memory`, times in proportion to the vectors. Prices are parameters.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import matplotlib
import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from app.database.sessions import Database
from app.vectors.memory import estimate
from app.vectors.snapshot import SnapshotKey
from app.vectors.tier import Tier
from benchmarks.rebuild import Built, apart
from benchmarks.stored import DatabaseName, database_at, filled, place_for

matplotlib.use("Agg")
from matplotlib import pyplot

_GIB, _HOURS = 2**30, 730
_DISK_GB_MONTH = 0.10
"""Price of a gigabyte of disk for a month."""


@dataclass(frozen=True, slots=True)
class Row:
    """One size.

    Attributes:
        measured: False where it was calculated.
        database_bytes: of everything but the pictures.
        memory_bytes, peak_bytes: of the index alone, at rest and while it is built.
        build_s: from the database until it can be searched and is kept.
        p50_ms, p95_ms: the best ten of one query at a time.
        filtered_ms: median, the best ten among 1 % of the images.
        per_second: one query on each core.
        month: price of the processor time, memory and disk of one replica that holds one version.
    """

    images: int
    measured: bool
    recall: float | None
    database_bytes: int
    snapshot_bytes: int
    memory_bytes: int
    peak_bytes: int
    build_s: float
    start_s: float
    p50_ms: float
    p95_ms: float
    filtered_ms: float
    per_second: float
    month: float


@dataclass(frozen=True, slots=True)
class Prices:
    """What is paid for. Memory besides the index: the server with its model, the worker, the database, the system."""

    core_hour: float
    memory_hour: float
    cores: int
    rest_bytes: int

    def month(self, memory_bytes: int, disk_bytes: int) -> float:
        """Price of a month."""
        running = self.cores * self.core_hour + (memory_bytes + self.rest_bytes) / _GIB * self.memory_hour
        return _HOURS * running + _DISK_GB_MONTH * disk_bytes / 1e9


def run(
    sizes: Annotated[
        list[int] | None, typer.Argument(help="Numbers of images; default 10,000, 100,000 and 1,000,000.")
    ] = None,
    beyond: Annotated[list[int] | None, typer.Option(help="Sizes that are calculated; default 10,000,000.")] = None,
    dim: Annotated[int, typer.Option(min=2, help="Dimensions.")] = 512,
    database: Annotated[DatabaseName, typer.Option(help="Where the embeddings are.")] = "sqlite",
    cores: Annotated[int, typer.Option(min=1, help="Cores of one replica.")] = 4,
    core_hour: Annotated[float, typer.Option(help="Price of a core for an hour.")] = 0.04,
    memory_hour: Annotated[float, typer.Option(help="Price of a GiB of memory for an hour.")] = 0.005,
    rest_gib: Annotated[float, typer.Option(help="Memory besides the index, in GiB.")] = 3.0,
    out: Annotated[Path, typer.Option(help="Where the rows go; those of sizes not measured now are kept.")] = Path(
        "runs/capacity.json"
    ),
    data: Annotated[Path | None, typer.Option(help="Where SQLite databases are kept for further runs.")] = None,
    fill_only: Annotated[
        bool, typer.Option("--fill-only", help="With --data: fill the databases, measure later.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Where the plot goes, as PNG.")] = None,
) -> None:
    """Measure each size, calculate those beyond, and write the table."""
    console, prices = Console(), Prices(core_hour, memory_hour, cores, int(rest_gib * _GIB))
    rows = {row.images: row for row in _kept(out)}
    for count in sizes if sizes is not None else [10_000, 100_000, 1_000_000]:
        console.print(f"{count:,} images ...")
        with place_for(data, count, dim) as place, database_at(database, place) as url:
            key = filled(url, place, count, dim)
            if not fill_only:
                rows[count] = _measured(url, key, place, count, prices)
    if fill_only:
        return
    largest = max((row for row in rows.values() if row.measured), key=lambda row: row.images)
    for count in beyond if beyond is not None else [10_000_000]:
        rows[count] = _calculated(count, dim, largest, prices)
    ordered = [rows[count] for count in sorted(rows)]
    console.print(_table(ordered))
    out.parent.mkdir(parents=True, exist_ok=True)
    record = {"dim": dim, "database": database, "prices": asdict(prices), "rows": [asdict(row) for row in ordered]}
    out.write_text(json.dumps(record, indent=1) + "\n")
    if plot is not None:
        _plot(ordered, dim, plot)


def _kept(out: Path) -> list[Row]:
    return [Row(**row) for row in json.loads(out.read_text())["rows"]] if out.is_file() else []


def _measured(url: str, key: SnapshotKey, folder: Path, count: int, prices: Prices) -> Row:
    built = apart("rebuild", url, key, folder, count, prices.cores, exact=False)
    started = apart("start", url, key, folder, count, prices.cores, exact=False)
    return _row(count, _stored_bytes(url), built, started, prices)


def _stored_bytes(url: str) -> int:
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            if database.engine.dialect.name == "sqlite":
                pages = connection.execute(text("PRAGMA page_count")).scalar_one()
                return int(pages) * int(connection.execute(text("PRAGMA page_size")).scalar_one())
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    finally:
        database.close()


def _row(count: int, stored: int, built: Built, started: Built, prices: Prices) -> Row:
    return Row(
        images=count,
        measured=True,
        recall=built.recall,
        database_bytes=stored,
        snapshot_bytes=built.snapshot_bytes,
        memory_bytes=built.rest_bytes,
        peak_bytes=built.peak_bytes,
        build_s=built.seconds,
        start_s=started.seconds,
        p50_ms=started.p50_ms,
        p95_ms=started.p95_ms,
        filtered_ms=started.filtered_ms,
        per_second=started.per_second,
        month=prices.month(built.peak_bytes, stored + built.snapshot_bytes),
    )


def _calculated(count: int, dim: int, known: Row, prices: Prices) -> Row:
    """By the formulas of `app.vectors.memory`, and times in proportion to the vectors; lists read grow by the root."""
    need, more = estimate(count, [dim], Tier(threads=prices.cores)), count / known.images
    database_bytes = int(known.database_bytes * more)
    return Row(
        images=count,
        measured=False,
        recall=None,
        database_bytes=database_bytes,
        snapshot_bytes=need.disk,
        memory_bytes=need.at_rest,
        peak_bytes=need.peak,
        build_s=known.build_s * more,
        start_s=known.start_s * more,
        p50_ms=known.p50_ms * more,
        p95_ms=known.p95_ms * more,
        filtered_ms=known.filtered_ms * more,
        per_second=known.per_second / more,
        month=prices.month(need.peak, database_bytes + need.disk),
    )


def _table(rows: list[Row]) -> Table:
    table = Table(title="Capacity")
    sizes, times = ("database", "snapshot", "memory", "peak"), ("build", "start", "p50", "p95", "1 %")
    for name in ("images", *sizes, *times, "q/s", "month"):
        table.add_column(name, justify="right")
    for row in rows:
        taken = (row.database_bytes, row.snapshot_bytes, row.memory_bytes, row.peak_bytes)
        asked = (row.p50_ms, row.p95_ms, row.filtered_ms)
        table.add_row(
            f"{row.images:,}" + ("" if row.measured else " (calculated)"),
            *(f"{size / _GIB:.3f} GiB" for size in taken),
            *(f"{seconds:.1f} s" for seconds in (row.build_s, row.start_s)),
            *(f"{time:.2f} ms" for time in asked),
            f"{row.per_second:,.0f}",
            f"{row.month:,.0f}",
        )
    return table


def _plot(rows: list[Row], dim: int, path: Path) -> None:
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), constrained_layout=True)
    panels = (
        ("Memory of the index (GiB)", {"at rest": "memory_bytes", "while it is built": "peak_bytes"}, _GIB),
        ("Seconds", {"built from the database": "build_s", "started from a snapshot": "start_s"}, 1),
        ("One query, best ten (ms)", {"median": "p50_ms", "among 1 % of the images": "filtered_ms"}, 1),
    )
    for axis, (title, lines, unit) in zip(axes, panels, strict=True):
        for colour, (label, field) in zip(("#1f5f8b", "#c8632b"), lines.items(), strict=True):
            pairs = [(row.images, getattr(row, field) / unit, row.measured) for row in rows]
            axis.plot([x for x, _, _ in pairs], [y for _, y, _ in pairs], color=colour, linewidth=1, alpha=0.5)
            for known, face in ((True, colour), (False, "white")):
                some = [(x, y) for x, y, measured in pairs if measured == known]
                axis.plot(
                    [x for x, _ in some], [y for _, y in some], "o", color=colour, markerfacecolor=face,
                    label=label if known else None,
                )  # fmt: skip
        axis.set(xscale="log", yscale="log", title=title, xlabel=f"images, {dim} dimensions")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, title="open: calculated", title_fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    typer.run(run)
