"""Memory of the server and its worker while people search, and pictures come and go: `python -m benchmarks.soak`.

The slope is that of the second half (`benchmarks.lives`).
"""

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from benchmarks.figures import Figure
from benchmarks.lives import MIB, MemoryWatch, slope
from benchmarks.load import descriptions
from benchmarks.machine import machine
from benchmarks.plots import plot_memory
from benchmarks.served import Served, resident_bytes, served
from benchmarks.serving import prepare
from benchmarks.table import figure_table

_DRIFT, _IDLE_S = 0.01, 10.0
_EVERY_PICTURE, _EVERY_BATCH, _BATCH = 5, 100, 8
"""Of the searches every fifth is by a picture; after every hundredth some images come, and those before go."""


def soak(data: Path, pictures: list[Path], minutes: float, rate: float, cache: int | None = None) -> dict[str, Any]:
    """Use a server for some minutes, at most so many searches a second.

    Args:
        cache: bytes that it may keep of texts (`DESCRY_QUERY_CACHE_BYTES`), if not its default.
    """
    environment = {} if cache is None else {"DESCRY_QUERY_CACHE_BYTES": str(cache)}
    with served(data, environment=environment) as server:
        processes = {"server": [server.pid], "worker": [_worker(server)]}
        time.sleep(_IDLE_S)
        idle = {name: resident_bytes(pid) / MIB for name, (pid,) in processes.items()}
        with (
            httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
            MemoryWatch(processes, processes.__getitem__) as watch,
        ):
            done = _use(client, pictures, time.perf_counter() + 60 * minutes, 1 / rate)
    sampled = {name: [(one.second, one.mib) for one in found] for name, found in watch.samples.items()}
    told = {
        name: {"idle": idle[name], "peak": max(value for _, value in found), **slope(found), "samples": found}
        for name, found in sampled.items()
    }
    return {"machine": machine(), "minutes": minutes, "cache": cache, "done": done, "processes": told}


def _worker(server: Served) -> int:
    deadline = time.monotonic() + 60
    while not (found := server.workers()):
        if time.monotonic() > deadline:
            raise RuntimeError("there is no worker")
        time.sleep(0.1)
    return found[0]


def _use(client: httpx.Client, pictures: list[Path], end: float, pause_s: float) -> dict[str, int]:
    done = {"texts": 0, "pictures": 0, "ingested": 0, "deleted": 0}
    texts, files = descriptions(seed=11, repeated=0.3), itertools.cycle(pictures)
    there: list[int] = []
    for number in itertools.count(1):
        due = time.perf_counter() + pause_s
        if due > end:
            return done
        if number % _EVERY_PICTURE == 0:
            data = next(files).read_bytes()
            client.post("/v1/search/image", files={"file": ("q.jpg", data)}).raise_for_status()
            done["pictures"] += 1
        else:
            client.post("/v1/search/text", json={"query": next(texts)}).raise_for_status()
            done["texts"] += 1
        if number % _EVERY_BATCH == 0:
            for image in there:
                client.delete(f"/v1/images/{image}").raise_for_status()
            done["deleted"] += len(there)
            there = _send(client, files)
            done["ingested"] += len(there)
        time.sleep(max(0.0, due - time.perf_counter()))
    raise AssertionError("counting ended")


def _send(client: httpx.Client, files: Iterator[Path]) -> list[int]:
    """Ingest some pictures into a collection of their own; gives the images that came of them."""
    batch = [("files", (path.name, path.read_bytes())) for path in itertools.islice(files, _BATCH)]
    sent = client.post("/v1/gallery/batches", files=batch, params={"collection": "soak"})
    job = sent.raise_for_status().json()["id"]
    while (found := client.get(f"/v1/jobs/{job}").raise_for_status().json())["state"] in ("queued", "running"):
        time.sleep(0.2)
    if found["state"] != "succeeded":
        raise RuntimeError(f"the ingest {found['state']}: {found['error']}")
    items = client.get(f"/v1/jobs/{job}/items", params={"status": "ingested"}).raise_for_status().json()["items"]
    return [int(item["image_id"]) for item in items]


def figures(record: dict[str, Any]) -> list[Figure]:
    """Idle memory, peak, and slope beside what is allowed: a hundredth an hour, beyond twice the error."""
    found = []
    for name, told in record["processes"].items():
        allowed = _DRIFT * told["level"] + 2 * told["error"]
        found += [
            Figure(f"{name}: idle memory", told["idle"], "MiB", told["peak"], "peak"),
            Figure(f"{name}: slope of the second half", told["slope"], "MiB/h", allowed, "1 % + 2 standard errors"),
        ]
    return found


def run(
    minutes: Annotated[float, typer.Option(help="How long.")] = 20.0,
    rate: Annotated[float, typer.Option(help="Most searches a second.")] = 20.0,
    backbone: Annotated[str, typer.Option(help="compact (the shipped one), or a model of open_clip.")] = "compact",
    identities: Annotated[int, typer.Option(help="People in the gallery, four images each.")] = 150,
    cache: Annotated[
        int | None,
        typer.Option(
            help="Bytes for texts of late. The default, 16 MiB, is not full within 20 minutes of 20 searches."
        ),
    ] = None,
    keep: Annotated[Path, typer.Option(help="Folder that is prepared once.")] = Path("runs/serving-data"),
    out: Annotated[Path, typer.Option(help="Where the figures and the plot go.")] = Path("runs/serving"),
) -> None:
    """Look at memory under use."""
    keep.mkdir(parents=True, exist_ok=True)
    data = prepare(keep, backbone, identities)
    pictures = sorted((keep / f"gallery-{identities}" / "images").rglob("*.jpg"))[:200]
    record = soak(data, pictures, minutes, rate, cache)
    told = figures(record)
    console = Console()
    console.print(figure_table(told), record["done"])
    out.mkdir(parents=True, exist_ok=True)
    plot_memory(record, out / f"soak-{backbone}.png")
    record["figures"] = [figure.to_dict() for figure in told]
    (out / f"soak-{backbone}.json").write_text(json.dumps(record, indent=1) + "\n")
    console.print(f"written to {out}")


if __name__ == "__main__":
    typer.run(run)
