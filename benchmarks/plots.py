"""Pictures of what was measured of a server."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

Record = Mapping[str, Any]


def plot_latency(record: Record, path: Path) -> None:
    """Latency by number of clients, and throughput beside what the model does in large batches."""
    found = record["measured"]
    loads = found["loads"]
    names = [f"{load['clients']}" + (", half repeated" if load["repeated"] else "") for load in loads]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for at, mark in enumerate(("p50", "p95", "p99")):
        places = [place + (at - 1) * 0.25 for place in range(len(loads))]
        bars = left.bar(places, [load[mark] for load in loads], width=0.24, label=mark)
        left.bar_label(bars, fmt="%.3g", fontsize=7)
    left.set_xticks(range(len(loads)), names)
    left.set(xlabel="clients", ylabel="milliseconds", yscale="log", title=f"{found['name']}: latency over HTTP")
    left.legend(frameon=False)
    bars = right.bar(range(len(loads)), [load["rate"] for load in loads], width=0.6, color="C0")
    right.bar_label(bars, fmt="%.0f", fontsize=8)
    batch = found["bare"]["texts_per_s"]
    right.axhline(batch, color="C3", linestyle="--", label=f"offline, large batches: {batch:,.0f}/s")
    right.set_xticks(range(len(loads)), names)
    right.set(xlabel="clients", ylabel="searches a second", title=f"throughput, server on {found['cores']} cores")
    right.set_ylim(0, 1.2 * max(batch, *(load["rate"] for load in loads)))
    right.legend(frameon=False, loc="upper left")
    _save(figure, record, (left, right), path)


def plot_overload(record: Record, path: Path) -> None:
    """What was accepted and refused in each second, and how long the accepted took."""
    found = record["measured"]
    flood = found["overload"]
    seconds, times, accepted, refused = zip(*flood["series"], strict=True)
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    above.plot(seconds, accepted, label="answered")
    above.plot(seconds, refused, label="refused, 429")
    above.axhline(flood["capacity"], color="0.5", linestyle="--", label="answered to 32 clients")
    title = f"{found['name']}: {flood['rate']:,.0f} searches a second arrive, {flood['capacity']:,.0f} can be answered"
    above.set(ylabel="a second", yscale="log", title=title)
    below.plot(seconds, times, label="answered: median of each second")
    below.axhline(flood["p99"], color="C3", linestyle="--", label=f"p99 of all: {flood['p99']:,.0f} ms")
    below.set(xlabel="second", ylabel="milliseconds", ylim=(0, None))
    for axes in (above, below):
        axes.legend(frameon=False)
    _save(figure, record, (above, below), path)


def plot_memory(record: Record, path: Path) -> None:
    """Memory of each process over time, with the line through the second half."""
    processes = record["processes"]
    figure, panels = plt.subplots(len(processes), 1, figsize=(9, 3 * len(processes)), sharex=True, layout="constrained")
    panels = list(panels) if len(processes) > 1 else [panels]
    for axes, (name, told) in zip(panels, processes.items(), strict=True):
        minutes = [second / 60 for second, _ in told["samples"]]
        axes.plot(minutes, [value for _, value in told["samples"]], linewidth=0.9)
        half = [minute for minute in minutes if minute >= minutes[-1] / 2]
        line = [told["level"] + told["slope"] * (minute - told["middle_s"] / 60) / 60 for minute in half]
        slope = f"{told['slope']:+.1f} ± {told['error']:.1f} MiB an hour"
        axes.plot(half, line, color="C3", linestyle="--", label=f"second half: {slope}")
        axes.set(ylabel="MiB", title=f"memory of the {name}")
        axes.legend(frameon=False)
    panels[-1].set(xlabel="minute")
    _save(figure, record, panels, path)


def plot_mixed(record: Record, path: Path) -> None:
    """A run of `benchmarks.mixed`: attempts and latency in each piece of time, memory of each life, and the kills."""
    figure, (tried, spent, memory) = plt.subplots(3, 1, figsize=(10, 9), sharex=True, layout="constrained")
    series = record["series"]
    minutes = [piece["second"] / 60 for piece in series]
    for kind, colour in (("answered", "C0"), ("refused", "C1"), ("broken", "C3")):
        label = {"refused": "refused, 429 or 503", "broken": "no answer: refused or cut connections"}.get(kind, kind)
        tried.plot(minutes, [piece.get(kind, 0) for piece in series], color=colour, label=label, linewidth=0.9)
    tried.set(ylabel="attempts in 10 s", title="two replicas and two workers; lines: SIGKILL of a replica, of a worker")
    for mark in ("p50", "p99"):
        spent.plot(minutes, [piece["search_ms"].get(mark) for piece in series], label=f"search, {mark}", linewidth=0.9)
    spent.set(ylabel="ms, with second attempts", yscale="log")
    for at, (name, told) in enumerate(record["memory"].items()):
        for number, life in enumerate(told["samples"]):
            line = [second / 60 for second, _ in life], [value for _, value in life]
            memory.plot(*line, color=f"C{at}", linewidth=0.9, label=None if number else name)
    memory.set(ylabel="MiB", xlabel="minute", ylim=(0, None))
    for axes in (tried, spent, memory):
        for strike in record["strikes"]:
            worker = strike["what"] == "worker"
            axes.axvline(strike["second"] / 60, color="0.8" if worker else "0.55", linewidth=0.6, zorder=0)
        axes.legend(frameon=False, loc="lower right" if axes is memory else "upper right", fontsize=8)
    _save(figure, record, (tried, spent, memory), path)


def _save(figure: Any, record: Record, panels: Sequence[Any], path: Path) -> None:  # noqa: ANN401  matplotlib has no types
    told = record["machine"]
    for axes in panels:
        axes.grid(alpha=0.25)
    figure.text(
        0.995,
        0.005,
        f"{told['processor']}, {told['cores']} cores, GPU: {told['gpu']}",
        ha="right",
        fontsize=7,
        color="0.4",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
