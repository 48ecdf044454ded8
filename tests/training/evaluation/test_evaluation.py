"""Metrics against a computation that shares nothing with them: plain loops over Python lists."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.errors import EvaluationError, NothingRelevantError
from training.evaluation import ExactScores, Metrics, Removal, retrieval_metrics


def by_hand(
    scores: list[list[float]],
    queries: list[int],
    gallery: list[int],
    *,
    keys: tuple[list[int], list[int]] | None = None,
    trapezoid: bool = False,
) -> dict[str, float]:
    firsts, precisions, penalties = [], [], []
    for number, (row, wanted) in enumerate(zip(scores, queries, strict=True)):
        left = [i for i in range(len(gallery)) if not keys or gallery[i] != wanted or keys[1][i] != keys[0][number]]
        order = sorted(left, key=lambda image: (-row[image], image))
        ranks = [rank for rank, image in enumerate(order, start=1) if gallery[image] == wanted]
        if not ranks:
            continue
        firsts.append(ranks[0])
        at = [hit / rank for hit, rank in enumerate(ranks, start=1)]
        before = [hit / (rank - 1) if rank > 1 else 1.0 for hit, rank in enumerate(ranks)]
        precisions.append(sum((a + b) / 2 if trapezoid else a for a, b in zip(at, before, strict=True)) / len(ranks))
        penalties.append(len(ranks) / ranks[-1])
    count = len(firsts)
    result = {f"r{k}": 100 * sum(first <= k for first in firsts) / count for k in (1, 5, 10)}
    result |= {"mean_ap": 100 * sum(precisions) / count, "mean_inp": 100 * sum(penalties) / count}
    return result | {"queries": count, "skipped": len(queries) - count}


def measured(
    scores: list[list[float]],
    queries: list[int],
    gallery: list[int],
    block: int = 3,
    *,
    keys: tuple[list[int], list[int]] | None = None,
    trapezoid: bool = False,
) -> Metrics:
    matrix = torch.tensor(scores, dtype=torch.float64)
    return retrieval_metrics(
        lambda first, last: matrix[first:last],
        np.array(queries),
        np.array(gallery),
        removal=Removal(np.array(keys[0]), np.array(keys[1])) if keys else None,
        average_precision="trapezoid" if trapezoid else "standard",
        block=block,
    )


@st.composite
def rankings(draw: st.DrawFn) -> tuple[list[list[float]], list[int], list[int]]:
    gallery = draw(st.lists(st.integers(0, 4), min_size=1, max_size=14))
    queries = draw(st.lists(st.integers(0, 5), min_size=1, max_size=7))
    # Few different scores, so that ties are the rule.
    score = st.sampled_from([-0.5, 0.0, 0.25, 0.5])
    scores = [draw(st.lists(score, min_size=len(gallery), max_size=len(gallery))) for _ in queries]
    return scores, queries, gallery


@given(rankings(), st.integers(1, 8), st.booleans())
def test_metrics_agree_with_plain_loops(
    case: tuple[list[list[float]], list[int], list[int]], block: int, trapezoid: bool
) -> None:
    scores, queries, gallery = case
    if not set(queries) & set(gallery):
        with pytest.raises(NothingRelevantError, match="relevant"):
            measured(scores, queries, gallery, block)
        return
    found = measured(scores, queries, gallery, block, trapezoid=trapezoid)
    expected = by_hand(scores, queries, gallery, trapezoid=trapezoid)
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)


@given(rankings(), st.data(), st.integers(1, 8))
def test_what_is_removed_is_as_if_it_had_never_been_there(
    case: tuple[list[list[float]], list[int], list[int]], data: st.DataObject, block: int
) -> None:
    scores, queries, gallery = case
    camera = st.integers(0, 2)
    keys = tuple(data.draw(st.lists(camera, min_size=len(ids), max_size=len(ids))) for ids in (queries, gallery))
    pairs = [(i, j) for i, wanted in enumerate(queries) for j, found in enumerate(gallery) if wanted == found]
    if all(keys[0][i] == keys[1][j] for i, j in pairs):
        with pytest.raises(NothingRelevantError):
            measured(scores, queries, gallery, block, keys=(keys[0], keys[1]))
        return
    found = measured(scores, queries, gallery, block, keys=(keys[0], keys[1]))
    expected = by_hand(scores, queries, gallery, keys=(keys[0], keys[1]))
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
    other = measured([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]], [1], [1, 0, 1, 0, 0, 1], trapezoid=True)
    assert other.mean_ap == pytest.approx(67.778, abs=1e-3)
    assert (found.average_precision, other.average_precision) == ("standard", "trapezoid")


def test_ties_go_to_the_lower_index() -> None:
    assert measured([[0.5, 0.5]], [1], [1, 2]).r1 == 100.0
    assert measured([[0.5, 0.5]], [2], [1, 2]).r1 == 0.0


def test_the_block_size_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 5, (17, 30)).astype(float).tolist()
    queries, gallery = rng.integers(0, 6, 17).tolist(), rng.integers(0, 6, 30).tolist()
    assert len({measured(scores, queries, gallery, block=block) for block in (1, 4, 17, 100)}) == 1


def test_the_same_picture_twice_ties_in_every_block() -> None:
    """Single-precision products of equal rows differ in the last bit by where they stand; the index must decide."""
    rng = np.random.default_rng(2)
    pictures, texts = (torch.from_numpy(rng.normal(size=(n, 512))).float() for n in (301, 97))
    pictures = torch.nn.functional.normalize(torch.cat([pictures, pictures.flip(0), pictures]), dim=1)
    gallery, queries = np.repeat([1, 2, 3], 301), np.full(97, 3)
    score = ExactScores(texts, pictures)
    found = {retrieval_metrics(score, queries, gallery, block=block) for block in (1, 5, 64, 97)}
    assert len(found) == 1
    # A picture's third copy never stands before its second, nor that before its first.
    assert next(iter(found)).r1 == 0.0
    assert retrieval_metrics(score, np.full(97, 1), gallery).r1 == 100.0


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(EvaluationError, match="not a number"):
        measured([[0.5, float("nan")]], [1], [1, 2])


def test_an_empty_gallery_has_nothing_relevant() -> None:
    with pytest.raises(NothingRelevantError, match="none of the 1 queries"):
        measured([[]], [1], [])
