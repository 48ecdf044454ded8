"""Heat over a picture; support as a number."""

import numpy as np
import pytest
import torch
from PIL import Image

from models.overlay import overlay, spread
from models.support import support


def test_the_hot_place_is_where_it_is() -> None:
    values = torch.zeros(4, 2)
    values[3, 0], values[0, 1] = 1.0, -5.0
    picture = Image.new("RGB", (40, 90), (60, 60, 60))
    seen = np.asarray(overlay(picture, values)).astype(int)
    assert seen.shape == (90, 40, 3)
    assert seen[85, 5, 0] > 120 > seen[85, 5, 1]
    assert seen[5, 35].tolist() == [60, 60, 60]
    y, x = np.unravel_index(spread(values, (40, 90)).argmax(), (90, 40))
    assert y > 67
    assert x < 20


def test_heat_that_speaks_against_leaves_the_picture_alone() -> None:
    picture = Image.new("RGB", (8, 16), (2, 2, 2))
    assert overlay(picture, -torch.ones(4, 2)).tobytes() == picture.tobytes()


COMMON = [0.1, 0.2, 0.3]


def test_support_is_a_half_among_equals_and_grows_with_the_score() -> None:
    assert support(0.2, [0.1, 0.3], [0.2], COMMON) == pytest.approx(0.5)
    found = [support(score, [0.1, 0.3], [0.2], COMMON) for score in (-1.0, 0.1, 0.2, 0.3, 1.0)]
    assert found == sorted(found)
    assert 0 <= found[0] < 0.01
    assert 0.99 < found[-1] <= 1


def test_support_does_not_depend_on_level_or_scale_of_the_scores() -> None:
    expected = support(0.35, [0.1, 0.2], [0.4], COMMON)
    assert support(0.25, [0.0, 0.1], [0.3], [0.0, 0.1, 0.2]) == pytest.approx(expected)
    assert support(0.175, [0.05, 0.1], [0.2], [0.05, 0.1, 0.15]) == pytest.approx(expected)


def test_other_colours_weigh_more_than_other_things() -> None:
    right_colour, right_thing = support(0.3, [0.1], [0.3], COMMON), support(0.3, [0.3], [0.1], COMMON)
    assert right_colour > right_thing > 0.5


def test_a_phrase_without_colour_is_compared_with_the_common_ones() -> None:
    assert support(0.2, [], [0.9, 0.8], COMMON) == pytest.approx(0.5)
    assert support(0.5, [], [], [0.5]) == pytest.approx(0.5)
