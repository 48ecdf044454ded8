"""Two halves of a search: the same result as the whole, in two threads for whoever is alone."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.vectors import faiss_engine, sketches
from app.vectors.contract import Changes
from app.vectors.faiss_engine import FaissIndex
from app.vectors.halves import Halves
from tests.app.test_index_lists import DIM, SIZE, TIER, clustered, queries
from tests.app.test_vector_index import NONE


def test_whoever_is_alone_has_two_threads_and_others_one() -> None:
    halves, inside, go_on = Halves(2), threading.Barrier(3), threading.Event()
    seen: list[list[int]] = []

    def held(_: int) -> int:
        inside.wait(60)
        go_on.wait(60)
        return threading.get_ident()

    alone = threading.Thread(target=lambda: seen.append(list(halves(held, [0, 1]))))
    alone.start()
    inside.wait(60)  # both halves are under way at the same time
    assert halves(lambda _: threading.get_ident(), [0, 1]) == [threading.get_ident()] * 2
    go_on.set()
    alone.join(60)
    assert seen[0][0] == alone.ident != seen[0][1]
    assert len(set(halves(lambda _: threading.get_ident(), [0, 1]))) == 2  # alone again
    assert len(set(Halves(1)(lambda _: threading.get_ident(), [0, 1]))) == 1


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_of_either_half_is_raised_once_both_have_ended(bad: int) -> None:
    ended = []

    def half(which: int) -> None:
        try:
            if which == bad:
                raise ArithmeticError(f"half {which}")
        finally:
            ended.append(which)

    halves = Halves(2)
    with pytest.raises(ArithmeticError, match=f"half {bad}"):
        halves(half, [0, 1])
    assert sorted(ended) == [0, 1]
    assert halves(abs, [-1, -2]) == [1, 2]


def test_a_search_by_halves_finds_what_a_whole_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(SIZE, 1)
    whole, halved = (FaissIndex(DIM, tier=replace(TIER, threads=threads)) for threads in (1, 2))
    for index in (whole, halved):
        index.load(iter([Changes(SIZE, np.arange(SIZE), vectors, NONE)]))
        index.compact()
        assert index.coarse is not None
    monkeypatch.setattr(sketches, "_MUCH", 1)
    monkeypatch.setattr(faiss_engine, "_MUCH", 2)
    used, both = [], halved._halves

    def counted(function: Callable[[Any], Any], items: Sequence[Any]) -> Sequence[Any]:
        used.append(len(items))
        return both(function, items)

    monkeypatch.setattr(halved, "_halves", counted)
    for query in queries():
        for k in (1, 10, 100):
            one, two = whole.search(query, k), halved.search(query, k)
            assert one.ids.tolist() == two.ids.tolist()
            assert one.scores.tolist() == two.scores.tolist()
    assert used
    assert set(used) == {2}
