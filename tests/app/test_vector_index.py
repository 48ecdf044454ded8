"""The index engine against brute force, under additions, deletions, compactions and many readers."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from app.errors import FaissConflictError
from app.vectors import installation
from app.vectors.contract import Changes, Half, Hits, VectorIndex
from app.vectors.faiss_engine import FaissIndex
from app.vectors.installation import check_installation

DIM = 8
ENGINES: list[Callable[[int], VectorIndex]] = [FaissIndex]
NONE = np.empty(0, np.int64)


def unit(seed: int, count: int, dim: int = DIM) -> Half:
    """Unit vectors from a small set, so that equal vectors and equal scores are common."""
    found = np.random.default_rng(seed).integers(-1, 2, (count, dim)).astype(np.float32)
    found[:, 0] += 2
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float16)


def brute_force(stored: dict[int, NDArray[np.float16]], query: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
    scored = [
        (number, float(np.float32((vector.astype(np.float64) * query.astype(np.float64)).sum())))
        for number, vector in stored.items()
    ]
    return sorted(scored, key=lambda item: (-item[1], item[0]))[:k]


def pairs(hits: Hits) -> list[tuple[int, float]]:
    return list(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True))


@pytest.mark.parametrize("engine", ENGINES)
class TestContract:
    def test_an_empty_index_answers_nothing(self, engine: Callable[[int], VectorIndex]) -> None:
        index = engine(DIM)
        assert pairs(index.search(unit(0, 1)[0].astype(np.float32), 5)) == []
        assert (index.count, index.sequence) == (0, 0)

    def test_ties_come_by_id_however_many(self, engine: Callable[[int], VectorIndex]) -> None:
        index = engine(DIM)
        vector = unit(1, 1)
        ids = np.random.default_rng(0).permutation(500).astype(np.int64)
        index.apply(Changes(500, ids[:300], np.repeat(vector, 300, 0), NONE))
        index.compact()
        index.apply(Changes(600, ids[300:], np.repeat(vector, 200, 0), NONE))
        assert index.search(vector[0].astype(np.float32), 40).ids.tolist() == list(range(40))

    def test_scores_of_chosen_images(self, engine: Callable[[int], VectorIndex]) -> None:
        index, vectors = engine(DIM), unit(2, 50)
        index.apply(Changes(1, np.arange(30), vectors[:30], NONE))
        index.compact()
        index.apply(Changes(2, np.arange(30, 50), vectors[30:], np.array([3, 31])))
        query = unit(9, 1)[0].astype(np.float32)
        wanted = np.array([1, 3, 31, 40, 7, 999])
        found = {i: vectors[i] for i in (1, 40, 7)}
        assert pairs(index.scores(query, wanted)) == brute_force(found, query, 9)
        for k in (0, 2, 9):
            assert pairs(index.among(query, wanted, k)) == brute_force(found, query, k)
            assert pairs(VectorIndex.among(index, query, wanted, k)) == brute_force(found, query, k)
        assert pairs(index.among(query, NONE, 5)) == []


class IndexMachine(RuleBasedStateMachine):
    """Any order of additions, deletions and compactions leaves what brute force finds."""

    def __init__(self) -> None:
        super().__init__()
        self.index: VectorIndex = FaissIndex(DIM)
        self.stored: dict[int, NDArray[np.float16]] = {}
        self.next, self.sequence = 1, 0

    @rule(count=st.integers(0, 40), seed=st.integers(0, 999), gone=st.lists(st.integers(0, 200), max_size=12))
    def change(self, count: int, seed: int, gone: list[int]) -> None:
        vectors = unit(seed, count)
        ids = np.arange(self.next, self.next + count, dtype=np.int64)[::-1].copy()
        self.next, self.sequence = self.next + count, self.sequence + count + len(gone)
        self.stored.update(zip(ids.tolist(), vectors, strict=True))
        for number in gone:
            self.stored.pop(number, None)
        self.index.apply(Changes(self.sequence, ids, vectors, np.array(gone, np.int64)))

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule()
    def restart(self) -> None:
        sequence, ids, vectors = self.index.contents()
        self.index = FaissIndex(DIM, sequence=sequence, ids=ids, vectors=vectors)

    @rule(seed=st.integers(0, 999), k=st.integers(1, 120))
    def search(self, seed: int, k: int) -> None:
        query = unit(seed, 1)[0].astype(np.float32)
        assert pairs(self.index.search(query, k)) == brute_force(self.stored, query, k)

    @rule(seed=st.integers(0, 999), k=st.integers(1, 120), share=st.floats(0, 1))
    def search_among(self, seed: int, k: int, share: float) -> None:
        query = unit(seed, 1)[0].astype(np.float32)
        wanted = np.flatnonzero(np.random.default_rng(seed).random(self.next + 3) < share)[::-1].copy()
        stored = {number: vector for number, vector in self.stored.items() if number in set(wanted.tolist())}
        assert pairs(self.index.among(query, wanted, k)) == brute_force(stored, query, k)

    @invariant()
    def counts(self) -> None:
        assert (self.index.count, self.index.sequence) == (len(self.stored), self.sequence)


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_realistic_vectors_equal_brute_force() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((5000, 256)).astype(np.float32)
    half = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    index = FaissIndex(256)
    index.apply(Changes(5000, np.arange(5000), half, np.arange(0, 5000, 7)))
    index.compact()
    stored = {number: half[number] for number in range(5000) if number % 7}
    for row in range(5):
        query = vectors[row] / np.linalg.norm(vectors[row])
        assert pairs(index.search(query, 100)) == brute_force(stored, query, 100)
        few = {number: half[number] for number in range(row, 5000, 40) if number in stored}
        assert pairs(index.among(query, np.arange(row, 5000, 40), 60)) == brute_force(few, query, 60)


def test_readers_writers_and_compactions_at_once() -> None:
    index = FaissIndex(DIM)
    deleted: set[int] = set()
    failures: list[str] = []
    stop = threading.Event()

    def read() -> None:
        query = unit(5, 1)[0].astype(np.float32)
        while not stop.is_set():
            before = set(deleted)
            ids = index.search(query, 50).ids.tolist()
            if len(set(ids)) != len(ids):
                failures.append("an image came twice")
            if before & set(ids):
                failures.append("a deleted image came")

    def compact() -> None:
        while not stop.is_set():
            index.compact()

    threads = [threading.Thread(target=read) for _ in range(6)] + [threading.Thread(target=compact)]
    for thread in threads:
        thread.start()
    rng = np.random.default_rng(0)
    for step in range(150):
        ids = np.arange(step * 20, step * 20 + 20)
        gone = rng.choice(step * 20 + 1, 5)
        index.apply(Changes(step + 1, ids, unit(step, 20), gone))
        deleted.update(gone.tolist())
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert index.count == 3000 - len([number for number in deleted if number < 3000])


def test_none_of_a_small_segment_are_wanted() -> None:
    index = FaissIndex(DIM, ids=np.arange(10), vectors=unit(1, 10), sequence=1)
    assert pairs(index.among(np.ones(DIM, np.float32), np.array([77, 78]), 5)) == []


def test_two_faiss_builds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installation()
    monkeypatch.setattr(installation, "_installed", lambda name: name != "faiss-gpu-cu12")
    with pytest.raises(FaissConflictError, match="faiss-cpu and faiss-gpu are both installed"):
        FaissIndex(DIM)
