"""How long after its report an image is found: at the replica that reported it, and at another on the same database."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.figures import Figure, median
from benchmarks.gallery import open_with_model

_IMAGES, _LIMIT_S, _PROMISE_MS = 50, 60.0, 1000.0


def measure_visibility(gallery: Path, data_dir: Path) -> list[Figure]:
    """Send images one by one; the time from the first report to the end of the first search that finds each."""
    open_with_model(data_dir).close()
    files = sorted((gallery / "images").rglob("*.jpg"))[:_IMAGES]
    times: tuple[list[float], list[float]] = ([], [])
    with serving(data_dir) as first, serving(data_dir, "--no-worker") as second:
        for path in files:
            data = path.read_bytes()
            image_id = _taken_in(first, path.name, data)
            reported = time.perf_counter()
            for client, found in zip((first, second), times, strict=True):
                while image_id not in _found(client, data):
                    if time.perf_counter() - reported > _LIMIT_S:
                        raise RuntimeError(f"image {image_id} is not found")
                found.append((time.perf_counter() - reported) * 1000)
    # The second one is asked after the first: its time includes that search.
    return [
        Figure(f"visible at the {name}, {part}", value(found), "ms", _PROMISE_MS, "the promise, 1 s")
        for name, found in zip(("replica that reported", "other replica (asked second)"), times, strict=True)
        for part, value in (("median", median), ("slowest of 50", max))
    ]


def _taken_in(client: httpx.Client, name: str, data: bytes) -> int:
    job = client.post("/v1/gallery/batches", files={"files": (name, data)}).raise_for_status().json()["id"]
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        for item in client.get(f"/v1/jobs/{job}/items").raise_for_status().json()["items"]:
            if item["status"] == "ingested":
                return int(item["image_id"])
        time.sleep(0.002)
    raise RuntimeError(f"{name} was not taken in")


def _found(client: httpx.Client, data: bytes) -> set[int]:
    form = {"limit": 100, "images_per_identity": 20}
    answer = client.post("/v1/search/image", files={"file": ("q.jpg", data)}, data=form).raise_for_status().json()
    return {image["id"] for candidate in answer["candidates"] for image in candidate["images"]}


@contextmanager
def serving(data_dir: Path, *words: str) -> Iterator[httpx.Client]:
    """A server of its own process on a free port, with a worker beside it unless told otherwise."""
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--data-dir", str(data_dir), *words]
    own = {**os.environ, "DESCRY_QUERY_CACHE_BYTES": "0"}  # every query is to be encoded
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=own) as process:
        try:
            assert process.stderr is not None
            url = next(line.split()[2].rstrip(",") for line in process.stderr if line.startswith("Descry at "))
            with (data_dir / f"server-{process.pid}.log").open("w") as log:
                drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=log)  # or its log would fill the pipe
            with httpx.Client(base_url=url, timeout=_LIMIT_S) as client:
                _await(client)
                yield client
        finally:
            process.terminate()
            process.wait()
    drain.wait()


def _await(client: httpx.Client) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError("the server did not become ready")
