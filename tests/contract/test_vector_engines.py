"""Every vector engine against brute force, and so against each other, under any order of changes and restarts."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from numpy.typing import NDArray

from app.vectors import milvus_engine
from app.vectors.contract import Changes, Ids, VectorIndex
from app.vectors.engines import Engine, FaissEngine, MilvusEngine, Storage
from app.vectors.snapshot import SnapshotKey
from tests.app.test_vector_index import brute_force, pairs, unit
from tests.contract.milvus import need_milvus_lite

DIM = 8
NONE = np.empty(0, np.int64)
Query = NDArray[np.float32]
NewStorage = Callable[[int], Storage]


@pytest.fixture(scope="module", params=["faiss", "milvus"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "milvus":
        need_milvus_lite()
    found = FaissEngine(folder) if request.param == "faiss" else MilvusEngine(str(folder / "milvus.db"))
    yield found
    found.close()


@pytest.fixture
def storage(engine: Engine) -> Iterator[NewStorage]:
    """Makes the place of one more view, which holds nothing; each call another one."""
    numbers = itertools.count(1)
    yield lambda dim: engine.storage(next(numbers), SnapshotKey("contract", "f" * 64, "text", dim))
    for number in range(1, next(numbers)):
        engine.forget(number, "contract")


def asked(seed: int, dim: int = DIM) -> Query:
    return np.asarray(unit(seed, 1, dim)[0], np.float32)


def ids_of(*numbers: int) -> Ids:
    return np.array(numbers, np.int64)


def fresh(storage: Storage) -> VectorIndex:
    assert storage.reopen(lambda: 0) is None
    return storage.restart(lambda: 0)


def test_an_empty_index_answers_nothing(storage: NewStorage) -> None:
    index = fresh(storage(DIM))
    assert pairs(index.search(asked(0), 5)) == []
    assert pairs(index.scores(asked(0), ids_of(1, 2))) == []
    assert (index.count, index.sequence, index.added, index.ids().tolist()) == (0, 0, 0, [])


def test_ties_come_by_id_however_many(storage: NewStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus_engine, "TOP", 64)
    index, vector = fresh(storage(DIM)), unit(1, 1)
    ids = np.random.default_rng(0).permutation(500).astype(np.int64)
    index.apply(Changes(500, ids[:300], np.repeat(vector, 300, 0), NONE))
    index.compact()
    index.apply(Changes(600, ids[300:], np.repeat(vector, 200, 0), NONE))
    for k in (1, 40, 65, 500, 501):
        assert index.search(vector[0].astype(np.float32), k).ids.tolist() == list(range(min(k, 500)))


def test_scores_of_chosen_images(storage: NewStorage) -> None:
    index, vectors = fresh(storage(DIM)), unit(2, 50)
    index.apply(Changes(1, np.arange(30), vectors[:30], NONE))
    index.compact()
    index.apply(Changes(2, np.arange(30, 50), vectors[30:], ids_of(3, 31)))
    found = {i: vectors[i] for i in (1, 40, 7)}
    assert pairs(index.scores(asked(9), ids_of(1, 3, 31, 40, 7, 999))) == brute_force(found, asked(9), 9)


def test_realistic_vectors_equal_brute_force(storage: NewStorage) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((1500, 128)).astype(np.float32)
    half = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    index = fresh(storage(128))
    index.apply(Changes(1500, np.arange(1500), half, np.arange(0, 1500, 7)))
    index.compact()
    stored = {number: half[number] for number in range(1500) if number % 7}
    for row in range(4):
        query = vectors[row] / np.linalg.norm(vectors[row])
        assert pairs(index.search(query, 100)) == brute_force(stored, query, 100)


def test_a_restarted_process_goes_on_where_the_index_was(storage: NewStorage) -> None:
    place, vectors = storage(DIM), unit(4, 20)
    index = fresh(place)
    index.apply(Changes(25, np.arange(1, 21), vectors, ids_of(2, 3)))
    place.save(index)
    again = place.reopen(lambda: 25)
    assert again is not None
    assert (again.sequence, again.added, again.count) == (25, 25, 18)
    sequence, ids, kept = again.contents()
    assert (sequence, sorted(ids.tolist())) == (25, [1, *range(4, 21)])
    assert {number: vector.tobytes() for number, vector in zip(ids.tolist(), kept, strict=True)} == {
        number: vectors[number - 1].tobytes() for number in ids.tolist()
    }


class IndexMachine(RuleBasedStateMachine):
    """Any order of changes and restarts leaves what brute force finds."""

    place: Callable[[], Storage]

    def __init__(self) -> None:
        super().__init__()
        self.storage = type(self).place()
        self.index = fresh(self.storage)
        self.stored: dict[int, NDArray[np.float16]] = {}
        self.next, self.sequence = 1, 0
        self.last: Changes | None = None

    @rule(
        count=st.integers(0, 40),
        again=st.integers(0, 6),
        seed=st.integers(0, 999),
        gone=st.lists(st.integers(0, 150), max_size=12),
    )
    def change(self, count: int, again: int, seed: int, gone: list[int]) -> None:
        replaced = sorted(self.stored)[:again]
        ids = np.array([*range(self.next, self.next + count), *replaced], np.int64)[::-1].copy()
        vectors = unit(seed, len(ids))
        self.next, self.sequence = self.next + count, self.sequence + len(ids) + len(gone)
        gone = [number for number in gone if number < self.next]  # ids are never used twice
        self.stored.update(zip(ids.tolist(), vectors, strict=True))
        for number in gone:
            self.stored.pop(number, None)
        self.last = Changes(self.sequence, ids, vectors, np.array(gone, np.int64))
        self.index.apply(self.last)

    @rule()
    def repeat(self) -> None:
        """As a process does that was killed before it had noted how far it was."""
        if self.last is not None:
            self.index.apply(self.last)

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule()
    def restart(self) -> None:
        self.storage.save(self.index)
        index = self.storage.reopen(lambda: self.sequence)
        assert index is not None
        self.index = index

    @rule(seed=st.integers(0, 999), k=st.integers(1, 150))
    def search(self, seed: int, k: int) -> None:
        assert pairs(self.index.search(asked(seed), k)) == brute_force(self.stored, asked(seed), k)

    @rule(seed=st.integers(0, 999), chosen=st.sets(st.integers(0, 150)))
    def scores(self, seed: int, chosen: set[int]) -> None:
        found = {number: self.stored[number] for number in chosen & set(self.stored)}
        hits = self.index.scores(asked(seed), np.array(sorted(chosen), np.int64))
        assert pairs(hits) == brute_force(found, asked(seed), len(found))

    @rule(seed=st.integers(0, 999), chosen=st.sets(st.integers(0, 150), min_size=20), k=st.integers(1, 30))
    def among(self, seed: int, chosen: set[int], k: int) -> None:
        found = {number: self.stored[number] for number in chosen & set(self.stored)}
        hits = self.index.among(asked(seed), np.array(sorted(chosen), np.int64), k)
        assert pairs(hits) == brute_force(found, asked(seed), k)

    @invariant()
    def counts(self) -> None:
        assert (self.index.count, self.index.sequence) == (len(self.stored), self.sequence)

    def teardown(self) -> None:
        sequence, ids, vectors = self.index.contents()
        assert sequence == self.sequence
        assert sorted(self.index.ids().tolist()) == sorted(ids.tolist()) == sorted(self.stored)
        assert all(self.stored[number].tobytes() == row.tobytes() for number, row in zip(ids, vectors, strict=True))


@pytest.mark.parametrize("top", [milvus_engine.TOP, 24])
def test_any_order_of_changes_leaves_what_brute_force_finds(
    storage: NewStorage, top: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_engine, "TOP", top)
    monkeypatch.setattr(IndexMachine, "place", staticmethod(lambda: storage(DIM)), raising=False)
    examples = settings(max_examples=8, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(IndexMachine, settings=examples)
