"""Kinds of index on a GPU: each passes the contract where there is a GPU; what is ours in them is tested everywhere.

Where there is none, an index of FAISS on the processor stands in the GPU's place: the same search call, the same
answers, fewer where lists hold fewer. What FAISS itself does on a GPU is only tested where there is one.
"""

import threading
import time
from pathlib import Path
from typing import Any, TypeAlias, get_args

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from app.errors import GpuIndexMissingError
from app.settings import Settings
from app.vectors import gpu
from app.vectors.contract import Half
from app.vectors.engines import FaissEngine, open_engine
from app.vectors.gpu import KINDS, Cagra, Flat, GpuSegment, Ivf, check_gpu, gpus, lock_of
from app.vectors.segments import Dead, FlatSegment
from app.vectors.snapshot import SnapshotKey
from app.vectors.tier import GpuKind, Tier
from tests.contract.test_vector_engines import DIM, IndexMachine

KIND_NAMES: tuple[GpuKind, ...] = get_args(GpuKind)
FLAT = FlatSegment
Untyped: TypeAlias = Any


@pytest.fixture(params=KIND_NAMES)
def kind(request: pytest.FixtureRequest) -> GpuKind:
    """A kind that this machine can make."""
    if not gpus():
        pytest.skip("FAISS sees no GPU here")
    missing = [name for name in KINDS[request.param].needs if not hasattr(faiss, name)]
    if missing:
        pytest.skip(f"this build of FAISS has no {', '.join(missing)}")
    found: GpuKind = request.param
    return found


def test_on_a_gpu_any_order_of_changes_leaves_what_brute_force_finds(
    kind: GpuKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(10_000))
    engine = FaissEngine(tmp_path, Tier(None, gpu=kind))
    key = SnapshotKey("contract", "f" * 64, "text", DIM)
    monkeypatch.setattr(IndexMachine, "place", staticmethod(lambda: engine.storage(next(numbers), key)), raising=False)
    examples = settings(max_examples=8, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(IndexMachine, settings=examples)


def test_on_a_gpu_the_best_ten_are_found(kind: GpuKind) -> None:
    vectors = clustered(20_000)
    assert recall(GpuSegment(np.arange(20_000), vectors, kind), vectors, Dead(np.arange(0, 900, 3))) >= 0.97


# ------------------------------------------------------------------------------------------ without a GPU


class Slow:
    """Notices two threads in one index."""

    def __init__(self, index: Untyped) -> None:
        self.index, self.busy, self.together = index, threading.Lock(), 0

    def __getattr__(self, name: str) -> Untyped:
        return getattr(self.index, name)

    def search(self, *args: Untyped, **named: Untyped) -> Untyped:
        if not self.busy.acquire(blocking=False):
            self.together += 1
            raise RuntimeError("two threads at once")
        try:
            time.sleep(0.0005)
            return self.index.search(*args, **named)
        finally:
            self.busy.release()


def rounded(vectors: Half, device: int) -> Untyped:
    """Flat, with scores as coarse as those of a query in fp16 are at worst."""
    index = faiss.IndexFlatIP(vectors.shape[1])

    class Coarse(Slow):
        def search(self, *args: Untyped, **named: Untyped) -> Untyped:
            query, k = args
            scores = np.round(vectors.astype(np.float32) @ query[0] * 1024) / 1024
            rows = np.argsort(-scores, kind="stable")[:k]
            return scores[None, rows], rows[None]

    return Coarse(index)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes of the processor where those of a GPU would be made."""

    def lists(self: Ivf, vectors: Half, device: int) -> Untyped:
        dim, count = vectors.shape[1], self.lists
        quantizer = faiss.IndexFlatIP(dim)
        inner = faiss.METRIC_INNER_PRODUCT
        index: Any = faiss.IndexIVFScalarQuantizer(quantizer, dim, count, faiss.ScalarQuantizer.QT_fp16, inner, False)
        return Slow(gpu.filled(index, vectors))

    monkeypatch.setattr(Flat, "made", lambda self, vectors, device: rounded(vectors, device))
    monkeypatch.setattr(Ivf, "made", lists)


def clustered(count: int, dim: int = 32) -> Half:
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((60, dim))
    found = centres[rng.integers(0, 60, count)] + 0.6 * rng.standard_normal((count, dim))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float16)


def recall(segment: GpuSegment, vectors: Half, dead: Dead) -> float:
    exact, hits = FLAT(np.arange(len(vectors)), vectors, vectors.shape[1]), 0
    for row in range(40):
        query = vectors[-row - 1].astype(np.float32)
        scores, rows = segment.search(query, 10, dead)
        assert len(rows) == 10
        assert not np.isin(rows, dead.rows).any()
        assert np.allclose(scores, vectors[rows].astype(np.float32) @ query, atol=1e-6)
        assert (np.diff(scores) <= 0).all()
        hits += len(set(rows.tolist()) & set(exact.search(query, 10, dead)[1].tolist()))
    return hits / 400


@pytest.mark.parametrize(("kind_here", "least"), [("flat", 1.0), ("ivf", 0.97)])
@pytest.mark.usefixtures("stand_in")
def test_candidates_are_scored_exactly_and_the_dead_are_dropped(kind_here: GpuKind, least: float) -> None:
    vectors = clustered(3000)
    segment = GpuSegment(np.arange(3000), vectors, kind_here)
    alive = np.ones(3000, bool)
    alive[::3] = False
    for dead in (Dead(np.empty(0, np.int64)), Dead.of(np.arange(0, 3000, 3), 3000)):
        assert recall(segment, vectors, dead) >= least


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("kind_here", ["flat", "ivf"])
def test_what_the_gpu_does_not_give_comes_from_memory(kind_here: GpuKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KINDS[kind_here], "most", 64)
    vectors = clustered(500)
    segment, exact = (
        GpuSegment(np.arange(500)[::-1].copy(), vectors, kind_here),
        FLAT(np.arange(500), vectors[::-1], 32),
    )
    query, dead = vectors[3].astype(np.float32), Dead.of(np.arange(100), 500)
    for k in (0, 1, 60, 400, 500):
        scores, rows = segment.search(query, k, dead)
        want, _ = exact.search(query, k, dead)
        assert len(rows) == len(want) == min(k, 400)
        if kind_here == "flat" or k > 48:
            assert np.allclose(scores, want, atol=1e-6)
    assert segment.ids.tolist() == list(range(500))
    assert np.array_equal(segment.contents(dead)[1], vectors[::-1][100:])


@pytest.mark.usefixtures("stand_in")
def test_one_thread_at_a_time_uses_a_gpu() -> None:
    vectors = clustered(1000)
    segments = [GpuSegment(np.arange(1000), vectors, "ivf") for _ in range(2)]
    found, none = list[int](), Dead(np.empty(0, np.int64))

    def ask(number: int) -> None:
        for row in range(20):
            found.append(len(segments[number % 2].search(vectors[row].astype(np.float32), 5, none)[1]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [5] * 120
    assert [segment.index.together for segment in segments] == [0, 0]
    assert lock_of(0) is lock_of(0) is not lock_of(1)


@pytest.mark.usefixtures("stand_in")
def test_lists_are_read_until_the_recall_is_reached() -> None:
    segment = GpuSegment(np.arange(3000), clustered(3000), "ivf")
    assert isinstance(segment._kind, Ivf)
    assert segment._kind.lists > 8
    few, segment._kind.probe = segment._kind.probe, 1
    assert few > 1
    while segment._kind.widen():
        pass
    assert segment._kind.probe == segment._kind.lists


def test_a_kind_that_cannot_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "gpus", lambda: 0)
    check_gpu("flat")  # for GPUs where there are some
    with pytest.raises(GpuIndexMissingError, match="DESCRY_GPU_INDEX=cagra needs a GPU"):
        check_gpu("cagra")
    engine = open_engine(Settings(data_dir=tmp_path, gpu_index="ivf"))
    with pytest.raises(GpuIndexMissingError):
        engine.storage(1, SnapshotKey("h", "f", "text", 4)).restart(lambda: 0)
    monkeypatch.setattr(gpu, "gpus", lambda: 1)
    monkeypatch.setattr(Cagra, "needs", ("GpuIndexCagraOfTomorrow",))
    with pytest.raises(GpuIndexMissingError, match="was built without GpuIndexCagraOfTomorrow"):
        check_gpu("cagra")
