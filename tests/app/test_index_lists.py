"""Shortlists: what a large index answers against what an exact one does, through changes, and from a snapshot."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import SnapshotError
from app.vectors import faiss_engine
from app.vectors.contract import Changes, Half
from app.vectors.faiss_engine import FaissIndex
from app.vectors.lists import Coarse, learn, list_count, principal, sample_size, threaded
from app.vectors.snapshot import Snapshot, SnapshotKey, SnapshotReader, save_snapshot
from app.vectors.tier import Tier
from tests.app.test_vector_index import NONE, brute_force, pairs

DIM, FILLED, SIZE = 32, 10, 6000
TIER = Tier(exact_up_to=2000, threads=2, seed=3)


def clustered(count: int, seed: int) -> Half:
    """Unit vectors around 300 centres, in few directions but for some noise, as those of pictures are."""
    centres = np.random.default_rng(0).standard_normal((300, FILLED))
    rng = np.random.default_rng(seed)
    inner = centres[rng.integers(0, 300, count)] + 0.5 * rng.standard_normal((count, FILLED))
    turned = np.linalg.qr(np.random.default_rng(1).standard_normal((DIM, DIM)))[0]
    found = inner @ turned[:FILLED] + 0.1 * rng.standard_normal((count, DIM))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float16)


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a shortlist of so few vectors, too: an index of this size would be read as a whole."""
    monkeypatch.setattr(faiss_engine, "_MUCH", 2)


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
    assert index.coarse.width < DIM
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
    monkeypatch.setattr("app.vectors.faiss_engine.choose", None)  # nothing is learnt again
    with SnapshotReader(tmp_path / "s", key, at_most=lambda: SIZE + 1).open() as found:
        again = FaissIndex.restored(DIM, found.sequence, found.coarse, found.pieces, TIER)
    assert (again.sequence, again.count) == (index.sequence, index.count) == (SIZE + 1, SIZE - 40)
    assert again.coarse is not None
    assert index.coarse is not None
    for field in ("probe", "shortlist", "recall"):
        assert getattr(again.coarse, field) == getattr(index.coarse, field)
    assert np.array_equal(again.coarse.components, index.coarse.components)
    assert np.array_equal(again.coarse.centroids, index.coarse.centroids)
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
            SnapshotReader(tmp_path / "s", key, at_most=lambda: SIZE).open() as found,
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
    found = learn(points, 640, threaded(1), seed=0)
    assert len(found) == list_count(640) == 64
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    nearest = (found @ centres.T).max(axis=1)
    assert (nearest > 0.98).all()  # each lies in one of the clusters
    assert len(set((found @ centres.T).argmax(axis=1).tolist())) == 16
    assert sample_size(640) == 640


def test_the_nearest_lists_come_nearest_first() -> None:
    eye = np.eye(8, dtype=np.float32)
    coarse = Coarse(eye, eye, 2, 100, 1.0)
    query = np.arange(8, dtype=np.float32)
    lists, similarity = coarse.nearest(query, 3)
    assert lists.tolist() == [[7, 6, 5]]
    assert similarity.tolist() == [[7, 6, 5]]
    assert coarse.nearest(query, 8)[0].tolist() == [[7, 6, 5, 4, 3, 2, 1, 0]]
    assert [coarse.probes(k) for k in (1, 10, 160, 10_000)] == [2, 2, 4, 8]
    assert [coarse.scored(k) for k in (1, 10, 40, 10_000)] == [100, 100, 200, 40_000]


def test_the_directions_that_vectors_fill_come_first(vectors: Half) -> None:
    directions, first = principal(vectors)
    assert first == 16  # the step that holds the ten
    assert np.allclose(directions.T @ directions, np.eye(DIM), atol=1e-4)
    energy = ((vectors.astype(np.float32) @ directions) ** 2).mean(axis=0)
    assert (np.diff(energy) <= 1e-6).all()
    assert energy[:FILLED].sum() > 0.9


def test_vectors_that_fill_all_directions_are_searched_exactly() -> None:
    rng = np.random.default_rng(4)
    wide = rng.standard_normal((SIZE, DIM))
    every = np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), np.float16)
    index = FaissIndex(DIM, tier=TIER)
    index.apply(Changes(SIZE, np.arange(SIZE), every, NONE))
    index.compact()
    assert index.coarse is None
    assert not index.wants_compaction  # it is not tried again and again
    query = every[5].astype(np.float32)
    assert pairs(index.search(query, 20)) == brute_force(stored(every), query, 20)


def test_new_segments_are_sketched_beside_the_large_sketch(index: FaissIndex, vectors: Half) -> None:
    every = stored(vectors)
    for step in range(4):
        more, first = clustered(150, 50 + step), SIZE + 150 * step
        index.apply(Changes(first + 150, np.arange(first, first + 150), more, NONE))
        every |= {first + at: row for at, row in enumerate(more)}
        index.compact()
        sketched = [segment for sketch in index.sketches for segment in sketch.segments]
        assert sorted(map(id, sketched)) == sorted(map(id, index.segments))
        assert len(index.sketches) <= 2
        query = more[3].astype(np.float32)
        assert index.search(query, 1).ids.tolist() == [first + 3]
        hits = sum(len(set(pairs(index.search(q, 10))) & set(brute_force(every, q, 10))) for q in queries(20))
        assert hits >= 0.97 * 200


def test_those_next_to_many_deleted_ones_are_found(index: FaissIndex, vectors: Half) -> None:
    query = queries(1)[0]
    near = [number for number, _ in brute_force(stored(vectors), query, 400)]
    # Fewer than a compaction waits for, but all that a shortlist would name at first.
    index.apply(Changes(SIZE + 1, np.empty(0, np.int64), np.empty((0, DIM), np.float16), np.array(near)))
    exact = brute_force(stored(vectors, set(near)), query, 10)
    found = pairs(index.search(query, 10))
    assert len(set(found) & set(exact)) >= 9
