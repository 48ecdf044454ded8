"""Everything at once for a long time: `python -m benchmarks.mixed --minutes 20 --seed 1 --keep FOLDER`.

Two replicas and two workers on one PostgreSQL. Clients search by words and by pictures, turn pages, judge what they
found, look at images, send batches, delete, activate and roll back; at random moments a replica (its server, or the
supervisor too), a worker, or one of each is killed with SIGKILL. In the second half (`--spared`) the first replica and
the first worker are spared, so that the memory of processes that live long can be told. Answers are judged as in
`benchmarks.replicas`; at the end everything is compared with everything. The exit status is 1 if anything was not as it
must be.

With `--processes 3` each replica answers with three, and each request takes a new connection, to any of them. One of
them is killed (also while it starts), or the supervisor, or SIGTERM or SIGHUP ends them. `--database sqlite` is without
PostgreSQL.
"""

import io
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from PIL import Image as Picture
from rich.console import Console
from rich.table import Table as Shown

from app.core import opened
from app.settings import Settings
from benchmarks.acknowledged import Ledger
from benchmarks.aftermath import end, settle
from benchmarks.fleet import Caller, Fleet, private_postgres
from benchmarks.lives import MemoryWatch
from benchmarks.mixed_report import MixedReport, Shape, Strike, hung, record, rows
from benchmarks.plots import plot_mixed
from benchmarks.prepared import QUERIES, prepare
from benchmarks.replicas import Plan, Step, Trial

_EXAMPLES, _SEARCHERS, _LOOKERS = (3, 42, 77), 3, 1
_PAUSE_S, _LOOK_S = 0.5, 0.3
_GONE, _LATELY_S = ("identity_not_found", "identity_merged"), 15.0
_VICTIMS = (("replica",), ("worker",), ("replica", "worker"))
# Under nohup servers ignore the second one, as this process does.
_HANG_UPS = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) != signal.SIG_IGN]


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
            ("walk", self.walk),
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

    def walk(self, caller: Caller, rng: random.Random) -> None:
        """A page, the next one, and a verdict, each from whichever process answers."""
        asked: dict[str, Any] = {"query": rng.choice(QUERIES), "limit": 5}
        first = caller.ask("POST", "/v1/search/text", json=asked)
        if first is not None and first.status_code == 200 and first.json()["candidates"]:
            answer = first.json()
            verdicts = [{"identity_id": answer["candidates"][0]["identity"]["id"], "verdict": "confirm"}]
            judged = caller.ask("POST", f"/v1/queries/{answer['query_id']}/feedback", json=verdicts)
            second = None
            if answer["next_cursor"]:
                asked["cursor"] = answer["next_cursor"]
                second = caller.ask("POST", "/v1/search/text", json=asked)
            self.judge_walk(answer, second, judged)
        self.stop.wait(rng.uniform(0, _PAUSE_S))

    def judge_walk(self, first: dict[str, Any], second: httpx.Response | None, judged: httpx.Response | None) -> None:
        """What became of a search's next page and of a verdict on it."""
        if judged is not None and judged.status_code != 201:
            code = judged.json()["code"]
            # A process that is killed takes the queries of its last moment along; a deletion the person.
            if code not in _GONE and not (code == "query_not_found" and self._killed_lately()):
                self.fault([f"a verdict: {judged.status_code} {code} of query {first['query_id']}"])
        if second is not None and second.status_code == 200:
            answer = second.json()
            shown = [{one["identity"]["id"] for one in page["candidates"]} for page in (first, answer)]
            # Another version ranks anew, and says so; merges are none here.
            if answer["query_id"] != first["query_id"] or shown[0] & shown[1]:
                self.fault([f"the next page of {first['query_id']} shows {sorted(shown[0] & shown[1])} again"])
        elif second is not None:
            self.fault([f"a next page: {second.status_code} {second.text[:300]}"])
        with self.lock:
            self.report.walks += 1

    def _killed_lately(self) -> bool:
        now = time.monotonic() - self.report.began
        return any(now - strike.second < _LATELY_S for strike in self.report.strikes)

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
        name = rng.choice(names[spare:] or names)
        several = self.fleet.processes > 1 and kind == "replica"
        whole = kind == "worker" or rng.random() < (0.3 if several else 0.5)
        again = rng.random() < 0.25
        if not whole:
            self._struck(name, "server")
            self.fleet.kill_server(name, rng)  # its supervisor starts it again
            if again and several:  # another one, or the same while it starts
                self.stop.wait(rng.uniform(0, 5))
                self._struck(name, "server")
                self.fleet.kill_server(name, rng)
        elif several and rng.random() < 0.5:
            number = rng.choice(_HANG_UPS)
            self._struck(name, number.name)
            if (code := self.fleet.hang_up(name, number)) != -signal.SIGTERM:
                self.fault([f"{name} ended with {code} after {number.name}"])
            self.fleet.start(name)
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


def trial(
    folder: Path,
    plan: Plan,
    people: int,
    spared_from: float = 0.5,
    shape: Shape | None = None,
) -> MixedReport:
    """Everything, from an empty database to the report. A fault that ends the run is in it."""
    shape, examples = shape or Shape(), [number for number in _EXAMPLES if number < 4 * people]
    with nullcontext("") if shape.database == "sqlite" else private_postgres() as url:
        settings = Settings(data_dir=folder / "data", database_url=url, device="cpu")
        ledger, files = prepare(settings, folder, people, examples)
        fleet = Fleet(settings.data_dir, url, shape.replicas, processes=shape.processes)
        with fleet.running():
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


def run(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the clients work.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Of all dice; moments are not repeated exactly.")] = 1,
    kill_every: Annotated[float, typer.Option(min=1, help="Seconds between two kills, in the mean.")] = 25.0,
    people: Annotated[int, typer.Option(min=4, max=100, help="People in the pool, four pictures each.")] = 60,
    spared: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the time after which the first of each kind is not killed.")
    ] = 0.5,
    replicas: Annotated[int, typer.Option(min=1, max=8, help="Servers, each with a port of its own.")] = 2,
    processes: Annotated[int, typer.Option(min=1, max=8, help="Processes that answer for each of them.")] = 1,
    database: Annotated[str, typer.Option(help="postgresql or sqlite.")] = "postgresql",
    keep: Annotated[Path | None, typer.Option(help="Folder for data and logs, kept.")] = None,
    out: Annotated[Path, typer.Option(help="Where the figures and the plot go.")] = Path("runs/mixed"),
) -> None:
    """Search, send, delete, activate and kill, all at once."""
    console, plan = Console(), Plan(60 * minutes, kill_every, kill_every, 45.0, seed)
    if database not in ("postgresql", "sqlite"):
        raise typer.BadParameter("postgresql or sqlite", param_hint="--database")
    shape = Shape(replicas, processes, "sqlite" if database == "sqlite" else "postgresql")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the processes of a run that is ended would stay
    with tempfile.TemporaryDirectory(prefix="descry-mixed-") as scratch:
        found = {"shape": asdict(shape), **record(trial(keep or Path(scratch), plan, people, spared, shape), plan)}
    of = f"{replicas} replicas of {processes} processes, two workers, {database}"
    shown = Shown(title=f"{of}, {minutes:g} min, seed {seed}", show_header=False)
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
