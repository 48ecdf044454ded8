"""Inverted lists: what a large index answers against what an exact one does, through changes, and from a snapshot."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import SnapshotError
from app.vectors.contract import Changes, Half
from app.vectors.faiss_engine import FaissIndex
from app.vectors.lists import Coarse, learn, list_count, sample_size, threaded
from app.vectors.snapshot import Snapshot, SnapshotKey, SnapshotReader, save_snapshot
from app.vectors.tier import Tier
from tests.app.test_vector_index import NONE, brute_force, pairs

DIM, SIZE = 32, 6000
TIER = Tier(exact_up_to=2000, threads=2, seed=3)


def clustered(count: int, seed: int) -> Half:
    """Unit vectors around 300 centres."""
    centres = np.random.default_rng(0).standard_normal((300, DIM))
    rng = np.random.default_rng(seed)
    found = centres[rng.integers(0, 300, count)] + 0.5 * rng.standard_normal((count, DIM))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float16)


@pytest.fixture(scope="module")
def vectors() -> Half:
    return clustered(SIZE, 1)


@pytest.fixture
def index(vectors: Half) -> FaissIndex:
    found = FaissIndex(DIM, tier=TIER)
    found.apply(Changes(SIZE, np.arange(SIZE), vectors, NONE))
    found.compact()
    found.compact()
    assert found.coarse is not None
    assert not found.wants_compaction
    return found


def queries(count: int = 40) -> NDArray[np.float32]:
    return clustered(count, 77).astype(np.float32)


def stored(vectors: Half, without: set[int] = frozenset()) -> dict[int, NDArray[np.float16]]:  # type: ignore[assignment]
    return {number: vectors[number] for number in range(len(vectors)) if number not in without}


def test_most_of_the_best_ten_are_found_by_reading_few_lists(index: FaissIndex, vectors: Half) -> None:
    assert index.coarse is not None
    assert index.coarse.probe < index.coarse.count == list_count(SIZE)
    assert 0.995 <= index.coarse.recall <= 1
    hits = 0
    for query in queries():
        exact = brute_force(stored(vectors), query, 10)
        found = pairs(index.search(query, 10))
        assert len(found) == 10
        hits += len(set(found) & set(exact))  # scores are exact, wherever the vector lies
    assert hits >= 0.97 * 400


def test_many_are_found_however_few_lists_are_read_at_first(index: FaissIndex, vectors: Half) -> None:
    query = queries(1)[0]
    for k in (1, 100, 1000, SIZE - 1, SIZE, 2 * SIZE):
        ids = index.search(query, k).ids.tolist()
        assert len(ids) == len(set(ids)) == min(k, SIZE)
    assert pairs(index.search(query, SIZE)) == brute_force(stored(vectors), query, SIZE)
    some = np.arange(0, SIZE, 37)
    assert pairs(index.scores(query, some)) == brute_force({int(i): vectors[i] for i in some}, query, SIZE)


def test_deleted_ones_are_gone_and_new_ones_there(index: FaissIndex, vectors: Half) -> None:
    more, gone = clustered(500, 5), np.arange(0, SIZE, 3)
    index.apply(Changes(SIZE + 1, np.arange(SIZE, SIZE + 500), more, gone))
    every = {**stored(vectors, set(gone.tolist())), **{SIZE + at: row for at, row in enumerate(more)}}
    for compacted in (False, True):
        if compacted:
            assert index.wants_compaction
            index.compact()
        assert index.count == len(every)
        for query in queries(5):
            ids = index.search(query, 50).ids.tolist()
            assert len(ids) == 50
            assert set(ids) <= set(every)
        query = more[7].astype(np.float32)
        assert index.search(query, 1).ids.tolist() == [SIZE + 7]
        assert pairs(index.search(query, len(every))) == brute_force(every, query, len(every))


def test_what_is_replaced_while_lists_are_made_is_the_new_one(vectors: Half) -> None:
    index = FaissIndex(DIM, tier=TIER)
    index.apply(Changes(SIZE, np.arange(SIZE), vectors, NONE))
    index.compact()
    other = clustered(SIZE, 9)
    failures: list[str] = []
    done = threading.Event()

    def search() -> None:
        query = queries(1)[0]
        while not done.is_set():
            ids = index.search(query, 20).ids.tolist()
            if len(ids) != 20 or len(set(ids)) != 20:
                failures.append(f"{len(ids)} found, {len(set(ids))} different")

    def replaces() -> None:
        for start in range(0, SIZE, 100):
            ids = np.arange(start, start + 100)
            index.apply(Changes(SIZE + start + 1, ids, other[start : start + 100], NONE))

    threads = [threading.Thread(target=search), threading.Thread(target=replaces)]
    for thread in threads:
        thread.start()
    index.compact()
    threads[1].join()
    done.set()
    threads[0].join()
    assert failures == []
    index.compact()
    query = queries(1)[0]
    assert pairs(index.search(query, SIZE)) == brute_force(stored(other), query, SIZE)


def test_a_snapshot_brings_the_lists_back(index: FaissIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.apply(Changes(SIZE + 1, np.arange(SIZE, SIZE + 50), clustered(50, 6), np.arange(0, 90)))
    key = SnapshotKey("h", "f", "text", DIM)
    save_snapshot(tmp_path / "s", Snapshot(key, *index.pieces()))
    monkeypatch.setattr("app.vectors.faiss_engine.learn", None)  # nothing is learnt again
    with SnapshotReader(tmp_path / "s", key, at_most=SIZE + 1).open() as found:
        again = FaissIndex.restored(DIM, found.sequence, found.coarse, found.pieces, TIER)
    assert (again.sequence, again.count) == (index.sequence, index.count) == (SIZE + 1, SIZE - 40)
    assert again.coarse is not None
    assert index.coarse is not None
    assert (again.coarse.probe, again.coarse.recall) == (index.coarse.probe, index.coarse.recall)
    for query in queries(10):
        assert pairs(again.search(query, 10)) == pairs(index.search(query, 10))


def test_lists_that_cannot_be_are_refused(index: FaissIndex, tmp_path: Path) -> None:
    key = SnapshotKey("h", "f", "text", DIM)
    sequence, coarse, pieces = index.pieces()
    assert coarse is not None
    wrong = [replace(piece, lists=np.full(len(piece.ids), coarse.count, np.int32)) for piece in pieces]
    for snapshot in (Snapshot(key, sequence, coarse, wrong), Snapshot(key, sequence, None, wrong)):
        save_snapshot(tmp_path / "s", snapshot)
        with (
            pytest.raises(SnapshotError, match="is damaged"),
            SnapshotReader(tmp_path / "s", key, at_most=SIZE).open() as found,
        ):
            list(found.pieces)


def test_an_index_that_grows_gets_more_lists(vectors: Half) -> None:
    index = FaissIndex(DIM, tier=replace(TIER, exact_up_to=300))
    index.apply(Changes(1, np.arange(400), vectors[:400], NONE))
    index.compact()
    assert index.coarse is not None
    before = index.coarse.count
    index.apply(Changes(2, np.arange(400, SIZE), vectors[400:], NONE))
    index.compact()
    assert index.coarse.count >= 2 * before
    query = queries(1)[0]
    assert pairs(index.search(query, SIZE)) == brute_force(stored(vectors), query, SIZE)


def test_equal_vectors_make_lists_that_work() -> None:
    same = np.repeat(clustered(1, 1), 3000, axis=0)
    index = FaissIndex(DIM, tier=TIER)
    index.apply(Changes(1, np.arange(3000), same, NONE))
    index.compact()
    assert len(set(index.search(same[0].astype(np.float32), 40).ids.tolist())) == 40


def test_centroids_are_those_of_clusters_that_are_there() -> None:
    centres = np.eye(DIM, dtype=np.float32)[:16]
    rng = np.random.default_rng(0)
    points = np.repeat(centres, 40, axis=0) + 0.02 * rng.standard_normal((640, DIM)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    found = learn(points.astype(np.float16), 640, threaded(1), seed=0)
    assert len(found) == list_count(640) == 128
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    nearest = (found @ centres.T).max(axis=1)
    assert (nearest > 0.98).all()  # each lies in one of the clusters
    assert len(set((found @ centres.T).argmax(axis=1).tolist())) == 16
    assert sample_size(640) == 640


def test_the_nearest_lists_come_nearest_first() -> None:
    coarse = Coarse(np.eye(8, dtype=np.float32), 2, 1.0)
    query = np.arange(8, dtype=np.float32)
    lists, similarity = coarse.nearest(query, 3)
    assert lists.tolist() == [[7, 6, 5]]
    assert similarity.tolist() == [[7, 6, 5]]
    assert coarse.nearest(query, 8)[0].tolist() == [[7, 6, 5, 4, 3, 2, 1, 0]]
    assert [coarse.probes(k) for k in (1, 10, 40, 10_000)] == [2, 2, 4, 8]
