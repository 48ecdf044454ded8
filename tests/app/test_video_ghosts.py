"""People against what they leave behind: places that were learnt wrongly, light, and people who stand."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from app.video.background import Background
from app.video.blobs import UNSURE
from app.video.footage import Frame, Pixels
from app.video.life import Life, outline
from app.video.people import MotionDetector
from app.video.tracking import Rules, Tracker

FPS = 5
Scene = Callable[[float], Pixels]


def place() -> Pixels:
    """(180, 320, 3): a wall above a floor with boards, and a dark picture on the wall."""
    picture = np.full((180, 320, 3), 190, np.uint8)
    picture[110:] = (140, 110, 80)
    picture[110::9] = (120, 90, 60)
    picture[20:60, 20:70] = 60
    return picture


def with_somebody(picture: Pixels, x: float, y: int = 60) -> Pixels:
    left = round(x)
    picture[y : y + 18, max(0, left + 7) : max(0, left + 19)] = (200, 160, 140)
    picture[y + 18 : y + 55, max(0, left) : max(0, left + 26)] = (30, 60, 130)
    picture[y + 55 : y + 95, max(0, left + 3) : max(0, left + 23)] = (40, 40, 45)
    return picture


NOISE = np.random.default_rng(7).normal(0, 2, (7, 180, 320, 3)).astype(np.float32)


def grainy(picture: Pixels, index: int) -> Pixels:
    return np.asarray(np.clip(picture + NOISE[index % len(NOISE)], 0, 255), np.uint8)


def follow(scene: Scene, seconds: float, prime: Scene | None = None) -> tuple[Tracker, list[tuple[float, float]]]:
    """The tracker at the end, and time and score of everything that was detected."""
    detector = MotionDetector(hog=False)
    tracker, found = Tracker(Rules(still=detector.still_score)), list[tuple[float, float]]()
    first = prime or scene
    detector.prime(Frame(float(one), one, grainy(first(float(one)), one)) for one in range(24))
    for index in range(round(seconds * FPS)):
        at_s = index / FPS
        step = detector.detect(Frame(at_s, index, grainy(scene(at_s), index)))
        found += [(at_s, float(score)) for score in step.scores]
        tracker.step(at_s, step)
    return tracker, found


def numbered(tracker: Tracker) -> int:
    """How many tracks were believed from the beginning on."""
    return int(tracker.to_json()["next"]) - 1


def test_whoever_stood_while_the_place_was_learnt_leaves_nobody_behind() -> None:
    tracker, found = follow(lambda _: place(), 12.0, prime=lambda _: with_somebody(place(), 150))
    assert found  # it does look like somebody
    assert {score for _, score in found} == {UNSURE}
    assert max(at_s for at_s, _ in found) < 6.0  # by then the place is learnt
    assert numbered(tracker) == 0


def way(at_s: float, stands_s: float) -> float:
    """From the left to the middle within 3 seconds, there for a while, and out to the right."""
    gone = min(at_s, 3.0) + max(0.0, at_s - 3.0 - stands_s)
    return -30 + 60 * gone


@pytest.mark.parametrize("sways", [True, False])
def test_whoever_comes_stands_long_and_leaves_is_one_track_and_no_ghost(sways: bool) -> None:
    def scene(at_s: float) -> Pixels:
        sway = 1.5 * np.sin(2.1 * at_s) if sways and 3 < at_s < 15 else 0.0
        return with_somebody(place(), way(at_s, 12.0) + sway)

    tracker, found = follow(scene, 26.0, prime=lambda _: place())
    assert numbered(tracker) == 1
    seen = {at_s for at_s, _ in found}
    assert sum(1 for at_s in seen if 4 < at_s < 14) > 0.95 * 10 * FPS
    assert max(seen) < 22.0  # gone at 19


def test_light_on_a_wall_is_nobody() -> None:
    def scene(at_s: float) -> Pixels:
        light = np.zeros((180, 320), np.float32)
        light[30:100, 140 + int(6 * at_s) : 165 + int(6 * at_s)] = 45
        soft = cv2.GaussianBlur(light, (0, 0), 12)
        return np.asarray(np.clip(place() + soft[..., None], 0, 255), np.uint8)

    tracker, found = follow(scene, 12.0, prime=lambda _: place())
    assert found
    assert numbered(tracker) == 0


def test_a_chair_that_was_put_there_becomes_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.video.background._MOVED_IN_S", 10.0)

    def scene(at_s: float) -> Pixels:
        picture = place()
        if at_s >= 1.0:
            picture[70:150, 200:230] = (90, 30, 30)
        return picture

    tracker, found = follow(scene, 16.0, prime=lambda _: place())
    assert numbered(tracker) == 0
    assert 10.0 < max(at_s for at_s, _ in found) < 14.0


def test_a_background_that_was_kept_goes_on_the_same() -> None:
    def frames(first: int, last: int) -> list[tuple[Pixels, float]]:
        return [(grainy(with_somebody(place(), 4.0 * one), one), one / FPS) for one in range(first, last)]

    whole, kept = Background(), Background()
    for frame, at_s in frames(0, 40):
        whole.differs(frame, at_s)
    assert kept.from_bytes(whole.to_bytes())
    for frame, at_s in frames(40, 60):
        wanted, found = whole.differs(frame, at_s), kept.differs(frame, at_s)
        assert wanted is not None
        assert found is not None
        assert all(np.array_equal(np.asarray(one), np.asarray(other)) for one, other in zip(wanted, found, strict=True))
        assert wanted.lively.any()
    assert kept.to_bytes() == whole.to_bytes()


def test_what_is_no_state_is_not_taken_over() -> None:
    life = Life()
    life.see(np.zeros((4, 6, 3), np.float32), np.full((4, 6), 12, np.float32), 0.0)
    data = life.to_bytes()
    assert Life().from_bytes(data)
    for wrong in (b"", data[:-1], b"XXXX" + data[4:]):
        assert not Life().from_bytes(wrong)
        assert not Background().from_bytes(wrong)


def test_a_pixel_lives_for_as_long_as_is_asked() -> None:
    life, limit = Life(), np.full((4, 6), 12, np.float32)
    still, moved = np.zeros((4, 6, 3), np.float32), np.zeros((4, 6, 3), np.float32)
    moved[1, 2] = 40
    for at_s, picture in ((0.0, still), (0.2, moved), (0.4, moved), (1.0, moved)):
        life.see(picture, limit, at_s)
    assert np.argwhere(life.within(1.0, 0.9)).tolist() == [[1, 2]]
    assert not life.within(1.0, 0.7).any()
    square = np.zeros((9, 9), np.uint8)
    square[2:7, 2:7] = 255
    assert int((outline(square) > 0).sum()) == 49 - 9
