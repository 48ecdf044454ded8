"""`python -m benchmarks.rebuild`: the view of a large gallery built from its database, and started from a snapshot.

Each of the two in a process of its own that does nothing else: seconds, most memory at once, and whether it answers as
brute force over the rows of the database does.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from app.database.sessions import Database
from app.vectors.contract import Hits
from app.vectors.engines import FaissEngine
from app.vectors.memory import estimate
from app.vectors.repository import LogRepository
from app.vectors.snapshot import SnapshotKey
from app.vectors.tier import Tier
from app.vectors.view import VectorView
from benchmarks.clustered import CLUSTER, centres, off
from benchmarks.figures import Figure, median
from benchmarks.memory import forget_peak, peak, resident
from benchmarks.stored import VERSION, DatabaseName, database_at, filled, place_for
from benchmarks.table import figure_table

_QUERIES, _BEST = 50, 10
_REBUILD_S, _START_S, _MEMORY_RATIO, _RECALL = 60.0, 10.0, 1.5, 0.99
cli = typer.Typer(add_completion=False, help=__doc__)


@dataclass(frozen=True, slots=True)
class Built:
    """What a process measured that built a view, or opened it.

    Attributes:
        seconds: until it could be searched, and was saved.
        peak_bytes: most memory at once, less what the process had before.
        rest_bytes: what it has afterwards, less the same.
        recall: of the exact best ten, in [0, 1].
        scores_off: largest difference from the exact score of what was found.
        p50_ms, p95_ms: of the best ten of one query at a time.
        filtered_ms: median of the best ten among 1 % of the images.
        per_second: queries for the best ten, one on each core.
        snapshot_bytes: on disk.
    """

    seconds: float
    before_bytes: int
    peak_bytes: int
    rest_bytes: int
    count: int
    recall: float
    scores_off: float
    p50_ms: float
    p95_ms: float
    filtered_ms: float
    per_second: float
    snapshot_bytes: int


@cli.command()
def run(
    vectors: Annotated[int, typer.Option(min=1_000, help="How many.")] = 1_000_000,
    dim: Annotated[int, typer.Option(min=2, help="Dimensions.")] = 512,
    database: Annotated[DatabaseName, typer.Option(help="Where they come from.")] = "sqlite",
    threads: Annotated[int, typer.Option(min=1, help="Cores.")] = 4,
    exact: Annotated[bool, typer.Option("--exact", help="Every search exact, whatever the size.")] = False,
    data: Annotated[Path | None, typer.Option(help="Where SQLite databases are kept for further runs.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the figures go, as JSON.")] = None,
) -> None:
    """Fill a database, build the view from it, and start from the snapshot that this leaves."""
    console = Console()
    with place_for(data, vectors, dim) as folder, database_at(database, folder) as url:
        console.print(f"{vectors:,} vectors into {database} ...")
        key = filled(url, folder, vectors, dim)
        found = {way: apart(way, url, key, folder, vectors, threads, exact) for way in ("rebuild", "start")}
    figures = [figure for way, built in found.items() for figure in _figures(way, built, vectors, dim, database)]
    figures += _estimated(found["rebuild"], vectors, dim, Tier(None, threads) if exact else Tier(threads=threads))
    console.print(figure_table(figures))
    if out is not None:
        record = {"vectors": vectors, "dim": dim, "database": database, "figures": [f.to_dict() for f in figures]}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1) + "\n")


def apart(way: str, url: str, key: SnapshotKey, folder: Path, count: int, threads: int, exact: bool) -> Built:
    words = [way, url, json.dumps(asdict(key)), str(folder), str(count), str(threads), *(["--exact"] if exact else [])]
    done = subprocess.run(  # in a process of its own, which has nothing of what filled the database
        [sys.executable, "-m", "benchmarks.rebuild", "measure", *words], check=True, stdout=subprocess.PIPE, text=True
    )
    return Built(**json.loads(done.stdout))


@cli.command(hidden=True)
def measure(way: str, url: str, key: str, folder: Path, count: int, threads: int, exact: bool = False) -> None:
    """One of the two, in this process; for `run`."""
    found = SnapshotKey(**json.loads(key))
    database = Database(url)
    tier = Tier(None, threads) if exact else Tier(threads=threads)
    view = VectorView(database, VERSION, found, FaissEngine(folder / "index", tier).storage(VERSION, found))
    view.stored()
    import_module("app.vectors.faiss_engine")  # connections and libraries are there before
    before = resident()
    forget_peak()
    began = time.perf_counter()
    if way == "rebuild":
        view.rebuild()
    else:
        view.open()
    seconds = time.perf_counter() - began
    most, rest = peak() - before, resident() - before
    if view.count != count:
        raise RuntimeError(f"the view holds {view.count} vectors, the database {count}")
    queries = off(centres(max(1, count // CLUSTER), found.dim), _QUERIES)
    right = _against_brute_force(database, view, queries)
    size = sum(path.stat().st_size for path in (folder / "index").glob("*.index"))
    built = Built(seconds, before, most, rest, view.count, *right, *_times(view, queries, threads), size)
    sys.stdout.write(json.dumps(asdict(built)))


def _times(view: VectorView, queries: NDArray[np.float32], threads: int) -> tuple[float, float, float, float]:
    """The figures of `Built` from `p50_ms` to `per_second`."""
    share = np.sort(np.random.default_rng(1).choice(np.arange(1, view.count + 1), view.count // 100, replace=False))
    every = np.concatenate([queries] * 4)
    took, filtered = [], []
    for query in [*queries[:5], *every]:
        began = time.perf_counter()
        view.search(query, _BEST)
        took.append(1000 * (time.perf_counter() - began))
    for query in queries[:20]:
        began = time.perf_counter()
        view.among(query, share, _BEST)
        filtered.append(1000 * (time.perf_counter() - began))
    took = took[5:]
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(lambda query: view.search(query, _BEST), every))
        rate = len(every) / (time.perf_counter() - began)
    return median(took), float(np.percentile(took, 95)), median(filtered), rate


def _against_brute_force(database: Database, view: VectorView, queries: NDArray[np.float32]) -> tuple[float, float]:
    """Recall of the best ten over the rows of the database, and the largest error of a score."""
    best: list[list[tuple[float, int]]] = [[] for _ in queries]
    hits = [view.search(query, _BEST) for query in queries]
    exact: dict[tuple[int, int], float] = {}
    with database.read() as session:
        for piece in LogRepository(session).changes(VERSION, view.key.space, view.key.dim, after=0):
            scores = queries @ piece.vectors.astype(np.float32).T
            for at, row in enumerate(scores):
                top = np.argsort(-row)[:_BEST]
                best[at] = sorted([*best[at], *zip(-row[top], piece.ids[top], strict=True)])[:_BEST]
                mine = np.flatnonzero(np.isin(piece.ids, hits[at].ids))
                exact.update({(at, int(piece.ids[one])): float(row[one]) for one in mine})
    truth = [{int(number) for _, number in some} for some in best]
    recall = sum(len(set(hit.ids.tolist()) & some) for hit, some in zip(hits, truth, strict=True))
    return recall / sum(map(len, truth)), max(_off(at, hit, exact) for at, hit in enumerate(hits))


def _off(at: int, hit: Hits, exact: dict[tuple[int, int], float]) -> float:
    pairs = zip(hit.ids.tolist(), hit.scores.tolist(), strict=True)
    return max((abs(score - exact[at, number]) for number, score in pairs), default=0.0)


def _figures(way: str, built: Built, count: int, dim: int, database: DatabaseName) -> list[Figure]:
    what = f"rebuild from {database}" if way == "rebuild" else "start from a snapshot"
    half, mib = 2.0 * count * dim, 2.0**20
    limit = _REBUILD_S if way == "rebuild" else _START_S
    return [
        Figure(f"{what}: until it answers and is kept", built.seconds, "s", limit, "promise"),
        Figure(f"{what}: process before", built.before_bytes / mib, "MiB", half / mib, "the vectors in fp16"),
        Figure(f"{what}: most memory, beyond that", built.peak_bytes / half, "x fp16", _MEMORY_RATIO, "promise"),
        Figure(f"{what}: most memory, beyond that", built.peak_bytes / half / 2, "x fp32", _MEMORY_RATIO, "promise"),
        Figure(f"{what}: memory afterwards", built.rest_bytes / half, "x fp16", _MEMORY_RATIO, "promise"),
        Figure(f"{what}: recall@10 of brute force", built.recall, "", _RECALL, "promise"),
        Figure(f"{what}: scores, largest difference", built.scores_off, "", 1e-3, "promise"),
        Figure(f"{what}: one query, median", built.p50_ms, "ms", 2.0, "promise at a million"),
        Figure(f"{what}: best ten among 1 %", built.filtered_ms, "ms", 10.0, "promise at a million"),
    ]


def _estimated(built: Built, count: int, dim: int, tier: Tier) -> list[Figure]:
    need, mib = estimate(count, [dim], tier), 2.0**20
    return [
        Figure("estimate: memory at rest", need.at_rest / mib, "MiB", built.rest_bytes / mib, "measured"),
        Figure("estimate: most memory", need.peak / mib, "MiB", built.peak_bytes / mib, "measured"),
        Figure("estimate: snapshot", need.disk / mib, "MiB", built.snapshot_bytes / mib, "measured"),
    ]


if __name__ == "__main__":
    cli()
