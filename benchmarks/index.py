"""`python -m benchmarks.index`: the FAISS engine at a size, against FAISS Flat, a BLAS product and the promises.

Vectors are like those of pictures of people: clusters of about twenty, in few directions (the shipped checkpoint's fill
27 of 256, by the participation ratio). Queries lie off them (cosine 0.45 to the nearest), as words lie off pictures.
"""

import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import faiss
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from threadpoolctl import threadpool_limits

from app.vectors.contract import Changes
from app.vectors.faiss_engine import FaissIndex
from app.vectors.snapshot import Snapshot, SnapshotKey, SnapshotReader, save_snapshot
from app.vectors.tier import Tier
from benchmarks.clustered import CLUSTER, centres, near, off
from benchmarks.figures import Figure, median
from benchmarks.gpu import measure_gpu
from benchmarks.table import figure_table

_DIM, _BLOCK, _QUERIES = 512, 10_000, 200
_KEY = SnapshotKey("benchmark", "benchmark", "text", _DIM)
Queries = NDArray[np.float32]


def run(
    vectors: Annotated[int, typer.Option(min=20_000, help="How many vectors of 512 dimensions.")] = 1_000_000,
    threads: Annotated[int, typer.Option(help="Cores.")] = 4,
    gpu: Annotated[bool, typer.Option("--gpu", help="The kinds of index on a GPU instead.")] = False,
) -> None:
    """Build an index of clustered vectors and measure it."""
    console = Console()
    if gpu:
        around = centres(vectors // CLUSTER, _DIM)
        console.print(
            figure_table(measure_gpu(vectors, _DIM, partial(near, around), off(around, _QUERIES), console.print))
        )
        return
    with tempfile.TemporaryDirectory(prefix="descry-index-") as folder:
        console.print(figure_table(_measure(vectors, threads, Path(folder), console.print)))


def _measure(count: int, threads: int, folder: Path, say: Callable[[str], None]) -> list[Figure]:
    around = centres(count // CLUSTER, _DIM)
    queries = off(around, _QUERIES)
    exact = FaissIndex(_DIM, tier=Tier(exact_up_to=None, threads=threads))
    _fill(exact, around, count, say)
    figures = _exact(exact, queries, threads, say)
    own = figures[0].value
    truth = [set(exact.search(query, 10).ids.tolist()) for query in queries]
    flat = _flat_throughput(exact, queries, threads)
    say("making the shortlist ...")
    began = time.perf_counter()
    listed = FaissIndex.restored(_DIM, *exact.pieces(), Tier(exact_up_to=1, threads=threads))
    listed.compact()
    built = time.perf_counter() - began
    if listed.coarse is None:
        raise RuntimeError("no shortlist was chosen")
    coarse = listed.coarse
    say(
        f"{coarse.width} components, {coarse.probe} of {coarse.count} lists read, {coarse.shortlist} scored exactly: "
        f"recall {coarse.recall:.4f} when chosen"
    )
    found = [set(listed.search(query, 10).ids.tolist()) for query in queries]
    recall = sum(len(one & other) for one, other in zip(found, truth, strict=True)) / (10 * len(queries))
    one = _median_ms(lambda query: listed.search(query, 10), queries)
    hundred = _recall(exact, listed, queries[:50], 100)
    thousand = _recall(exact, listed, queries[:50], 1000)
    del exact
    many = _median_ms(lambda query: listed.search(query, 1000), queries)
    figures += [
        Figure("shortlist: made in", built, "s", 60.0, "promise for a rebuild"),
        Figure("shortlist: recall@10", 100 * recall, "%", 99.0, "promise"),
        Figure("shortlist: recall@100", 100 * hundred, "%", 99.0, "goal"),
        Figure("shortlist: recall@1000", 100 * thousand, "%", 99.0, "goal"),
        Figure("shortlist: one query, median", one, "ms", 2.0, "promise"),
        Figure(
            "shortlist: queries/s, all cores", _throughput(listed, queries, threads), "1/s", flat, "FAISS Flat at once"
        ),
        Figure("shortlist: best 1,000 of one query", many, "ms", own, "exact, one query"),
    ]
    say("snapshot ...")
    return figures + _snapshot(listed, folder, threads) + _inserts(listed, around, count)


def _fill(index: FaissIndex, around: NDArray[np.float32], count: int, say: Callable[[str], None]) -> None:
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        index.apply(Changes(start + size, np.arange(start, start + size), near(around, size, start), _none()))
        if index.wants_compaction:
            index.compact()
        if start % (20 * _BLOCK) == 0:
            say(f"{start:,} vectors")
    index.compact()


def _exact(index: FaissIndex, queries: Queries, threads: int, say: Callable[[str], None]) -> list[Figure]:
    say("exact ...")
    some = queries[:40]
    own = _median_ms(lambda query: index.search(query, 10), some)
    _, ids, half = index.contents()
    wide = half.astype(np.float32)
    with threadpool_limits(threads, user_api="blas"):
        product = _median_ms(partial(_product, wide), some)
    del wide, half
    share = np.random.default_rng(1).choice(ids, len(ids) // 100, replace=False)
    subset = _median_ms(lambda query: index.among(query, share, 10), some)
    return [
        Figure(
            "exact: one query, median", own, "ms", product, f"fp32 BLAS product on {threads} threads, and the best 10"
        ),
        Figure("exact: best 10 among 1 % of the ids", subset, "ms", 10.0, "promise"),
    ]


def _product(wide: NDArray[np.float32], query: Queries) -> object:
    return np.argpartition(-(wide @ query), 10)[:10]


def _flat_throughput(index: FaissIndex, queries: Queries, threads: int) -> float:
    """Queries a second of FAISS's flat index, given all at once."""
    faiss.omp_set_num_threads(threads)
    flat: Any = faiss.IndexFlatIP(_DIM)
    for piece in index.pieces()[2]:
        flat.add(piece.vectors.astype(np.float32))
    with threadpool_limits(threads, user_api="blas"):
        flat.search(queries[:8], 10)
        began = time.perf_counter()
        flat.search(queries, 10)
        return len(queries) / (time.perf_counter() - began)


def _recall(exact: FaissIndex, listed: FaissIndex, queries: Queries, k: int) -> float:
    hits = sum(len(set(listed.search(one, k).ids.tolist()) & set(exact.search(one, k).ids.tolist())) for one in queries)
    return hits / (k * len(queries))


def _throughput(index: FaissIndex, queries: Queries, threads: int) -> float:
    every = np.concatenate([queries] * 10)
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(lambda query: index.search(query, 10), every))
        return len(every) / (time.perf_counter() - began)


def _snapshot(index: FaissIndex, folder: Path, threads: int) -> list[Figure]:
    save_snapshot(folder / "snapshot", Snapshot(_KEY, *index.pieces()))
    began = time.perf_counter()
    with SnapshotReader(folder / "snapshot", _KEY, at_most=lambda: index.sequence).open() as found:
        again = FaissIndex.restored(_DIM, found.sequence, found.coarse, found.pieces, Tier(1, threads))
    seconds = time.perf_counter() - began
    if again.count != index.count:
        raise RuntimeError(f"the snapshot holds {again.count}, the index {index.count}")
    return [Figure("start from a snapshot", seconds, "s", 10.0, "promise")]


def _inserts(index: FaissIndex, around: NDArray[np.float32], count: int) -> list[Figure]:
    """500 vectors a second for some seconds, beside compactions: how long until a search finds each hundred."""
    stop = threading.Event()

    def compact() -> None:
        while not stop.wait(0.2):
            if index.wants_compaction:
                index.compact()

    helper = threading.Thread(target=compact)
    helper.start()
    slowest = 0.0
    for step in range(50):
        began, first = time.perf_counter(), count + 100 * step
        new = near(around, 100, first)
        index.apply(Changes(first + 100, np.arange(first, first + 100), new, _none()))
        if index.search(new[0].astype(np.float32), 1).ids.tolist() != [first]:
            raise RuntimeError("a vector that was added is not found")
        slowest = max(slowest, time.perf_counter() - began)
        time.sleep(max(0.0, 0.2 - (time.perf_counter() - began)))
    stop.set()
    helper.join()
    return [
        Figure("500 inserts a second: a hundred of them until found, slowest", slowest * 1000, "ms", 1000.0, "promise")
    ]


def _median_ms(act: Callable[[Queries], object], queries: Queries) -> float:
    for query in queries[:5]:
        act(query)
    taken = []
    for query in queries:
        began = time.perf_counter()
        act(query)
        taken.append((time.perf_counter() - began) * 1000)
    return median(taken)


def _none() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


if __name__ == "__main__":
    typer.run(run)
