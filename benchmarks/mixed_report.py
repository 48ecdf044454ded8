"""What a run of `benchmarks.mixed` showed, as a record, in words and in numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.fleet import Attempt
from benchmarks.lives import Sample, told
from benchmarks.machine import machine
from benchmarks.replicas import Plan, Report

_PIECE_S = 10.0


@dataclass(frozen=True, slots=True)
class Strike:
    """One kill: when (seconds), who, and what of it: server (one process), supervisor (and servers), worker; or the
    name of the signal that asked for an end."""

    second: float
    name: str
    what: str


@dataclass
class MixedReport(Report):
    """What a run showed."""

    strikes: list[Strike] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    began: float = 0.0
    looks: int = 0
    walks: int = 0
    """Searches whose next page was asked for, and whose first candidate was judged, right away."""
    rollbacks: int = 0
    images: int = 0
    """In the gallery at the end."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a fleet is made of."""

    replicas: int = 2
    processes: int = 1
    database: Literal["postgresql", "sqlite"] = "postgresql"


def hung(attempts: Sequence[Attempt]) -> list[str]:
    """Requests that got neither an answer nor the end of their connection."""
    found = Counter(f"{attempt.what}: {attempt.outcome}" for attempt in attempts if "Timeout" in attempt.outcome)
    return [f"no answer and no end of the connection: {what}, {count} times" for what, count in found.items()]


def record(report: MixedReport, plan: Plan) -> dict[str, Any]:
    """All that is kept of a run."""
    answered = [attempt for attempt in report.attempts if attempt.outcome.isdecimal()]
    routes = sorted({attempt.what for attempt in answered})
    outcomes = Counter(f"{attempt.what}: {attempt.outcome}" for attempt in report.attempts)
    return {
        "machine": machine(),
        "plan": asdict(plan),
        "faults": report.faults,
        "outcomes": dict(Counter(attempt.outcome for attempt in report.attempts).most_common()),
        "outcomes_by_route": dict(sorted(outcomes.items())),
        "latency_ms": {what: _spread([a.ms for a in answered if a.what == what]) for what in routes},
        "ready_again_s": _spread(report.ready_again_s),
        "unanswered": report.counts.get("unanswered", 0),
        "ingested": report.ingested,
        "deleted": report.deleted,
        "images_at_the_end": report.images,
        "activations": report.activations,
        "of_them_rollbacks": report.rollbacks,
        "late": report.late,
        "looks": report.looks,
        "walks": report.walks,
        "strikes": [asdict(strike) for strike in report.strikes],
        "memory": {name: told(samples) for name, samples in report.samples.items()},
        "series": _series(report, plan),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"count": 0}
    ordered = sorted(values)
    marks = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "slowest": 1.0}
    at = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in marks.items()}
    return {"count": len(ordered), **{name: round(value, 1) for name, value in at.items()}}


def _series(report: MixedReport, plan: Plan) -> list[dict[str, Any]]:
    """For each piece of time: answers, refusals and broken connections, and how long searches took."""
    found = []
    for number in range(int(plan.seconds / _PIECE_S)):
        begins = report.began + number * _PIECE_S
        part = [attempt for attempt in report.attempts if begins <= attempt.at < begins + _PIECE_S]
        kinds = Counter(_kind(attempt.outcome) for attempt in part)
        searches = [a.ms for a in part if a.what.startswith("POST /v1/search") and a.outcome == "200"]
        found.append({"second": number * _PIECE_S, **kinds, "search_ms": _spread(searches)})
    return found


def _kind(outcome: str) -> str:
    """answered, refused (429 and 503), or broken: no answer."""
    return "answered" if outcome.isdecimal() else "refused" if outcome[0].isdigit() else "broken"


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The record in words and numbers."""
    shown = [
        ("faults", str(len(found["faults"]))),
        ("kills", ", ".join(f"{n} x {k}" for k, n in Counter(s["what"] for s in found["strikes"]).items())),
        ("attempts by outcome", ", ".join(f"{name}: {count:,}" for name, count in found["outcomes"].items())),
        ("requests that neither replica answered", str(found["unanswered"])),
        ("images ingested, deleted, at the end", "{ingested}, {deleted}, {images_at_the_end}".format(**found)),
        ("switches, rollbacks of them", "{activations}, {of_them_rollbacks}".format(**found)),
        ("looks at images", str(found["looks"])),
        ("searches with a next page and a verdict", str(found["walks"])),
        ("answers of the version before, after an activation was acknowledged", str(found["late"])),
        ("ready again, s", _words(found["ready_again_s"])),
        *((f"ms of {what}", _words(spread)) for what, spread in found["latency_ms"].items()),
    ]
    for name, memory in found["memory"].items():
        peaks = [life["peak_mib"] for life in memory["lives"]]
        text = f"{len(peaks)} lives, peak {max(peaks):.0f} MiB" if peaks else "-"
        if "slope" in memory:
            text += f"; slope {memory['slope']:+.1f} ± {memory['error']:.1f} MiB/h in {memory['longest_s']:.0f} s"
        shown.append((f"memory of {name}", text))
    return shown


def _words(spread: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in spread.items())
