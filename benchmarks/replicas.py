"""Two replicas and two workers on one PostgreSQL, killed all the time: `python -m benchmarks.replicas`.

Clients search, send batches, delete people and images, and activate the other of two model versions, through a front
that asks the other replica when one does not answer. Every answer shows the whole (small) gallery, so that it is known
what must be in it: each is compared with what was acknowledged before it was asked, and its scores with those of the
version that it names. The exit status is 1 if anything was wrong or missing.
"""

import io
import json
import random
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.table import Table as Shown
from sqlalchemy import func, select

from app.core import opened
from app.database.tables import Embedding, Image
from app.settings import Settings
from benchmarks.acknowledged import Ledger, name_of, number_of
from benchmarks.fleet import Caller, Fleet, Front, private_postgres
from benchmarks.prepared import PICTURE, QUERIES, prepare

_SEARCHERS, _SENDERS = 4, 2
_JOB_S = 600.0
"""Longest wait for the end of a batch: what is given up and comes later makes all that follows look wrong."""
ENDED = ("succeeded", "failed", "cancelled", "superseded")
Step = Callable[[Caller, random.Random], None]


@dataclass
class Report:
    """What a run showed; `wrong`, `missing` and `bad` must be empty."""

    wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    search_ms: list[float] = field(default_factory=list)
    ready_again_s: list[float] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    late: int = 0
    """Searches that the version before answered after the activation of another one was acknowledged."""
    ingested: int = 0
    deleted: int = 0
    activations: int = 0

    @property
    def faults(self) -> list[str]:
        """All that must not be."""
        return [*self.bad, *(f"wrong: {text}" for text in self.wrong), *(f"missing: {text}" for text in self.missing)]


@dataclass(frozen=True)
class Plan:
    """How long, what is killed when, and what the dice begin with. Seconds."""

    seconds: float = 120.0
    kill_every: float = 10.0
    worker_every: float = 25.0
    activate_every: float = 20.0
    seed: int = 1


class Trial:
    """One run over a fleet."""

    poll_s, rest_s = 0.05, (0.2, 0.8)
    """Between two looks at a job, and after a deletion."""

    def __init__(self, fleet: Fleet, ledger: Ledger, files: Sequence[bytes], plan: Plan) -> None:
        self.fleet, self.ledger, self.files, self.plan = fleet, ledger, files, plan
        self.front = Front(fleet.replicas, kept=fleet.processes == 1)
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.report = Report()

    def run(self) -> Report:
        """Clients and kills for the time of the plan; then a last look, when nothing is under way."""
        work = self.work()
        with ThreadPoolExecutor(len(work)) as pool:
            clients = [pool.submit(self._client, name, step) for name, step in work]
            try:
                self.kill(clients)
            finally:
                self.stop.set()
            for client in clients:
                client.result()
        for name in self.fleet.replicas:
            self.fleet.await_ready(name)
        self.look_again()
        tally = self.front.tally
        self.report.bad, self.report.counts = tally.bad, dict(tally.counts)
        return self.report

    def work(self) -> list[tuple[str, Step]]:
        """The clients: the name of each, and what it does again and again."""
        return [
            *((f"search {number}", self.search) for number in range(_SEARCHERS)),
            *((f"send {number}", self.send) for number in range(_SENDERS)),
            ("delete", self.delete),
            ("activate", self.activate),
        ]

    def look_again(self) -> None:
        """Ask everything once more of each replica."""
        with Caller(self.front) as caller:
            for query in QUERIES * len(self.fleet.replicas):
                self.ask(caller, query)

    def _client(self, name: str, step: Step) -> None:
        rng = random.Random(f"{self.plan.seed} {name}")
        with Caller(self.front) as caller:
            while not self.stop.is_set():
                step(caller, rng)

    def kill(self, clients: Sequence["Future[None]"]) -> None:
        rng, began = random.Random(f"{self.plan.seed} kill"), time.monotonic()
        replicas, turn = list(self.fleet.replicas), 0
        due = {"replica": self.plan.kill_every, "worker": self.plan.worker_every}
        while (passed := time.monotonic() - began) < self.plan.seconds:
            for client in clients:
                if client.done():
                    client.result()  # a client that gave up must not leave a run that looks well
            kind = min(due, key=due.__getitem__)
            if passed < due[kind]:
                self.stop.wait(min(0.2, due[kind] - passed))
                continue
            victim = replicas[turn % len(replicas)] if kind == "replica" else rng.choice(self.fleet.workers)
            turn += kind == "replica"
            self.fleet.kill(victim)
            self.report.killed.append(victim)
            self.fleet.start(victim)
            if kind == "replica":
                self.report.ready_again_s.append(self.fleet.await_ready(victim))
            every = self.plan.kill_every if kind == "replica" else self.plan.worker_every
            due[kind] = max(due[kind] + every * rng.uniform(0.9, 1.1), time.monotonic() - began)

    def search(self, caller: Caller, rng: random.Random) -> None:
        self.ask(caller, rng.choice(QUERIES))
        self.stop.wait(rng.uniform(0, 0.1))

    def ask(self, caller: Caller, query: str) -> None:
        """Ask one query, and judge the answer."""
        before = self.ledger.before()
        if (response := self._asked(caller, query)) is None:
            return
        if response.status_code != 200:
            self.fault([f"{caller.answered_by}: {response.status_code} {response.text[:300]}"])
            return
        answer = response.json()
        wrong, missing = self.ledger.judge(query, answer, before)
        told = f"{caller.answered_by}, version {answer['model_version']['id']}, {len(before.present)} known"
        self.fault([f"{told}: {text}" for text in wrong], [f"{told}: {text}" for text in missing])
        with self.lock:
            self.report.search_ms.append(caller.took_ms)
            self.report.late += answer["model_version"]["id"] != before.version == self.ledger.version

    def _asked(self, caller: Caller, query: str) -> httpx.Response | None:
        shown: dict[str, str | int] = {"limit": 100, "images_per_identity": 20}
        if query.startswith(PICTURE):
            file = ("q.jpg", self.files[int(query.removeprefix(PICTURE))])
            return caller.ask("POST", "/v1/search/image", files={"file": file}, data=shown)
        return caller.ask("POST", "/v1/search/text", json={"query": query, **shown})

    def send(self, caller: Caller, rng: random.Random) -> None:
        taken = self.ledger.take_absent(rng, rng.randint(1, 4))
        if taken:
            self._send_batch(caller, taken, f"{rng.getrandbits(64):x}")
            self.ledger.release(*taken)
        self.stop.wait(rng.uniform(0.1, 0.6))

    def _send_batch(self, caller: Caller, taken: dict[int, list[int]], key: str) -> None:
        body = {"archive": ("batch.zip", self._archive(taken))}
        sent = caller.insist("POST", "/v1/gallery/batches", files=body, headers={"Idempotency-Key": key})
        if sent.status_code != 202:
            self.fault([f"a batch: {sent.status_code} {sent.text[:300]}"])
            return
        path, wanted = f"/v1/jobs/{sent.json()['id']}", {n for numbers in taken.values() for n in numbers}
        known: dict[int, int] = {}
        deadline = time.monotonic() + _JOB_S
        while True:
            job = caller.insist("GET", path).json()
            items = caller.insist("GET", f"{path}/items", params={"limit": 1000}).json()["items"]
            new = {i["image_id"]: number_of(i["name"]) for i in items if i["status"] == "ingested"}
            self.ledger.ingested({image: number for image, number in new.items() if image not in known})
            known |= new
            if job["state"] in ENDED or time.monotonic() > deadline:
                break
            time.sleep(self.poll_s)
        if job["state"] != "succeeded" or set(known.values()) != wanted:
            odd = [item for item in items if item["status"] != "ingested"]
            self.fault([f"a batch {job['state']}: {job['error']}, {odd}, {len(known)} of {len(wanted)}"])
        with self.lock:
            self.report.ingested += len(known)

    def _archive(self, taken: dict[int, list[int]]) -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as packed:
            rows = [{"file": name_of(n), "identity": f"P-{who}"} for who, numbers in taken.items() for n in numbers]
            packed.writestr("manifest.jsonl", "\n".join(json.dumps(row) for row in rows))
            for numbers in taken.values():
                for number in numbers:
                    packed.writestr(name_of(number), self.files[number])
        return target.getvalue()

    def delete(self, caller: Caller, rng: random.Random) -> None:
        """A person, or one image of one; asked until it is answered, for an unanswered one may have been done."""
        if (found := self.ledger.take_present(rng)) is not None:
            person, images = found
            if rng.random() < 0.6:
                shown = caller.insist("GET", f"/v1/images/{min(images)}")
                path, gone = f"/v1/identities/{shown.json()['identity_id']}", list(images)
            else:
                gone = [rng.choice(sorted(images))]
                path = f"/v1/images/{gone[0]}"
            self.ledger.doom(gone)
            before = caller.attempts
            response = caller.insist("DELETE", path)
            done_before = (
                response.status_code == 404 and caller.attempts > before + 1
            )  # by an attempt that told nothing
            if response.status_code != 204 and not done_before:
                self.fault([f"DELETE {path}: {response.status_code} {response.text[:300]}"])
            self.ledger.deleted(gone)
            self.ledger.release(person)
            with self.lock:
                self.report.deleted += len(gone)
        self.stop.wait(rng.uniform(*self.rest_s))

    def activate(self, caller: Caller, rng: random.Random) -> None:
        """Let the other version answer."""
        if self.stop.wait(self.plan.activate_every * rng.uniform(0.5, 1)):
            return
        (other,) = set(self.ledger.tables) - {self.ledger.version}
        self.switch(caller, caller.insist("POST", f"/v1/models/{other}/activate"), other)

    def switch(self, caller: Caller, response: httpx.Response, version: int) -> None:
        """See a switch to its end that was answered so."""
        if response.status_code == 202:
            path, deadline = f"/v1/jobs/{response.json()['id']}", time.monotonic() + _JOB_S
            while (job := caller.insist("GET", path).json())["state"] not in ENDED and time.monotonic() < deadline:
                time.sleep(0.05)
            if job["state"] != "succeeded":
                self.fault([f"the activation {job['state']}: {job['error']}"])
                return
        elif response.status_code != 200:
            self.fault([f"an activation: {response.status_code} {response.text[:300]}"])
            return
        self.ledger.activated(version)
        with self.lock:
            self.report.activations += 1

    def fault(self, wrong: Sequence[str], missing: Sequence[str] = ()) -> None:
        with self.lock:
            self.report.wrong += wrong
            self.report.missing += missing


def settled(settings: Settings, ledger: Ledger) -> list[str]:
    """What the database holds at the end that clients were not told, or the other way round."""
    with opened(settings) as core, core.database.read() as session:
        rows = set(session.scalars(select(Image.id)))
        where = Embedding.model_version_id == ledger.version
        vectors = session.scalar(select(func.count()).select_from(Embedding).where(where))
    found = []
    if rows != set(ledger.present):
        found.append(f"images in the database and not reported, or the other way round: {rows ^ set(ledger.present)}")
    if vectors != len(rows):
        found.append(f"{vectors} vectors of {len(rows)} images under version {ledger.version}")
    return found


def trial(folder: Path, plan: Plan, people: int) -> tuple[Report, Fleet]:
    """Everything, from an empty database to the report."""
    with private_postgres() as url:
        settings = Settings(data_dir=folder / "data", database_url=url, device="cpu")
        ledger, files = prepare(settings, folder, people)
        with Fleet(settings.data_dir, url).running() as fleet:
            report = Trial(fleet, ledger, files, plan).run()
        report.wrong += settled(settings, ledger)
    return report, fleet


def figures(report: Report) -> dict[str, str]:
    """The report in words and numbers."""
    spent, ready, counts = sorted(report.search_ms), sorted(report.ready_again_s), report.counts
    return {
        "searches answered": f"{len(spent):,}",
        "wrong": str(len(report.wrong)),
        "missing": str(len(report.missing)),
        "5xx without Retry-After": str(len(report.bad)),
        "requests answered, of any kind": f"{counts.get('answered', 0):,}",
        "requests not answered by any replica": str(counts.get("unanswered", 0)),
        "attempts at a dead replica, made again at the other": str(counts.get("broken", 0)),
        "503 and 429 with Retry-After": str(counts.get("busy", 0)),
        "search p50 / p95 / slowest": " / ".join(
            f"{spent[min(len(spent) - 1, int(share * len(spent)))]:.0f} ms" for share in (0.5, 0.95, 1)
        ),
        "killed": ", ".join(f"{report.killed.count(name)} x {name}" for name in sorted(set(report.killed))),
        "replica ready again, median / slowest": f"{ready[len(ready) // 2]:.1f} / {ready[-1]:.1f} s" if ready else "-",
        "images ingested, deleted": f"{report.ingested}, {report.deleted}",
        "activations": str(report.activations),
        "answers of the version before, after an activation was acknowledged": str(report.late),
    }


def run(
    seconds: Annotated[float, typer.Option(min=1, help="How long the clients work.")] = 120.0,
    kill_every: Annotated[float, typer.Option(min=0.5, help="Seconds between two kills of a replica.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Of all dice; moments are not repeated exactly.")] = 1,
    people: Annotated[int, typer.Option(min=4, max=100, help="People in the pool, four pictures each.")] = 60,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("runs/replicas.json"),
    keep: Annotated[Path | None, typer.Option(help="Folder for data and logs, kept.")] = None,
) -> None:
    """Kill replicas and workers under load, and count what was wrong."""
    console = Console()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the processes of a run that is ended would stay
    with tempfile.TemporaryDirectory(prefix="descry-replicas-") as scratch:
        folder = keep or Path(scratch)
        report, _ = trial(folder, Plan(seconds, kill_every, 2.5 * kill_every, 2 * kill_every, seed), people)
    shown = Shown(title=f"Two replicas, two workers, {seconds:.0f} s, seed {seed}", show_header=False)
    for name, value in figures(report).items():
        shown.add_row(name, value)
    console.print(shown)
    for text in report.faults[:20]:
        console.print(text, highlight=False, markup=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"figures": figures(report), **asdict(report)}, indent=1) + "\n")
    if report.faults:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(run)
