"""Which crops are kept: sharp before blurred, whole before cut off, in front before hidden, and apart in time."""

import io
import json
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.video.boxes import Floats
from app.video.crops import Album, Shot, by_look, cut, qualities, sharpness
from app.video.footage import Pixels


def place(size: tuple[int, int] = (200, 300)) -> Pixels:
    rng = np.random.default_rng(3)
    return cv2.resize(rng.integers(0, 255, (size[0] // 4, size[1] // 4, 3), np.uint8), size[::-1])  # type: ignore[return-value]


BOX: Floats = np.array([[100.0, 40.0, 150.0, 170.0]])


def test_sharper_is_better() -> None:
    sharp = place()
    blurred = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 3.0), np.uint8)
    assert sharpness(sharp) > 5 * sharpness(blurred)
    assert qualities(sharp, BOX)[0] > qualities(blurred, BOX)[0]


def test_larger_whole_and_in_front_is_better() -> None:
    pixels = place()
    whole = qualities(pixels, BOX)[0]
    assert qualities(pixels, np.array([[100.0, 40.0, 117.0, 84.0]]))[0] < whole
    assert qualities(pixels, np.array([[0.0, 40.0, 50.0, 170.0]]))[0] < 0.5 * whole
    assert qualities(pixels, np.array([[100.0, 70.0, 150.0, 200.0]]))[0] < 0.5 * whole
    behind, front = qualities(pixels, np.array([BOX[0], [120.0, 60.0, 170.0, 190.0]]))
    assert behind < 0.5 * whole
    assert front > behind


def test_a_crop_stays_within_the_frame() -> None:
    pixels = place()
    assert cut(pixels, (-20.0, -5.0, 40.0, 500.0), margin=0.0).shape == (200, 40, 3)
    assert cut(pixels, (298.0, 10.0, 310.0, 60.0)).shape[1] >= 8


def shot(at_s: float, quality: float) -> Shot:
    return Shot(at_s, quality, (0.0, 0.0, 10.0, 20.0), b"jpeg")


def filled(qualities: list[float], most: int, step: float = 0.2) -> Album:
    album = Album(most, 0.0)
    for number, quality in enumerate(qualities):
        album.offer(number * step, quality, lambda number=number, quality=quality: shot(number * step, quality))  # type: ignore[misc]
    return album


def chosen_of(album: Album) -> list[Shot]:
    return album.spread(album.worth())


@settings(max_examples=80)
@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=200), st.integers(1, 6))
def test_few_good_crops_apart_in_time_with_the_best_among_them(values: list[float], most: int) -> None:
    album = filled(values, most)
    assert len(album.shots) <= 3 * most
    chosen = chosen_of(album)
    assert 1 <= len(chosen) <= most
    assert max(one.quality for one in chosen) == max(values)
    times = [one.at_s for one in chosen]
    assert times == sorted(times)
    assert all(later - earlier >= 0.35 for earlier, later in pairwise(times))
    assert min(one.quality for one in chosen) >= 0.4 * max(values)


def test_a_long_track_is_covered_from_end_to_end() -> None:
    rng = np.random.default_rng(1)
    album = filled(rng.uniform(0.7, 1.0, 500).tolist(), 4)
    chosen = chosen_of(album)
    assert len(chosen) == 4
    assert chosen[-1].at_s - chosen[0].at_s > 40


def test_an_album_that_was_kept_as_json_is_the_same() -> None:
    album = filled([0.3, 0.9, 0.5, 0.7], 3)
    assert Album.from_json(json.loads(json.dumps(album.to_json()))) == album


def test_the_picture_is_made_only_when_it_is_kept() -> None:
    album = filled([0.9], 3)
    album.offer(0.1, 0.5, lambda: pytest.fail("a worse crop of the same moment was encoded"))


def dressed(at_s: float, top: str, bottom: str, quality: float = 0.9) -> Shot:
    """A crop of somebody in two colours, a little lighter or darker each time."""
    image = Image.new("RGB", (24, 60), bottom)
    image.paste(top, (0, 0, 24, 30))
    light = 1 + 0.02 * (round(at_s * 10) % 3)
    buffer = io.BytesIO()
    image.point(lambda value: min(255, int(value * light))).save(buffer, "JPEG", quality=95)
    return Shot(at_s, quality, (0.0, 0.0, 24.0, 60.0), buffer.getvalue())


def test_a_track_that_went_over_to_somebody_else_is_two_people() -> None:
    album = Album(3, 0.0)
    for number in range(8):
        colours = ("maroon", "navy") if number < 5 else ("olive", "navy")
        album.offer(number * 0.5, 0.9, lambda number=number, colours=colours: dressed(number * 0.5, *colours))  # type: ignore[misc]
    assert len(chosen_of(album)) == 3
    first, second = ([one.at_s for one in shots] for shots in album.people())
    assert max(first) < 2.5 <= min(second)
    assert len(first) == len(second) == 3


def test_who_comes_back_is_the_same_and_a_single_odd_crop_is_left_out() -> None:
    one = [dressed(at_s, "maroon", "navy") for at_s in (0.0, 0.5, 3.0)]
    other = [dressed(at_s, "olive", "black") for at_s in (1.5, 2.0)]
    odd = dressed(1.0, "white", "white", 0.5)
    assert by_look([*other, odd, *one]) == [one, other]
    assert by_look([one[0]]) == [[one[0]]]
    assert by_look([odd, one[2]]) == [[one[2]]]
    assert by_look([]) == []
