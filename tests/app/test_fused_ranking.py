"""The order of a query of several parts against brute force over all images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.search.fused import FusedRanking
from app.search.query import Part
from app.vectors.contract import Changes, Half, Hits, Ids, Scores
from app.vectors.faiss_engine import FaissIndex
from models.confidence import ConfidenceCurve
from models.encoder import Space
from models.fusion import Fusion

DIM = {"text": 6, "image": 4}


class View(FaissIndex):
    """An index that follows no log."""

    def catch_up(self, sequence: int | None = None) -> None:
        return


def curve(low: float, high: float) -> ConfidenceCurve:
    return ConfidenceCurve(
        kind="isotonic",
        scores=(-1.0, low, low, (low + high) / 2, high, high, 1.0),
        probabilities=(0.001, 0.001, 0.05, 0.4, 0.9, 0.999, 0.999),
        data="drawn",
        split="val",
        queries=10,
        identities=10,
        depth=10,
        error=0.0,
        brier=0.0,
    )


CURVES: dict[Space, ConfidenceCurve] = {"text": curve(0.2, 0.6), "image": curve(0.5, 0.9)}


@dataclass
class Drawn:
    stored: dict[Space, Half]
    parts: list[Part]
    curves: dict[Space, ConfidenceCurve]
    one_space: bool

    @property
    def ids(self) -> Ids:
        return np.arange(10, 10 + len(self.stored["text"]), dtype=np.int64)

    def views(self) -> dict[Space, View]:
        found: dict[Space, View] = {}
        for space, vectors in self.stored.items():
            half = len(vectors) // 2
            found[space] = View(vectors.shape[1], ids=self.ids[:half], vectors=vectors[:half])
            found[space].apply(Changes(1, self.ids[half:], vectors[half:], np.empty(0, np.int64)))
        if self.one_space:
            found["image"] = found["text"]
        return found


def unit(rng: np.random.Generator, count: int, dim: int, spread: float) -> Half:
    vectors = rng.normal(size=(1, dim)) + spread * rng.normal(size=(count, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float16)


@st.composite
def queries(draw: st.DrawFn) -> Drawn:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    one_space, count = draw(st.booleans()), draw(st.integers(1, 1500))
    spread = draw(st.sampled_from([0.05, 1.0, 3.0]))
    stored: dict[Space, Half] = {space: unit(rng, count, DIM[space], spread) for space in ("text", "image")}
    for vectors in stored.values():  # pictures that come twice
        vectors[: count // 4] = vectors[count // 2 : count // 2 + count // 4]
    if one_space:
        stored["image"] = stored["text"]
    parts = []
    for negative, least in ((False, 1), (True, 0)):
        for _ in range(draw(st.integers(least, 4))):
            space: Space = draw(st.sampled_from(["text", "image"]))
            near = stored[space][rng.integers(count)].astype(np.float32)
            vector = (near + draw(st.sampled_from([0.0, 0.3, 3.0])) * rng.normal(size=near.shape)).astype(np.float32)
            length = 1.0 if not (negative and space == "text") else float(rng.uniform(0.2, 1.5))
            vector *= draw(st.sampled_from([1.0, -1.0])) * length / np.linalg.norm(vector)
            parts.append(Part(vector, space, draw(st.sampled_from([0.01, 0.5, 1.0, 2.0, 30.0])), negative))
    if draw(st.booleans()):  # a part and its opposite say nothing together, or next to nothing
        parts.insert(0, Part(-parts[0].vector, parts[0].space, parts[0].weight * draw(st.sampled_from([1.0, 1.001]))))
    return Drawn(stored, parts, CURVES if draw(st.booleans()) else {}, one_space)


def brute_force(drawn: Drawn) -> tuple[Ids, Scores]:
    fusion = Fusion.of(drawn.curves, {part.space for part in drawn.parts})
    total, scores = sum(part.weight for part in drawn.parts if not part.negative), np.zeros(len(drawn.ids))
    for part in drawn.parts:
        exact = (drawn.stored[part.space].astype(np.float64) * part.vector.astype(np.float64)).sum(axis=1)
        cosines = exact.astype(np.float32).astype(np.float64)
        if part.negative:
            scores -= part.weight * fusion.denial(part.space, cosines)
        else:
            scores += part.weight / total * fusion.support(part.space, cosines)
    rounded = scores.astype(np.float32)
    order = np.lexsort((drawn.ids, -rounded))
    return drawn.ids[order], rounded[order]


def same(found: Hits, ids: Ids, scores: Scores) -> None:
    # Sums of the same numbers in another order may differ in their last digit, and images so near to each other swap.
    assert len(found.ids) == len(ids)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=2e-5)
    by_id = dict(zip(ids.tolist(), scores.tolist(), strict=True))
    for image, score in zip(found.ids.tolist(), found.scores.tolist(), strict=True):
        if image in by_id:
            assert abs(by_id[image] - score) <= 2e-5 + 1e-5 * abs(score)


@hypothesis_settings(max_examples=150, deadline=None)
@given(queries(), st.integers(1, 200))
def test_the_first_images_are_those_of_brute_force(drawn: Drawn, k: int) -> None:
    ranking = FusedRanking(drawn.parts, drawn.views(), drawn.curves)
    ids, scores = brute_force(drawn)
    found = ranking.search(k)
    same(found, ids[:k], scores[:k])
    assert len(set(found.ids.tolist())) == len(found.ids)
    # The same order, bit by bit, as when all images are scored one by one.
    every = ranking.scores(drawn.ids)
    same(every, ids, scores)
    np.testing.assert_array_equal(found.ids, every.ids[:k])
    np.testing.assert_array_equal(found.scores, every.scores[:k])


@hypothesis_settings(max_examples=30, deadline=None)
@given(queries())
def test_what_the_parts_contribute_is_the_score(drawn: Drawn) -> None:
    ranking = FusedRanking(drawn.parts, drawn.views(), drawn.curves)
    hits = ranking.search(5)
    told = ranking.explained(hits.ids)
    for image, score in zip(hits.ids.tolist(), hits.scores.tolist(), strict=True):
        parts = told[image]
        assert sum(part.contribution for part in parts) == pytest.approx(score, rel=1e-5, abs=1e-4)
        asked = [(part.part, part.negative) for part in parts]
        assert len(set(asked)) == len(asked)
        assert [negative for _, negative in asked] == [part.negative for part in drawn.parts]
        assert all(part.contribution <= 0 for part in parts if part.negative)


def ranking_of(parts: list[Part], curves: Mapping[Space, ConfidenceCurve]) -> FusedRanking:
    rng = np.random.default_rng(0)
    drawn = Drawn({"text": unit(rng, 50, 6, 1), "image": unit(rng, 50, 4, 1)}, parts, dict(curves), one_space=False)
    return FusedRanking(parts, drawn.views(), curves)


def test_a_query_is_calibrated_if_all_of_its_spaces_are() -> None:
    words, shown = Part(np.eye(6, dtype=np.float32)[0], "text"), Part(np.eye(4, dtype=np.float32)[0], "image")
    full = ranking_of([words, shown], CURVES)
    assert full.calibrated
    assert full.weak_below == 0
    assert full.confidence(0.0) == 0.5
    assert full.confidence(-1e6) == 0.0
    half = ranking_of([words, shown], {"text": CURVES["text"]})
    assert not half.calibrated
    assert half.confidence(0.3) is half.weak_below is None
    scores = half.scores(np.arange(10, 60, dtype=np.int64)).scores
    assert -1 <= scores.min() <= scores.max() <= 1  # cosines
    assert ranking_of([words], {"text": CURVES["text"]}).calibrated


def test_an_image_that_one_view_has_lost_is_in_no_answer() -> None:
    rng = np.random.default_rng(1)
    drawn = Drawn({"text": unit(rng, 50, 6, 1), "image": unit(rng, 50, 4, 1)}, [], {}, one_space=False)
    views = drawn.views()
    views["image"].apply(Changes(2, np.empty(0, np.int64), np.empty((0, 4), np.float16), np.array([13])))
    parts = [Part(drawn.stored[space][3].astype(np.float32), space) for space in ("text", "image")]
    ranking = FusedRanking(parts, views, {})
    assert len(ranking.search(100).ids) == 49
    assert 13 not in ranking.search(100).ids
    assert 13 not in ranking.scores(drawn.ids).ids
