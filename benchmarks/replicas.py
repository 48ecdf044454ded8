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
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table as Shown
from sqlalchemy import func, select

from app.commands.models import activate_version, register_checkpoint
from app.core import Core, opened
from app.database.tables import Embedding, Image
from app.gallery import pictures
from app.gallery.sources import open_source
from app.settings import Settings
from benchmarks.acknowledged import APART, Ledger, Table, name_of, number_of
from benchmarks.fleet import LIMIT_S, Caller, Fleet, Front, private_postgres
from benchmarks.gallery import make_gallery
from models.checkpoint import DEMO, load_checkpoint, save_checkpoint

QUERIES = (
    "a woman in a red coat",
    "a man with a black backpack and blue jeans",
    "someone in a white shirt",
    "a person with a grey hat",
    "a man in a green jacket",
    "a woman with a yellow bag",
)
_EACH, _SEARCHERS, _SENDERS = 4, 4, 2
_ENDED = ("succeeded", "failed", "cancelled")


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

    def __init__(self, fleet: Fleet, ledger: Ledger, files: Sequence[bytes], plan: Plan) -> None:
        self._fleet, self._ledger, self._files, self._plan = fleet, ledger, files, plan
        self._front = Front(fleet.replicas)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.report = Report()

    def run(self) -> Report:
        """Clients and kills for the time of the plan; then a last look, when nothing is under way."""
        work: list[tuple[str, Callable[[Caller, random.Random], None]]] = [
            *((f"search {number}", self._search) for number in range(_SEARCHERS)),
            *((f"send {number}", self._send) for number in range(_SENDERS)),
            ("delete", self._delete),
            ("activate", self._activate),
        ]
        with ThreadPoolExecutor(len(work)) as pool:
            clients = [pool.submit(self._client, name, step) for name, step in work]
            try:
                self._kill(clients)
            finally:
                self._stop.set()
            for client in clients:
                client.result()
        with Caller(self._front) as caller:
            for name in self._fleet.replicas:
                self._fleet.await_ready(name)
            for query in QUERIES * len(self._fleet.replicas):
                self._ask(caller, query)
        tally = self._front.tally
        self.report.bad, self.report.counts = tally.bad, dict(tally.counts)
        return self.report

    def _client(self, name: str, step: Callable[[Caller, random.Random], None]) -> None:
        rng = random.Random(f"{self._plan.seed} {name}")
        with Caller(self._front) as caller:
            while not self._stop.is_set():
                step(caller, rng)

    def _kill(self, clients: Sequence["Future[None]"]) -> None:
        rng, began = random.Random(f"{self._plan.seed} kill"), time.monotonic()
        replicas, turn = list(self._fleet.replicas), 0
        due = {"replica": self._plan.kill_every, "worker": self._plan.worker_every}
        while (passed := time.monotonic() - began) < self._plan.seconds:
            for client in clients:
                if client.done():
                    client.result()  # a client that gave up must not leave a run that looks well
            kind = min(due, key=due.__getitem__)
            if passed < due[kind]:
                self._stop.wait(min(0.2, due[kind] - passed))
                continue
            victim = replicas[turn % len(replicas)] if kind == "replica" else rng.choice(self._fleet.workers)
            turn += kind == "replica"
            self._fleet.kill(victim)
            self.report.killed.append(victim)
            self._fleet.start(victim)
            if kind == "replica":
                self.report.ready_again_s.append(self._fleet.await_ready(victim))
            every = self._plan.kill_every if kind == "replica" else self._plan.worker_every
            due[kind] = max(due[kind] + every * rng.uniform(0.9, 1.1), time.monotonic() - began)

    def _search(self, caller: Caller, rng: random.Random) -> None:
        self._ask(caller, rng.choice(QUERIES))
        self._stop.wait(rng.uniform(0, 0.1))

    def _ask(self, caller: Caller, query: str) -> None:
        before = self._ledger.before()
        asked = {"query": query, "limit": 100, "images_per_identity": 20}
        if (response := caller.ask("POST", "/v1/search/text", json=asked)) is None:
            return
        if response.status_code != 200:
            self._fault([f"{caller.answered_by}: {response.status_code} {response.text[:300]}"])
            return
        answer = response.json()
        wrong, missing = self._ledger.judge(query, answer, before)
        told = f"{caller.answered_by}, version {answer['model_version']['id']}, {len(before.present)} known"
        self._fault([f"{told}: {text}" for text in wrong], [f"{told}: {text}" for text in missing])
        with self._lock:
            self.report.search_ms.append(caller.took_ms)
            self.report.late += answer["model_version"]["id"] != before.version == self._ledger.version

    def _send(self, caller: Caller, rng: random.Random) -> None:
        taken = self._ledger.take_absent(rng, rng.randint(1, 4))
        if taken:
            self._send_batch(caller, taken, f"{rng.getrandbits(64):x}")
            self._ledger.release(*taken)
        self._stop.wait(rng.uniform(0.1, 0.6))

    def _send_batch(self, caller: Caller, taken: dict[int, list[int]], key: str) -> None:
        body = {"archive": ("batch.zip", self._archive(taken))}
        sent = caller.insist("POST", "/v1/gallery/batches", files=body, headers={"Idempotency-Key": key})
        if sent.status_code != 202:
            self._fault([f"a batch: {sent.status_code} {sent.text[:300]}"])
            return
        path, wanted = f"/v1/jobs/{sent.json()['id']}", {n for numbers in taken.values() for n in numbers}
        known: dict[int, int] = {}
        deadline = time.monotonic() + LIMIT_S
        while True:
            job = caller.insist("GET", path).json()
            items = caller.insist("GET", f"{path}/items", params={"limit": 1000}).json()["items"]
            new = {i["image_id"]: number_of(i["name"]) for i in items if i["status"] == "ingested"}
            self._ledger.ingested({image: number for image, number in new.items() if image not in known})
            known |= new
            if job["state"] in _ENDED or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        if job["state"] != "succeeded" or set(known.values()) != wanted:
            odd = [item for item in items if item["status"] != "ingested"]
            self._fault([f"a batch {job['state']}: {job['error']}, {odd}, {len(known)} of {len(wanted)}"])
        with self._lock:
            self.report.ingested += len(known)

    def _archive(self, taken: dict[int, list[int]]) -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as packed:
            rows = [{"file": name_of(n), "identity": f"P-{who}"} for who, numbers in taken.items() for n in numbers]
            packed.writestr("manifest.jsonl", "\n".join(json.dumps(row) for row in rows))
            for numbers in taken.values():
                for number in numbers:
                    packed.writestr(name_of(number), self._files[number])
        return target.getvalue()

    def _delete(self, caller: Caller, rng: random.Random) -> None:
        """A person, or one image of one; asked until it is answered, for an unanswered one may have been done."""
        if (found := self._ledger.take_present(rng)) is not None:
            person, images = found
            if rng.random() < 0.6:
                shown = caller.insist("GET", f"/v1/images/{min(images)}")
                path, gone = f"/v1/identities/{shown.json()['identity_id']}", list(images)
            else:
                gone = [rng.choice(sorted(images))]
                path = f"/v1/images/{gone[0]}"
            self._ledger.doom(gone)
            before = caller.attempts
            response = caller.insist("DELETE", path)
            done_before = (
                response.status_code == 404 and caller.attempts > before + 1
            )  # by an attempt that told nothing
            if response.status_code != 204 and not done_before:
                self._fault([f"DELETE {path}: {response.status_code} {response.text[:300]}"])
            self._ledger.deleted(gone)
            self._ledger.release(person)
            with self._lock:
                self.report.deleted += len(gone)
        self._stop.wait(rng.uniform(0.2, 0.8))

    def _activate(self, caller: Caller, rng: random.Random) -> None:
        if self._stop.wait(self._plan.activate_every * rng.uniform(0.5, 1)):
            return
        (other,) = set(self._ledger.tables) - {self._ledger.version}
        response = caller.insist("POST", f"/v1/models/{other}/activate")
        if response.status_code == 202:
            path, deadline = f"/v1/jobs/{response.json()['id']}", time.monotonic() + LIMIT_S
            while (job := caller.insist("GET", path).json())["state"] not in _ENDED and time.monotonic() < deadline:
                time.sleep(0.05)
            if job["state"] != "succeeded":
                self._fault([f"the activation {job['state']}: {job['error']}"])
                return
        elif response.status_code != 200:
            self._fault([f"an activation: {response.status_code} {response.text[:300]}"])
            return
        self._ledger.activated(other)
        with self._lock:
            self.report.activations += 1

    def _fault(self, wrong: Sequence[str], missing: Sequence[str] = ()) -> None:
        with self._lock:
            self.report.wrong += wrong
            self.report.missing += missing


def prepare(settings: Settings, folder: Path, people: int) -> tuple[Ledger, list[bytes]]:
    """Two versions in an empty gallery, the first one active, and what each says about each picture of a pool."""
    gallery = make_gallery(folder / "gallery", people)
    files = [path.read_bytes() for path in sorted((gallery / "images").rglob("*.jpg"))]
    save_checkpoint(_perturbed(), folder / "other", card="# perturbed\n")
    with opened(settings) as core:
        first = register_checkpoint(core, DEMO, "first").id
        activate_version(core, first)
        present = _filled(core, folder / "first", files, people)
        second = register_checkpoint(core, folder / "other", "second").id
        tables = {version: _table(core, version, files) for version in (first, second)}
    apart = [np.abs(tables[first][query] - tables[second][query]) for query in QUERIES]
    if float(np.median(apart)) < APART:
        raise RuntimeError(
            f"the two versions differ by {np.median(apart):.4f} only: they cannot be told apart by scores"
        )
    ledger = Ledger(tables, people, _EACH, first, present=present, sent=set(present.values()))
    return ledger, files


def _filled(core: Core, folder: Path, files: Sequence[bytes], people: int) -> dict[int, int]:
    """The pictures of two thirds of the people in the gallery: image id to picture number."""
    folder.mkdir()
    rows = [{"file": name_of(n), "identity": f"P-{n // _EACH}"} for n in range(people * 2 // 3 * _EACH)]
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    for row in rows:
        (folder / row["file"]).write_bytes(files[number_of(row["file"])])
    outcomes = list(core.ingest().run(open_source(folder)))
    if any(outcome.status != "ingested" for outcome in outcomes):
        raise RuntimeError(f"the pictures could not be taken in: {outcomes}")
    return {outcome.image_id: number_of(outcome.name) for outcome in outcomes if outcome.image_id is not None}


def _perturbed() -> Any:  # noqa: ANN401  an encoder
    encoder = load_checkpoint(DEMO)
    dice = torch.Generator().manual_seed(1)
    for parameter in encoder.parameters():
        parameter.mul_(1 + 0.3 * torch.randn(parameter.shape, generator=dice))
    return encoder


def _table(core: Core, version: int, files: Sequence[bytes]) -> Table:
    _, _, encoder = core.active.load_encoder(version)
    limits = core.settings
    read = [pictures.decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_upload_bytes) for data in files]
    stored = encoder.encode_images([encoder.encoder.preprocess(picture.image) for picture in read])
    vectors = stored[encoder.spec.stored("text")].astype(np.float16).astype(np.float32)
    table = {query: vectors @ encoder.submit_text(query).result(LIMIT_S).vector for query in QUERIES}
    encoder.close()
    return table


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
