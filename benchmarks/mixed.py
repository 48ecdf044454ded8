"""Everything at once for a long time: `python -m benchmarks.mixed --minutes 20 --seed 1 --keep FOLDER`.

Two replicas and two workers on one PostgreSQL. Clients search by words and by pictures, look at images, send batches,
delete, activate and roll back; at random moments a replica (its server, or the supervisor too), a worker, or one of
each is killed with SIGKILL. In the second half (`--spared`) the first replica and the first worker are spared, so that
the memory of processes that live long can be told. Answers are judged as in `benchmarks.replicas`; at the end
everything is compared with everything. The exit status is 1 if anything was not as it must be.
"""

import io
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image as Picture
from rich.console import Console
from rich.table import Table as Shown

from app.core import opened
from app.settings import Settings
from benchmarks.acknowledged import Ledger
from benchmarks.aftermath import end, settle
from benchmarks.fleet import Attempt, Caller, Fleet, private_postgres
from benchmarks.lives import MemoryWatch, Sample, told
from benchmarks.machine import machine
from benchmarks.plots import plot_mixed
from benchmarks.prepared import prepare
from benchmarks.replicas import Plan, Report, Step, Trial

_EXAMPLES, _SEARCHERS, _LOOKERS = (3, 42, 77), 3, 1
_PAUSE_S, _LOOK_S, _PIECE_S = 0.5, 0.3, 10.0
_VICTIMS = (("replica",), ("worker",), ("replica", "worker"))


@dataclass(frozen=True, slots=True)
class Strike:
    """One kill: when (seconds), who, and what of it: server, supervisor (and server), worker."""

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
    rollbacks: int = 0
    images: int = 0
    """In the gallery at the end."""


class Mixed(Trial):
    """One run over a fleet."""

    report: MixedReport
    poll_s, rest_s = 0.2, (0.5, 3.0)
    spared_from = 0.5
    """From this part of the time on the first replica and the first worker are not killed."""

    def __init__(self, fleet: Fleet, ledger: Ledger, files: Sequence[bytes], plan: Plan) -> None:
        super().__init__(fleet, ledger, files, plan)
        self.report = MixedReport(began=time.monotonic())
        self._queries = list(next(iter(ledger.tables.values())))

    def work(self) -> list[tuple[str, Step]]:
        """Searches at a pace that two cores bear, and all the rest."""
        return [
            *((f"search {number}", self.search) for number in range(_SEARCHERS)),
            *((f"look {number}", self.look) for number in range(_LOOKERS)),
            ("versions", self.versions),
            ("send 0", self.send),
            ("send 1", self.send),
            ("delete", self.delete),
            ("activate", self.activate),
        ]

    def look_again(self) -> None:
        """Every query, at every replica."""
        with Caller(self.front) as caller:
            for query in self._queries:
                for _ in self.fleet.replicas:
                    self.ask(caller, query)

    def search(self, caller: Caller, rng: random.Random) -> None:
        """By words, or by a picture."""
        self.ask(caller, rng.choice(self._queries))
        self.stop.wait(rng.uniform(0, _PAUSE_S))

    def look(self, caller: Caller, rng: random.Random) -> None:
        """An image that is there, or one that is deleted: its data, its file or its thumbnail."""
        before = self.ledger.before()
        wanted = sorted(before.present if not before.gone or rng.random() < 0.7 else before.gone)
        if wanted:
            image, kind = rng.choice(wanted), rng.choice(("", "/file", "/thumbnail"))
            if (response := caller.ask("GET", f"/v1/images/{image}{kind}")) is not None:
                self.judge_look(image, kind, response.status_code, response.content, gone=image in before.gone)
        self.stop.wait(rng.uniform(0, _LOOK_S))

    def judge_look(self, image: int, kind: str, status: int, content: bytes, *, gone: bool) -> None:
        """What the answer to a look at an image was, of which it is known whether its deletion was answered before."""
        told_as = f"GET /v1/images/{image}{kind}: {status}"
        with self.ledger.lock:
            going = image in self.ledger.doomed
        if gone and status != 404:
            self.fault([f"{told_as}, and it was deleted before"])
        elif not gone and status != 200 and not (going and status == 404):
            self.fault([], [told_as])
        elif status == 200 and kind:
            with Picture.open(io.BytesIO(content)) as picture:
                picture.load()
        with self.lock:
            self.report.looks += 1

    def versions(self, caller: Caller, rng: random.Random) -> None:
        """There is one active version, at every moment."""
        if (response := caller.ask("GET", "/v1/models")) is not None and response.status_code == 200:
            listed = response.json()
            active = [model["id"] for model in listed["models"] if model["status"] == "active"]
            if active != [listed["active_id"]] or active[0] not in self.ledger.tables:
                self.fault([f"active versions: {active}, and {listed['active_id']} is said to be"])
        self.stop.wait(rng.uniform(1, 3))

    def activate(self, caller: Caller, rng: random.Random) -> None:
        """Let the other version answer: by its activation, or as a rollback of the present one."""
        if self.stop.wait(self.plan.activate_every * rng.uniform(0.5, 1)):
            return
        present, before = self.ledger.version, caller.attempts
        (other,) = set(self.ledger.tables) - {present}
        back = rng.random() < 0.5 and self.report.activations > 0  # before the first one there is nothing to go back to
        path = f"/v1/models/{present}/rollback" if back else f"/v1/models/{other}/activate"
        response = caller.insist("POST", path)
        if back and response.status_code == 409 and caller.attempts > before + 1:
            # An attempt that was not answered has done it, and a rollback is refused twice.
            response = caller.insist("POST", f"/v1/models/{other}/activate")
        self.switch(caller, response, other)
        self.report.rollbacks += back

    def kill(self, clients: "Sequence[Future[None]]") -> None:
        """Strike at random moments until the time is up."""
        rng, began = random.Random(f"{self.plan.seed} kill"), time.monotonic()
        self.report.began = began
        due = self._gap(rng)
        while (passed := time.monotonic() - began) < self.plan.seconds:
            for client in clients:
                if client.done():
                    client.result()  # a client that gave up must not leave a run that looks well
            if passed < due:
                self.stop.wait(min(0.2, due - passed))
                continue
            for kind in rng.choice(_VICTIMS):
                self._strike(kind, rng, spare=passed >= self.spared_from * self.plan.seconds)
            due = time.monotonic() - began + self._gap(rng)

    def _gap(self, rng: random.Random) -> float:
        return self.plan.kill_every * rng.uniform(0.3, 1.7)

    def _strike(self, kind: str, rng: random.Random, *, spare: bool) -> None:
        names = list(self.fleet.replicas) if kind == "replica" else self.fleet.workers
        name = rng.choice(names[spare:])
        whole, again = kind == "worker" or rng.random() < 0.5, rng.random() < 0.25
        if not whole:
            self._struck(name, "server")
            self.fleet.kill_server(name)  # its supervisor starts it again
        else:
            what = "worker" if kind == "worker" else "supervisor"
            self._struck(name, what)
            self.fleet.kill(name)
            self.fleet.start(name)
            if again:  # while it starts
                self.stop.wait(rng.uniform(0, 3))
                self._struck(name, what)
                self.fleet.kill(name)
                self.fleet.start(name)
        if kind == "replica":
            self.report.ready_again_s.append(self.fleet.await_ready(name))

    def _struck(self, name: str, what: str) -> None:
        self.report.killed.append(name)
        self.report.strikes.append(Strike(time.monotonic() - self.report.began, name, what))


def trial(folder: Path, plan: Plan, people: int, spared_from: float = 0.5) -> MixedReport:
    """Everything, from an empty database to the report. A fault that ends the run is in it."""
    examples = [number for number in _EXAMPLES if number < 4 * people]
    with private_postgres() as url:
        settings = Settings(data_dir=folder / "data", database_url=url, device="cpu")
        ledger, files = prepare(settings, folder, people, examples)
        with Fleet(settings.data_dir, url).running() as fleet:
            mixed = Mixed(fleet, ledger, files, plan)
            mixed.spared_from, report = spared_from, mixed.report
            with MemoryWatch((*fleet.replicas, *fleet.workers), fleet.working) as watch:
                try:
                    mixed.run()
                except RuntimeError as error:
                    report.wrong.append(f"the run ended early: {error}")
            report.samples = watch.samples
            report.attempts = list(mixed.front.tally.attempts)
            report.wrong += hung(report.attempts)
            with opened(settings) as core:
                report.wrong += settle(core, fleet, ledger, mixed.front, mixed.look_again)
            report.images = len(ledger.present)
            report.wrong += end(fleet, settings, ledger.tables.keys(), report.images)
            logs = {name: fleet.log(name) for name in (*fleet.replicas, *fleet.workers)}
        report.wrong += [f"a traceback in the log of {name}" for name, log in logs.items() if "Traceback" in log]
        if report.counts.get("broken", 0) == 0:
            report.wrong.append("the kills met nobody: nothing was tried")
    return report


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


def run(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the clients work.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Of all dice; moments are not repeated exactly.")] = 1,
    kill_every: Annotated[float, typer.Option(min=1, help="Seconds between two kills, in the mean.")] = 25.0,
    people: Annotated[int, typer.Option(min=4, max=100, help="People in the pool, four pictures each.")] = 60,
    spared: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the time after which the first of each kind is not killed.")
    ] = 0.5,
    keep: Annotated[Path | None, typer.Option(help="Folder for data and logs, kept.")] = None,
    out: Annotated[Path, typer.Option(help="Where the figures and the plot go.")] = Path("runs/mixed"),
) -> None:
    """Search, send, delete, activate and kill, all at once."""
    console, plan = Console(), Plan(60 * minutes, kill_every, kill_every, 45.0, seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the processes of a run that is ended would stay
    with tempfile.TemporaryDirectory(prefix="descry-mixed-") as scratch:
        found = record(trial(keep or Path(scratch), plan, people, spared), plan)
    shown = Shown(title=f"Two replicas, two workers, {minutes:g} min, seed {seed}", show_header=False)
    for name, value in rows(found):
        shown.add_row(name, value)
    console.print(shown)
    for text in found["faults"][:20]:
        console.print(text, highlight=False, markup=False)
    out.mkdir(parents=True, exist_ok=True)
    (out / "mixed.json").write_text(json.dumps(found, indent=1) + "\n")
    plot_mixed(found, out / "mixed.png")
    console.print(f"written to {out}")
    if found["faults"]:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(run)
