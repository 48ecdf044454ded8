"""What an activation costs those who search meanwhile, and how soon a rollback is seen, with real servers and a worker.

16 clients search two replicas without a pause. Idle, during the encoding, and idle again are measured in one run, so
that what else the machine does falls on both.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import torch

from app.commands.models import register_checkpoint
from app.gallery.sources import open_source
from benchmarks.figures import Figure
from benchmarks.gallery import open_with_model
from benchmarks.visibility import serving
from models.checkpoint import DEMO, load_checkpoint, save_checkpoint

_CLIENTS, _IDLE_S, _LIMIT_S, _PROMISE_MS = 16, 8.0, 600.0, 5000.0
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


def measure_activation(gallery: Path, data_dir: Path) -> list[Figure]:
    """Search p95 while the gallery is encoded for another version, and how soon rollbacks are seen everywhere."""
    core = open_with_model(data_dir)
    images = sum(outcome.status == "ingested" for outcome in core.ingest().run(open_source(gallery)))
    first, second = 1, register_checkpoint(core, _perturbed(data_dir / "other"), "other").id
    core.close()
    with serving(data_dir) as one, serving(data_dir, "--no-worker") as two:
        clients = (one, two)
        load = _Load([str(client.base_url) for client in clients])
        with load.running():
            idle = [_pause()]
            job = one.post(f"/v1/models/{second}/activate").raise_for_status().json()["id"]
            encoding = _encoded(one, job)
            idle.append(_pause())
            seen = [_seen_after(clients, second, "rollback", first), _seen_after(clients, second, "activate", second)]
            seen += [_seen_after(clients, second, "rollback", first), _seen_after(clients, second, "activate", second)]
    busy = load.p95(encoding)
    return [
        Figure("search p95, 16 clients, while encoding", busy, "ms", load.p95(*idle), "the same, idle"),
        Figure("encoding meanwhile", images / (encoding[1] - encoding[0]), "images/s", 1, "one a second"),
        Figure("rollback or return seen at both replicas, slowest of 4", max(seen), "ms", _PROMISE_MS, "promise, 5 s"),
    ]


def _pause() -> tuple[float, float]:
    began = time.perf_counter()
    time.sleep(_IDLE_S)
    return began, time.perf_counter()


def _encoded(client: httpx.Client, job_id: str) -> tuple[float, float]:
    """When the encoding ran: from the first image to the end of the job."""
    began = None
    while True:
        job = client.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        if began is None and job["done"]:
            began = time.perf_counter()
        if job["state"] == "succeeded":
            return began or time.perf_counter(), time.perf_counter()
        if job["state"] in ("failed", "cancelled"):
            raise RuntimeError(f"the encoding {job['state']}: {job['error']}")
        time.sleep(0.1)


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
