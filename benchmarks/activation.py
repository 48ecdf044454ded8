"""What activations and retrainings cost those who search meanwhile, and how soon a rollback is seen, with real servers.

16 clients search two replicas without a pause. Idle, during a training, idle, during the encoding, and idle again are
measured in one run, so that what else the machine does falls on all of them.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import torch

from app.commands.models import register_checkpoint
from app.gallery.sources import open_source
from app.jobs.repository import FINAL
from benchmarks.figures import Figure
from benchmarks.gallery import open_with_model
from benchmarks.visibility import serving
from models.checkpoint import DEMO, load_checkpoint, save_checkpoint

_CLIENTS, _IDLE_S, _TRAINING_S, _LIMIT_S, _PROMISE_MS = 16, 8.0, 20.0, 600.0, 5000.0
_LONG = ["schedule.epochs=1000", "evaluate_every=1000"]
"""A training that does not end by itself while it is looked at."""
_QUERIES = (
    "a woman in a red coat",
    "a man with a black backpack and blue jeans",
    "someone in a white shirt",
    "grey hat",
)


@dataclass
class _Load:
    """Clients that search until the block ends: (end, milliseconds, version) of every answer."""

    urls: list[str]
    answers: list[tuple[float, float, int]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator["_Load"]:
        threads = [threading.Thread(target=self._search, args=(number,)) for number in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def _search(self, number: int) -> None:
        with httpx.Client(base_url=self.urls[number % len(self.urls)], timeout=_LIMIT_S) as client:
            while not self._ended.is_set():
                began = time.perf_counter()
                body = {"query": _QUERIES[number % len(_QUERIES)]}
                answer = client.post("/v1/search/text", json=body).raise_for_status().json()
                end = time.perf_counter()
                self.answers.append((end, (end - began) * 1000, answer["model_version"]["id"]))

    def p95(self, *spans: tuple[float, float]) -> float:
        """Of the answers that ended in some spans of time, milliseconds."""
        taken = sorted(ms for end, ms, _ in list(self.answers) if any(a <= end <= b for a, b in spans))
        return taken[int(0.95 * len(taken))]


def measure_activation(gallery: Path, data_dir: Path, *, training: bool = False) -> list[Figure]:
    """Search p95 while the gallery is encoded for another version, and how soon rollbacks are seen everywhere.

    Args:
        training: search p95 while a retraining job trains on the gallery, too.
    """
    core = open_with_model(data_dir)
    images = sum(outcome.status == "ingested" for outcome in core.ingest().run(open_source(gallery)))
    first, second = 1, register_checkpoint(core, _perturbed(data_dir / "other"), "other").id
    core.close()
    with serving(data_dir) as one, serving(data_dir, "--no-worker") as two:
        clients = (one, two)
        load = _Load([str(client.base_url) for client in clients])
        with load.running():
            idle, trained = [_pause()], None
            if training:
                trained = _trained(one)
                idle.append(_pause())
            job = one.post(f"/v1/models/{second}/activate").raise_for_status().json()["id"]
            encoding = _encoded(one, job)
            idle.append(_pause())
            seen = [_seen_after(clients, second, "rollback", first), _seen_after(clients, second, "activate", second)]
            seen += [_seen_after(clients, second, "rollback", first), _seen_after(clients, second, "activate", second)]
    figures = [] if trained is None else _training_figures(load, trained, idle)
    busy = load.p95(encoding)
    return [
        *figures,
        Figure("search p95, 16 clients, while encoding", busy, "ms", load.p95(*idle), "the same, idle"),
        Figure("encoding meanwhile", images / (encoding[1] - encoding[0]), "images/s", 1, "one a second"),
        Figure("rollback or return seen at both replicas, slowest of 4", max(seen), "ms", _PROMISE_MS, "promise, 5 s"),
    ]


@dataclass(frozen=True, slots=True)
class _Trained:
    """A span of a training, and the steps that it made in it."""

    span: tuple[float, float]
    steps: int


def _training_figures(load: _Load, trained: _Trained, idle: list[tuple[float, float]]) -> list[Figure]:
    began, ended = trained.span
    return [
        Figure(
            "search p95, 16 clients, while training", load.p95(trained.span), "ms", load.p95(*idle), "the same, idle"
        ),
        Figure("training meanwhile", trained.steps / (ended - began), "steps/s", 0.1, "one in 10 s"),
    ]


def _trained(client: httpx.Client) -> _Trained:
    """When a training ran that a job started; the job is cancelled then."""
    asked = {"set": _LONG, "device": "cpu"}
    job = client.post("/v1/admin/retraining-jobs", json=asked, timeout=_LIMIT_S).raise_for_status().json()["id"]
    before = _until(client, job, lambda told: told["state"] == "running" and told["done"] > 1)
    began = time.perf_counter()
    time.sleep(_TRAINING_S)
    steps = _until(client, job, lambda told: told["state"] == "running")["done"] - before["done"]
    ended = time.perf_counter()
    client.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    _until(client, job, lambda told: told["state"] == "cancelled")
    if not steps:
        raise RuntimeError(f"the training made no step within {_TRAINING_S:.0f} s")
    return _Trained((began, ended), steps)


def _until(client: httpx.Client, job_id: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """A job, as soon as something is true of it."""
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        if reached(job):
            return job
        if job["state"] in FINAL:
            raise RuntimeError(f"the {job['kind']} {job['state']}: {job['error']}")
        time.sleep(0.1)
    raise RuntimeError(f"the job did not get there within {_LIMIT_S:.0f} s: {job}")


def _pause() -> tuple[float, float]:
    began = time.perf_counter()
    time.sleep(_IDLE_S)
    return began, time.perf_counter()


def _encoded(client: httpx.Client, job_id: str) -> tuple[float, float]:
    """When the encoding ran: from the first image to the end of the job."""
    _until(client, job_id, lambda told: bool(told["done"]) or told["state"] == "succeeded")
    began = time.perf_counter()
    _until(client, job_id, lambda told: told["state"] == "succeeded")
    return began, time.perf_counter()


def _seen_after(clients: tuple[httpx.Client, ...], version: int, act: str, wanted: int) -> float:
    """Milliseconds from the request until both replicas answer with a version."""
    began = time.perf_counter()
    response = clients[0].post(f"/v1/models/{version}/{act}").raise_for_status()
    if response.status_code != 200:
        raise RuntimeError(f"{act} of version {version} was not immediate")
    for client in clients:
        while _answering(client) != wanted:
            if time.perf_counter() - began > _LIMIT_S:
                raise RuntimeError(f"version {wanted} does not answer")
    return (time.perf_counter() - began) * 1000


def _answering(client: httpx.Client) -> int:
    answer = client.post("/v1/search/text", json={"query": "red"}).raise_for_status().json()
    return int(answer["model_version"]["id"])


def _perturbed(folder: Path) -> Path:
    encoder = load_checkpoint(DEMO)
    random = torch.Generator().manual_seed(1)
    for parameter in encoder.parameters():
        parameter.mul_(1 + 0.01 * torch.randn(parameter.shape, generator=random))
    save_checkpoint(encoder, folder, card="# perturbed\n")
    return folder
