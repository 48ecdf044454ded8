"""The tracker against oracles: a Kalman filter written out in full, assignment by trying all, people who cross."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.video.boxes import Detections, Floats, overlaps, suppress
from app.video.kalman import _PLACE, _PUSH, _SIZE, _SPEED, Motion
from app.video.tracking import Rules, Tracker

coordinate = st.floats(0, 500, allow_nan=False)
side = st.floats(5, 200, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn, most: int = 6) -> Floats:
    rows = draw(st.lists(st.tuples(coordinate, coordinate, side, side), max_size=most))
    return np.array([(x, y, x + w, y + h) for x, y, w, h in rows], np.float64).reshape(-1, 4)


def overlap_of(one: Floats, other: Floats) -> float:
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    tall = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - wide * tall
    return float(wide * tall / union)


@given(boxes(), boxes())
def test_overlaps_are_those_of_each_pair(first: Floats, second: Floats) -> None:
    found = overlaps(first, second)
    assert found.shape == (len(first), len(second))
    for i, j in itertools.product(range(len(first)), range(len(second))):
        assert found[i, j] == pytest.approx(overlap_of(first[i], second[j]), abs=1e-9)


@given(boxes(8), st.data(), st.floats(0.1, 0.9))
def test_suppression_leaves_none_that_overlap_and_drops_none_without_a_surer_one(
    table: Floats, data: st.DataObject, most: float
) -> None:
    scores = np.array([data.draw(st.floats(0, 1)) for _ in table])
    left = suppress(Detections(table, scores), most)
    for i, j in itertools.combinations(range(len(left.scores)), 2):
        assert overlap_of(left.boxes[i], left.boxes[j]) <= most + 1e-9
    kept = {tuple(row) for row in left.boxes}
    for box, score in zip(table, scores, strict=True):
        if tuple(box) not in kept:
            assert any(
                overlap_of(box, other) > most - 1e-9 and own >= score
                for other, own in zip(left.boxes, left.scores, strict=True)
            )


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0.02, 1.0), coordinate, coordinate), min_size=1, max_size=6), st.floats(20, 200))
def test_four_small_filters_are_one_kalman_filter(steps: list[tuple[float, float, float]], tall: float) -> None:
    motion = Motion.begin(np.array([10.0, 20.0, 10 + tall / 2, 20 + tall]))
    x = np.zeros(8)
    x[::2] = [10 + tall / 4, 20 + tall / 2, tall / 2, tall]
    p = np.zeros((8, 8))
    for row, noise in enumerate((_PLACE, _PLACE, _SIZE, _SIZE)):
        p[2 * row, 2 * row], p[2 * row + 1, 2 * row + 1] = (noise * tall) ** 2, (_SPEED * tall) ** 2
    h = np.zeros((4, 8))
    h[range(4), range(0, 8, 2)] = 1
    for dt, left, top in steps:
        box = np.array([left, top, left + tall / 2, top + tall])
        height = max(4.0, x[6])
        f, q = np.eye(8), np.zeros((8, 8))
        for row in range(4):
            f[2 * row, 2 * row + 1] = dt
            push = np.array([dt * dt / 2, dt]) * _PUSH[row] * height
            q[2 * row : 2 * row + 2, 2 * row : 2 * row + 2] = np.outer(push, push)
        x, p = f @ x, f @ p @ f.T + q
        motion.predict(dt)
        r = np.diag(np.array([_PLACE, _PLACE, _SIZE, _SIZE]) ** 2 * tall**2)
        gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + r)
        z = np.array([left + tall / 4, top + tall / 2, tall / 2, tall])
        x, p = x + gain @ (z - h @ x), (np.eye(8) - gain @ h) @ p
        motion.update(box)
        assert motion.mean.ravel() == pytest.approx(x, rel=1e-6, abs=1e-5)
        blocks = np.stack([p[2 * row : 2 * row + 2, 2 * row : 2 * row + 2] for row in range(4)])
        assert motion.spread == pytest.approx(blocks, rel=1e-5, abs=1e-5)


def seen(*people: tuple[float, float], score: float = 0.9) -> Detections:
    """Boxes of 20 x 50 at places."""
    return Detections(np.array([(x, y, x + 20, y + 50) for x, y in people]).reshape(-1, 4), np.full(len(people), score))


def look(*numbers: int) -> Floats:
    return np.eye(4)[list(numbers)]


@settings(max_examples=30)
@given(st.lists(st.floats(0, 400), min_size=1, max_size=4, unique_by=lambda x: round(x / 70)), st.integers(0, 10**6))
def test_people_apart_keep_their_numbers_in_any_order_of_detections(places: list[float], seed: int) -> None:
    rng, tracker = np.random.default_rng(seed), Tracker()
    found: dict[int, set[int]] = {place: set() for place in range(len(places))}
    for frame in range(12):
        order = rng.permutation(len(places))
        people = [(places[one] + 3 * frame, 40 + rng.normal(0, 1)) for one in order]
        for track, row in tracker.step(frame / 5, seen(*people)).seen:
            if track.believed:
                found[int(order[row])].add(track.number)
    assert [len(numbers) for numbers in found.values()] == [1] * len(places)
    assert len(set().union(*found.values())) == len(places)


def cross(tracker: Tracker, looks: bool) -> list[tuple[int, int]]:
    """Two people cross, one of them hidden for half a second; their numbers before and after."""
    ends: list[tuple[int, int]] = []
    for frame in range(31):
        at = frame / 5
        left, right = (10 + 9 * frame, 40), (280 - 9 * frame, 42)
        hidden = abs(left[0] - right[0]) < 14
        people = [left] if hidden else [left, right]
        step = tracker.step(at, seen(*people), (look(0) if hidden else look(0, 1)) if looks else None)
        if frame in (8, 30):
            ends.append(tuple(track.number for track, row in sorted(step.seen, key=lambda pair: pair[1])))  # type: ignore[arg-type]
    return ends


@pytest.mark.parametrize("looks", [True, False])
def test_people_who_cross_keep_their_numbers(looks: bool) -> None:
    before, after = cross(Tracker(), looks)
    assert before == after
    assert len(set(before)) == 2


def test_somebody_else_at_the_same_place_is_another_track() -> None:
    tracker = Tracker()
    for frame in range(5):
        tracker.step(frame / 5, seen((100, 40)), look(0))
    for frame in range(5, 12):
        step = tracker.step(frame / 5, seen((100, 40)), look(1))
    assert step.seen[0][0].number == 2


def test_one_who_was_hidden_goes_on_and_one_who_left_ends() -> None:
    tracker = Tracker(Rules(lost_s=1.0))
    for frame in range(5):
        tracker.step(frame / 5, seen((100 + 4 * frame, 40)), look(0))
    assert tracker.step(1.6, seen((132, 40)), look(0)).seen[0][0].number == 1
    assert [track.number for track in tracker.step(2.8, seen()).ended] == [1]


def test_what_is_seen_once_or_is_unsure_is_nobody() -> None:
    tracker = Tracker()
    tracker.step(0.0, seen((10, 10)))
    for frame in range(1, 6):
        assert tracker.step(frame / 5, seen((200, 40), score=0.3)).seen == []
    assert tracker.finish() == []


def test_what_never_moves_must_look_like_a_person() -> None:
    for score, believed in ((0.7, 0), (0.95, 1)):
        tracker = Tracker(Rules(still=0.9))
        for frame in range(10):
            tracker.step(frame / 5, seen((100, 40), score=score))
        assert len(tracker.finish()) == believed


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 14))
def test_a_tracker_that_was_kept_as_json_goes_on_the_same(seed: int, at: int) -> None:
    def steps(tracker: Tracker, first: int, last: int) -> list[list[tuple[int, int]]]:
        out = []
        for frame in range(first, last):
            rng = np.random.default_rng([seed, frame])
            people = [(60.0 * one + 5 * frame + rng.normal(0, 2), 40.0) for one in range(3) if rng.random() < 0.8]
            step = tracker.step(frame / 5, seen(*people), rng.random((len(people), 4)))
            out.append([(track.number, row) for track, row in step.seen])
        return out

    whole, first, second = Tracker(), Tracker(), Tracker()
    wanted = steps(whole, 0, 15)
    before = steps(first, 0, at)
    second.from_json(json.loads(json.dumps(first.to_json())))
    assert before + steps(second, at, 15) == wanted
    assert second.to_json() == whole.to_json()
