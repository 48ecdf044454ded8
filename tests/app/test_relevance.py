"""What verdicts do to the vector of a query."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.queries.relevance import CONFIRMED, REJECTED, Vectors, logistic, rocchio


def unit(rng: np.random.Generator, *shape: int) -> Vectors:
    rows = rng.standard_normal(shape)
    found: Vectors = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return found


@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(0, 5), st.floats(0, 3), st.floats(0, 3))
def test_rocchio_is_the_weighed_sum_at_unit_norm(seed: int, yes: int, no: int, beta: float, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    query, confirmed, rejected = unit(rng, 8), unit(rng, yes, 8), unit(rng, no, 8)
    wanted = query.astype(float)
    wanted = wanted + beta * (sum(confirmed) / yes if yes else 0) - gamma * (sum(rejected) / no if no else 0)
    moved = rocchio(query, confirmed, rejected, beta, gamma)
    assert moved.dtype == np.float32
    assert np.linalg.norm(moved) == pytest.approx(1, abs=1e-5)
    if np.linalg.norm(wanted) > 1e-3:
        assert np.allclose(moved, wanted / np.linalg.norm(wanted), atol=1e-4)


def test_nothing_judged_changes_nothing_and_nothing_left_is_the_query() -> None:
    query = unit(np.random.default_rng(0), 8)
    none = np.empty((0, 8), np.float32)
    assert np.allclose(rocchio(query, none, none), query)
    assert np.allclose(rocchio(query, none, query[None], gamma=1.0), query)
    assert logistic(query, query[None], none, 1.0, 1.0) is query


def test_rejections_alone_leave_the_query_where_it_is() -> None:
    """As measured: `python -m benchmarks.feedback`."""
    rng = np.random.default_rng(1)
    query, rejected = unit(rng, 8), unit(rng, 3, 8)
    assert REJECTED == 0
    assert CONFIRMED > 0
    assert np.allclose(rocchio(query, np.empty((0, 8), np.float32), rejected), query)


def test_logistic_turns_towards_what_was_confirmed_and_away_from_what_was_rejected() -> None:
    rng = np.random.default_rng(2)
    query, confirmed, rejected = unit(rng, 8), unit(rng, 2, 8), unit(rng, 6, 8)
    moved = logistic(query, confirmed, rejected, 1.0, 10.0)
    assert np.linalg.norm(moved) == pytest.approx(1, abs=1e-5)

    def apart(vector: Vectors) -> float:
        return float((confirmed @ vector).mean() - (rejected @ vector).mean())

    assert apart(moved) > apart(query)
