"""A long log taken in at once leaves what piece by piece leaves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.vectors import faiss_engine
from app.vectors.bulk import gathered
from app.vectors.contract import Changes
from app.vectors.faiss_engine import FaissIndex
from app.vectors.sketches import stale
from tests.app.test_index_lists import SIZE, TIER, clustered
from tests.app.test_vector_index import DIM, NONE, brute_force, pairs, unit


@st.composite
def logs(draw: st.DrawFn) -> list[Changes]:
    """Pieces of any size, ids in any order, some again, some deleted (those never come again)."""
    pieces, sequence, following, gone = [], 0, 1, set[int]()
    for _ in range(draw(st.integers(0, 6))):
        count, seed = draw(st.integers(0, 40)), draw(st.integers(0, 99))
        known = sorted(set(range(1, following)) - gone)
        again = draw(st.lists(st.sampled_from(known), unique=True, max_size=4)) if known else []
        ids = np.array([*range(following, following + count), *again], np.int64)
        ids = ids[np.random.default_rng(seed).permutation(len(ids))]
        following += count
        deleted = draw(st.lists(st.integers(1, 150), unique=True, max_size=6))
        deleted = [number for number in deleted if number < following]
        gone.update(deleted)
        sequence += len(ids) + len(deleted)
        pieces.append(Changes(sequence, ids, unit(seed, len(ids)), np.array(deleted, np.int64)))
    return pieces


def contents(index: FaissIndex) -> tuple[int, dict[int, bytes]]:
    sequence, ids, vectors = index.contents()
    return sequence, {number: row.tobytes() for number, row in zip(ids.tolist(), vectors, strict=True)}


@settings(max_examples=60, deadline=None)
@given(logs(), st.integers(1, 50), st.integers(0, 30), st.integers(0, 6))
def test_load_leaves_what_apply_leaves(pieces: list[Changes], rows: int, delta: int, before: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faiss_engine, "ROWS", rows)
        patch.setattr(faiss_engine, "_DELTA", delta)
        one, other = FaissIndex(DIM), FaissIndex(DIM)
        for piece in pieces:
            one.apply(piece)
        for piece in pieces[:before]:
            other.apply(piece)
        other.load(iter(pieces[before:]))
        assert contents(other) == contents(one)
        query = unit(7, 1)[0].astype(np.float32)
        assert pairs(other.search(query, 20)) == pairs(one.search(query, 20))
        other.compact()
        assert contents(other) == contents(one)


def test_pieces_are_full_and_never_claim_what_is_not_in_them() -> None:
    source = [Changes(10 * n, np.arange(10 * n - 9, 10 * n + 1), unit(n, 10), NONE) for n in range(1, 6)]
    found = list(gathered(iter(source), 16, DIM, after=0))
    assert [len(piece.ids) for piece in found] == [16, 16, 16, 2]
    assert [piece.sequence for piece in found] == [10, 30, 40, 50]
    assert np.concatenate([piece.ids for piece in found]).tolist() == list(range(1, 51))
    whole = np.concatenate([piece.vectors for piece in source])
    assert np.array_equal(np.concatenate([piece.vectors for piece in found]), whole)


def test_what_comes_to_a_shortlist_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_engine, "_DELTA", 100)
    vectors, index = clustered(SIZE + 900, 1), FaissIndex(32, tier=TIER)
    index.load(iter([Changes(SIZE, np.arange(SIZE), vectors[:SIZE], NONE)]))
    index.compact()
    assert index.coarse is not None
    index.load(iter([Changes(SIZE + 900, np.arange(SIZE, SIZE + 900), vectors[SIZE:], NONE)]))
    assert not stale(index.sketches, index.segments, index.coarse)
    assert index.search(vectors[-1].astype(np.float32), 1).ids.tolist() == [SIZE + 899]


def test_a_segment_that_comes_while_a_compaction_runs_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_engine, "_DELTA", 5)
    index, vectors = FaissIndex(DIM), unit(1, 60)
    stored: dict[int, NDArray[np.float16]] = {}

    def pieces() -> list[Changes]:
        found = []
        for start in (0, 20, 40):
            stored.update({number: vectors[number] for number in range(start, start + 20)})
            found.append(Changes(start + 20, np.arange(start, start + 20), vectors[start : start + 20], NONE))
        return found

    for piece in pieces():
        index.load(iter([piece]))
        index.compact()
    query = unit(3, 1)[0].astype(np.float32)
    assert pairs(index.search(query, 60)) == brute_force(stored, query, 60)
