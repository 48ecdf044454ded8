"""Metrics against a computation that shares nothing with them: plain loops over Python lists."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.errors import NothingRelevantError
from training.evaluation import Metrics, retrieval_metrics


def by_hand(scores: list[list[float]], queries: list[int], gallery: list[int]) -> dict[str, float]:
    firsts, precisions, penalties = [], [], []
    for row, wanted in zip(scores, queries, strict=True):
        order = sorted(range(len(gallery)), key=lambda image: (-row[image], image))
        ranks = [rank for rank, image in enumerate(order, start=1) if gallery[image] == wanted]
        if not ranks:
            continue
        firsts.append(ranks[0])
        precisions.append(sum(hit / rank for hit, rank in enumerate(ranks, start=1)) / len(ranks))
        penalties.append(len(ranks) / ranks[-1])
    count = len(firsts)
    result = {f"r{k}": 100 * sum(first <= k for first in firsts) / count for k in (1, 5, 10)}
    result |= {"mean_ap": 100 * sum(precisions) / count, "mean_inp": 100 * sum(penalties) / count}
    return result | {"queries": count, "skipped": len(queries) - count}


def measured(scores: list[list[float]], queries: list[int], gallery: list[int], block: int = 3) -> Metrics:
    matrix = torch.tensor(scores, dtype=torch.float64)
    return retrieval_metrics(lambda first, last: matrix[first:last], np.array(queries), np.array(gallery), block=block)


@st.composite
def rankings(draw: st.DrawFn) -> tuple[list[list[float]], list[int], list[int]]:
    gallery = draw(st.lists(st.integers(0, 4), min_size=1, max_size=14))
    queries = draw(st.lists(st.integers(0, 5), min_size=1, max_size=7))
    # Few different scores, so that ties are the rule.
    score = st.sampled_from([-0.5, 0.0, 0.25, 0.5])
    scores = [draw(st.lists(score, min_size=len(gallery), max_size=len(gallery))) for _ in queries]
    return scores, queries, gallery


@given(rankings())
def test_metrics_agree_with_plain_loops(case: tuple[list[list[float]], list[int], list[int]]) -> None:
    scores, queries, gallery = case
    if not set(queries) & set(gallery):
        with pytest.raises(NothingRelevantError, match="relevant"):
            measured(scores, queries, gallery)
        return
    found, expected = measured(scores, queries, gallery), by_hand(scores, queries, gallery)
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)


def test_random_data_with_duplicates_agrees_at_size() -> None:
    rng = np.random.default_rng(5)
    gallery = rng.integers(0, 60, 400)
    vectors = rng.normal(size=(400, 8)).round(1)
    vectors[200:300] = vectors[:100]  # the same pictures twice, some of other people
    texts = rng.normal(size=(90, 8)).round(1)
    queries = rng.integers(0, 70, 90)
    scores = (texts @ vectors.T).round(2).tolist()
    found = measured(scores, queries.tolist(), gallery.tolist(), block=32)
    expected = by_hand(scores, queries.tolist(), gallery.tolist())
    assert expected["skipped"] > 0
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)


def test_the_worked_example() -> None:
    # methods.md 3.1: relevant images at ranks 1, 3 and 6 give a standard AP of 0.7222.
    found = measured([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]], [1], [1, 0, 1, 0, 0, 1])
    assert found.mean_ap == pytest.approx(72.222, abs=1e-3)
    assert found.mean_inp == pytest.approx(50.0)
    assert found.curve[0] == 100.0


def test_ties_go_to_the_lower_index() -> None:
    assert measured([[0.5, 0.5]], [1], [1, 2]).r1 == 100.0
    assert measured([[0.5, 0.5]], [2], [1, 2]).r1 == 0.0


def test_the_block_size_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 5, (17, 30)).astype(float).tolist()
    queries, gallery = rng.integers(0, 6, 17).tolist(), rng.integers(0, 6, 30).tolist()
    assert len({measured(scores, queries, gallery, block=block) for block in (1, 4, 17, 100)}) == 1
