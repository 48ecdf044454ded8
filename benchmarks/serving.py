"""Latency and throughput of searches over HTTP, and what ten times too many of them do: `python -m benchmarks.serving`.

The server runs on all cores but one, those who ask on the last, and what the server is compared with, the same model
without it, on the same cores as the server. A folder that is named with `--keep` is prepared once and used again.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.gallery.sources import open_source
from app.settings import Settings
from benchmarks.bare import Bare, bare
from benchmarks.figures import Figure, median
from benchmarks.gallery import make_gallery, random_clip
from benchmarks.load import Outcome, Plan, load
from benchmarks.machine import machine
from benchmarks.plots import plot_latency, plot_overload
from benchmarks.served import Served, resident_bytes, served, shares
from benchmarks.stored import DatabaseName, database_at
from benchmarks.table import figure_table
from models.checkpoint import DEMO

CLIENTS = (1, 8, 32)
_ALLOWED_MS, _SHARE, _SPREAD = 3.0, 0.9, 4.0
_TIMES, _OVERLOAD_S, _BUDGET_MS, _RECOVERY_S = 10, 60.0, 5000.0, 5.0
_PROBES_PER_S, _BEFORE_S, _AFTER_S = 20.0, 5.0, 10.0
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Load:
    """What some clients saw.

    Attributes:
        repeated: share of the texts that had been asked just before.
        p50, p95, p99: milliseconds.
        rate: answers a second.
        server, client: cores that each of them used.
    """

    clients: int
    repeated: float
    p50: float
    p95: float
    p99: float
    rate: float
    server: float
    client: float


@dataclass(frozen=True, slots=True)
class Overload:
    """What ten times too many searches did.

    Attributes:
        rate, capacity: arrivals a second, and how many of them 32 clients get answered.
        accepted, refused, advised, others, unanswered: how many; `advised` are refusals that say when to come again.
        goodput: answers a second meanwhile.
        p50, p99, slowest: milliseconds of the accepted, `refused_p99` of the refused.
        normal_ms: slowest answer to a lone client in the seconds before.
        recovery_s: from the last arrival until each answer to a lone client takes at most twice that again.
        series: (second, accepted median ms, accepted a second, refused a second).
    """

    rate: float
    capacity: float
    accepted: int
    refused: int
    advised: int
    others: int
    unanswered: int
    goodput: float
    p50: float
    p99: float
    slowest: float
    refused_p99: float
    normal_ms: float
    recovery_s: float
    series: list[tuple[int, float, int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Measured:
    """One model."""

    name: str
    cores: int
    bare: Bare | None
    floor_ms: float
    memory_mib: float
    loads: list[Load]
    overload: Overload | None


def prepare(folder: Path, backbone: str, identities: int) -> Path:
    """A data folder with a gallery under `compact` (the shipped checkpoint) or a CLIP of random weights.

    It is used again if it is there.
    """
    there = os.environ.get("DESCRY_DATABASE_URL", "")
    data, done = folder / f"{backbone}{'-elsewhere' if there else ''}", folder / f"{backbone}.prepared"
    if there:  # a database that is made for this run
        shutil.rmtree(data, ignore_errors=True)
        done = data / "prepared"
    if not done.exists():
        gallery = folder / f"gallery-{identities}"
        if not gallery.is_dir():
            make_gallery(gallery, identities)
        checkpoint = DEMO if backbone == "compact" else random_clip(backbone, folder / f"checkpoint-{backbone}")
        with opened(Settings(data_dir=data)) as core:
            activate_version(core, register_checkpoint(core, checkpoint, "measured").id)
            for _ in core.ingest().run(open_source(gallery)):
                pass
        done.touch()
    return data


def measure(
    data: Path, *, seconds: float = 5.0, overload: bool = True, latency: bool = True, processes: int = 1
) -> Measured:
    """Measure one model: its data folder is `prepare`'s."""
    server_cores, client_cores = shares()
    alone = bare(data, server_cores) if latency else None
    with served(data, "--processes", str(processes), cores=server_cores) as server:
        load(Plan(server.port, clients=8, seconds=2.0, seed=99), client_cores)
        floor = median(load(Plan(server.port, "/healthz", seconds=1.0), client_cores).taken())
        loads = [
            _loaded(server, client_cores, clients, 0.0, seconds) for clients in CLIENTS if latency or clients == 32
        ]
        if latency:
            loads.append(_loaded(server, client_cores, 32, 0.5, seconds))
        flood = _overloaded(server, client_cores, loads[-2 if latency else -1].rate) if overload else None
        memory = sum(map(resident_bytes, server.pids())) / _MIB
    return Measured(data.name, len(server_cores), alone, floor, memory, loads, flood)


def _loaded(server: Served, cores: set[int], clients: int, repeated: float, seconds: float) -> Load:
    used = server.cpu_s()
    plan = Plan(server.port, clients=clients, seconds=seconds, repeated=repeated, seed=clients + round(100 * repeated))
    found = load(plan, cores)
    used = server.cpu_s() - used
    times = found.taken()
    if len(times) != len(found.answers) or found.unanswered:
        raise RuntimeError(f"{len(found.answers) - len(times) + found.unanswered} searches were not answered")
    p50, p95, p99 = (_quantile(times, share) for share in (0.5, 0.95, 0.99))
    elapsed = found.elapsed_s
    return Load(clients, repeated, p50, p95, p99, len(times) / elapsed, used / elapsed, found.cpu_s / elapsed)


def _overloaded(server: Served, cores: set[int], capacity: float) -> Overload:
    whole = _BEFORE_S + _OVERLOAD_S + _AFTER_S
    lone = Plan(server.port, rate=_PROBES_PER_S, seconds=whole, seed=7)
    with ThreadPoolExecutor(1) as pool:
        probing = pool.submit(load, lone, cores)
        began = time.perf_counter()
        time.sleep(_BEFORE_S)
        offset = time.perf_counter() - began
        found = load(Plan(server.port, clients=0, rate=_TIMES * capacity, seconds=_OVERLOAD_S, seed=8), cores)
        ended = offset + _OVERLOAD_S
        probes = probing.result()
    accepted, refused = found.taken(200), found.taken(429)
    before = [ms for due, ms, _ in probes.answers if due < _BEFORE_S - 1]
    late = [
        due + ms / 1000 - ended
        for due, ms, status in probes.answers
        if due + ms / 1000 > ended and (status != 200 or ms > 2 * max(before))
    ]
    return Overload(
        rate=_TIMES * capacity,
        capacity=capacity,
        accepted=len(accepted),
        refused=len(refused),
        advised=found.advised,
        others=len(found.answers) - len(accepted) - len(refused),
        unanswered=found.unanswered + probes.unanswered,
        goodput=len(accepted) / found.elapsed_s,
        p50=_quantile(accepted, 0.5),
        p99=_quantile(accepted, 0.99),
        slowest=accepted[-1],
        refused_p99=_quantile(refused, 0.99) if refused else 0.0,
        normal_ms=max(before),
        recovery_s=max(late, default=0.0),
        series=_series(found),
    )


def _series(found: Outcome) -> list[tuple[int, float, int, int]]:
    seconds: dict[int, tuple[list[float], int]] = {}
    for due, ms, status in found.answers:
        times, refused = seconds.get(int(due), ([], 0))
        seconds[int(due)] = ([*times, ms], refused) if status == 200 else (times, refused + 1)
    return [
        (second, median(times) if times else 0.0, len(times), refused)
        for second, (times, refused) in sorted(seconds.items())
    ]


def _quantile(ascending: list[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def figures(found: Measured) -> list[Figure]:
    """What was measured, against its limits."""
    name, told = found.name, list[Figure]()
    by_clients = {load.clients: load for load in found.loads if not load.repeated}
    if found.bare is not None:
        told += _latency_figures(found, found.bare, by_clients)
    if (flood := found.overload) is not None:
        share = 100 * flood.advised / max(1, flood.refused)
        told += [
            Figure(f"{name}: overload, answers a second", flood.goodput, "/s", flood.capacity, "32 clients"),
            Figure(f"{name}: overload, accepted p99", flood.p99, "ms", _BUDGET_MS, "budget"),
            Figure(f"{name}: overload, refused p99", flood.refused_p99, "ms", _BUDGET_MS, "budget"),
            Figure(f"{name}: overload, refusals that say when to come again", share, "%", 100.0, "all"),
            Figure(f"{name}: overload, neither answered nor refused", flood.others + flood.unanswered, "", 1, "none"),
            Figure(f"{name}: overload, recovery", flood.recovery_s, "s", _RECOVERY_S, "limit"),
        ]
    return told


def _latency_figures(found: Measured, alone: Bare, loads: dict[int, Load]) -> list[Figure]:
    name, one, eight, many = found.name, loads[1], loads[8], loads[32]
    mixed = next(load for load in found.loads if load.repeated)
    limit, batch = alone.encode_ms + alone.search_ms + _ALLOWED_MS, alone.texts_per_s
    allowed = f"{alone.encode_ms:.2f} encode + {alone.search_ms:.2f} search + {_ALLOWED_MS:g}"
    return [
        Figure(f"{name}: 1 client, p50", one.p50, "ms", limit, allowed),
        Figure(f"{name}: 1 client, p99", one.p99, "ms", one.p50, "its p50"),
        Figure(f"{name}: 8 clients, p50", eight.p50, "ms", one.p50, "1 client"),
        Figure(f"{name}: 8 clients", eight.rate, "/s", batch, "offline batches"),
        Figure(f"{name}: 32 clients, p50", many.p50, "ms", one.p50, "1 client"),
        Figure(f"{name}: 32 clients, p99", many.p99, "ms", _SPREAD * many.p50, "4 x its p50"),
        Figure(f"{name}: 32 clients", many.rate, "/s", _SHARE * batch, "0.9 of offline batches"),
        Figure(f"{name}: 32 clients, half of the texts repeated", mixed.rate, "/s", many.rate, "none repeated"),
        Figure(f"{name}: floor of a client, /healthz", found.floor_ms, "ms", one.p50, "1 client"),
        Figure(f"{name}: cores of the server, 32 clients", many.server, "", found.cores, "that it may use"),
        Figure(f"{name}: cores of those who ask, 32 clients", many.client, "", 1, "that they may use"),
    ]


def measure_serving(folder: Path, backbones: tuple[str, ...] = ("compact",)) -> list[Figure]:
    """For `make bench`: without the minute of overload."""
    found = [measure(prepare(folder, name, 150), overload=False) for name in backbones]
    return [figure for one in found for figure in figures(one)]


def run(
    backbone: Annotated[str, typer.Option(help="compact (the shipped one), or a model of open_clip.")] = "compact",
    identities: Annotated[int, typer.Option(help="People in the gallery, four images each.")] = 150,
    seconds: Annotated[float, typer.Option(help="Of each load.")] = 5.0,
    latency: Annotated[bool, typer.Option(help="Measure latency and throughput.")] = True,
    overload: Annotated[bool, typer.Option(help="A minute of ten times too many searches.")] = True,
    processes: Annotated[int, typer.Option(help="Processes of the server.")] = 1,
    database: Annotated[DatabaseName, typer.Option(help="On PostgreSQL, a private one.")] = "sqlite",
    keep: Annotated[Path | None, typer.Option(help="Folder that is prepared once.")] = None,
    only_prepare: Annotated[bool, typer.Option("--only-prepare", help="Measure nothing.")] = False,
    out: Annotated[Path, typer.Option(help="Where the figures and the plots go.")] = Path("runs/serving"),
) -> None:
    """Measure searches over HTTP."""
    console = Console()
    with _folder(keep) as folder, _database(database, folder):
        data = prepare(folder, backbone, identities)
        if only_prepare:
            return
        found = measure(data, seconds=seconds, overload=overload, latency=latency, processes=processes)
    told = figures(found)
    console.print(figure_table(told))
    out.mkdir(parents=True, exist_ok=True)
    record = {
        "machine": machine(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "measured": asdict(found),
        "figures": [figure.to_dict() for figure in told],
    }
    parts = "-".join(part for part, wanted in (("latency", latency), ("overload", overload)) if wanted)
    path = out / f"{backbone}-{parts}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    if latency:
        plot_latency(record, out / f"serving-{backbone}.png")
    if overload:
        plot_overload(record, out / f"overload-{backbone}.png")
    console.print(f"written to {out}")


@contextmanager
def _database(name: DatabaseName, folder: Path) -> Iterator[None]:
    if name == "sqlite":
        yield
        return
    with database_at(name, folder) as url:
        os.environ["DESCRY_DATABASE_URL"] = url
        try:
            yield
        finally:
            del os.environ["DESCRY_DATABASE_URL"]


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with TemporaryDirectory(prefix="descry-serving-") as made:
        yield Path(made)


if __name__ == "__main__":
    typer.run(run)
