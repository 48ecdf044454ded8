"""One archive through a real server with its worker: throughput, memory, and what searches notice of it.

The bare encoder works on the same files in the same run, before the server starts. Searches go over HTTP, one at a
time at a fixed pace, first with the server idle and then while the job runs.
"""

import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.allocator import keep_between_batches
from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.settings import Settings
from benchmarks.figures import Figure, median
from benchmarks.gallery import make_gallery, random_clip
from benchmarks.ingest import bare_rates
from models.checkpoint import DEMO, load_checkpoint

_PACE_S, _IDLE_SEARCHES, _MEMORY_S = 0.1, 100, 0.2
_QUERIES = (
    "a woman in a red jacket and black trousers",
    "a man with a backpack and a grey cap",
    "a child in a yellow shirt",
    "an older man in a dark coat with a bag",
)
_MIB = 2**20


@dataclass
class _Watch:
    """What is sampled while the job runs: seconds and bytes."""

    searches: list[float] = field(default_factory=list)
    memory: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: {"server": [], "worker": []})


def measure_archive(folder: Path, images: int, backbone: str | None) -> list[Figure]:
    """Send `images` synthetic crops as one zip; with a backbone of open_clip (random weights) instead of the demo's."""
    gallery = make_gallery(folder / "gallery", -(-images // 4))
    files = _first(gallery, images)
    checkpoint = DEMO if backbone is None else random_clip(backbone, folder / "checkpoint")
    keep_between_batches()  # as the worker does: the rival must not lose by its allocator
    memory, disk = bare_rates(load_checkpoint(checkpoint), files)
    archive = folder / "archive.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in (gallery / "manifest.jsonl", *files):
            packed.write(path, path.relative_to(gallery))
    data = folder / "data"
    with opened(Settings(data_dir=data)) as core:
        activate_version(core, register_checkpoint(core, checkpoint, "measured").id)
    with _serving(data) as (client, server):
        idle, watch = _Watch(), _Watch()
        for number in range(_IDLE_SEARCHES):
            _search(client, number, idle)
        began = time.perf_counter()
        with archive.open("rb") as handle:
            job = client.post("/v1/gallery/batches", files={"archive": handle}).raise_for_status().json()["id"]
        accepted = time.perf_counter()
        with _watching(client, server, watch):
            first, taken = _await(client, job, images)
        ended = time.perf_counter()
    rate, whole = images / (ended - accepted), images / (ended - began)
    running = (images - taken) / (ended - first)  # without the worker's start: it loads PyTorch for its first job
    return [
        Figure("archive: from the first commit on", running, "images/s", disk, "encoder, JPEG files"),
        Figure("archive: from 202 to succeeded", rate, "images/s", disk, "encoder, JPEG files"),
        Figure("archive: the same", rate, "images/s", memory, "encoder, pixels in memory"),
        Figure("archive: with the upload", whole, "images/s", disk, "encoder, JPEG files"),
        *_latency(idle.searches, watch.searches),
        *(figure for name, samples in watch.memory.items() for figure in _memory(name, samples)),
    ]


def _first(gallery: Path, images: int) -> list[Path]:
    """Cut the gallery to its first images, manifest and all."""
    manifest = gallery / "manifest.jsonl"
    lines = manifest.read_text().splitlines()[:images]
    manifest.write_text("".join(f"{line}\n" for line in lines))
    return [gallery / json.loads(line)["file"] for line in lines]


@contextmanager
def _serving(data: Path) -> Iterator[tuple[httpx.Client, int]]:
    """A server with its worker on a free port: a client, and the server's process id."""
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--data-dir", str(data)]
    log = data.parent / "server.log"
    with log.open("wb") as handle:
        # What is measured is the server itself.
        own = {**os.environ, "DESCRY_SUPERVISE": "false"}
        process = subprocess.Popen(command, stderr=handle, env=own)
    try:
        with httpx.Client(base_url=_address(process, log), timeout=300, trust_env=False) as client:
            _until(lambda: _ready(client))
            _until(lambda: bool(_workers(process.pid)) and b"is ready" in log.read_bytes())
            yield client, process.pid
    finally:
        process.terminate()
        process.wait()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    found: list[str] = []

    def seen() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {log.read_text()[-2000:]}")
        found[:] = [word.rstrip(",") for word in log.read_text().split() if word.startswith("http://")]
        return bool(found)

    _until(seen)
    return found[0]


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False  # it names its address before it listens


def _until(reached: Any, limit_s: float = 120.0) -> None:  # noqa: ANN401  any question
    deadline = time.monotonic() + limit_s
    while not reached():
        if time.monotonic() > deadline:
            raise RuntimeError("the server does not get ready")
        time.sleep(0.05)


def _workers(server: int) -> list[int]:
    children = Path(f"/proc/{server}/task").glob("*/children")
    return [int(pid) for path in children for pid in path.read_text().split()]


def _search(client: httpx.Client, number: int, watch: _Watch) -> None:
    began = time.perf_counter()
    client.post("/v1/search/text", json={"query": _QUERIES[number % len(_QUERIES)]}).raise_for_status()
    took = time.perf_counter() - began
    watch.searches.append(took)
    time.sleep(max(0.0, _PACE_S - took))


@contextmanager
def _watching(client: httpx.Client, server: int, watch: _Watch) -> Iterator[None]:
    """Search and look at the memory of both processes for the length of a block."""
    stopped = threading.Event()
    processes = {"server": server, "worker": _workers(server)[0]}

    def searching() -> None:
        number = 0
        with httpx.Client(base_url=client.base_url, timeout=300, trust_env=False) as own:
            while not stopped.is_set():
                _search(own, number, watch)
                number += 1

    def looking() -> None:
        while not stopped.wait(_MEMORY_S):
            for name, pid in processes.items():
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                watch.memory[name].append((time.perf_counter(), pages * os.sysconf("SC_PAGE_SIZE")))

    threads = [threading.Thread(target=work, daemon=True) for work in (searching, looking)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def _await(client: httpx.Client, job: str, images: int) -> tuple[float, int]:
    """Wait for the end; returns when the first items were seen to be done, and how many."""
    first: tuple[float, int] | None = None
    while (found := client.get(f"/v1/jobs/{job}").json())["state"] in ("queued", "running"):
        if first is None and found["done"]:
            first = time.perf_counter(), found["done"]
        time.sleep(0.25)  # each look counts the items
    counts = client.get(f"/v1/jobs/{job}/items", params={"status": "ingested", "limit": 1}).json()
    if found["state"] != "succeeded" or found["done"] != images or not counts["items"]:
        raise RuntimeError(f"the job ended otherwise than it should: {found}")
    if first is None:
        raise RuntimeError("the job was done between two looks; take more images")
    return first


def _latency(idle: list[float], during: list[float]) -> list[Figure]:
    def high(values: list[float]) -> float:
        return sorted(values)[int(0.95 * (len(values) - 1))]

    return [
        Figure("search p50 during the ingest", 1e3 * median(during), "ms", 1e3 * median(idle), "idle"),
        Figure("search p95 during the ingest", 1e3 * high(during), "ms", 1e3 * high(idle), "idle"),
    ]


def _memory(name: str, samples: list[tuple[float, int]]) -> list[Figure]:
    """The peak against the limit, and the end against the middle: how flat it is."""
    values = [value / _MIB for _, value in samples]
    middle = values[len(values) // 2]
    return [
        Figure(f"memory of the {name}, peak", max(values), "MiB", 1536.0, "the limit"),
        Figure(f"memory of the {name}, at the end", values[-1], "MiB", middle, "half-way"),
    ]
