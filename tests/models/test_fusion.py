"""What parts of a query say together."""

import numpy as np
import pytest

from models.checkpoint import DEMO, read_info
from models.confidence import ConfidenceCurve, confidence_curves
from models.encoder import Space
from models.fusion import Fusion, in_person, line_of


def curve(scores: tuple[float, ...], chances: tuple[float, ...]) -> ConfidenceCurve:
    return ConfidenceCurve("isotonic", scores, chances, "drawn", "val", 9, 9, 10, 0.0, 0.0)


def sigmoid(slope: float, shift: float) -> ConfidenceCurve:
    odds = np.linspace(-5, 5, 21)
    scores = tuple(((odds - shift) / slope).tolist())
    return curve(scores, tuple((1 / (1 + np.exp(-odds))).tolist()))


def test_the_line_of_a_sigmoid_is_its_own() -> None:
    line = line_of(sigmoid(30.0, -18.0))
    assert line is not None
    assert line.slope == pytest.approx(30)
    assert line.shift == pytest.approx(-18)


@pytest.mark.parametrize("chances", [(0.001, 0.001, 0.001), (0.3, 0.3, 0.3), (0.001, 0.5, 0.999)])
def test_a_curve_that_does_not_rise_has_no_line(chances: tuple[float, ...]) -> None:
    assert line_of(curve((0.1, 0.5, 0.9), chances)) is None
    assert not Fusion.of({"text": curve((0.1, 0.5, 0.9), chances)}, {"text"}).calibrated


def test_the_line_agrees_with_the_shipped_curves() -> None:
    for space, found in confidence_curves(read_info(DEMO).calibration).items():
        line = line_of(found)
        assert line is not None, space
        told = 1 / (1 + np.exp(-(line.slope * np.array(found.scores) + line.shift)))
        assert np.abs(told - np.array(found.probabilities)).mean() < 0.05  # the steps of the curve


def test_one_space_without_a_curve_leaves_all_to_cosines() -> None:
    curves: dict[Space, ConfidenceCurve] = {"text": sigmoid(30.0, -18.0)}
    assert Fusion.of(curves, {"text"}).calibrated
    half = Fusion.of(curves, {"text", "image"})
    assert not half.calibrated
    cosines = np.array([-0.2, 0.4])
    np.testing.assert_array_equal(half.support("text", cosines), cosines)
    np.testing.assert_allclose(half.denial("text", cosines), [0, 0.2])
    np.testing.assert_allclose(half.denial("image", cosines), [0, 0.04])


def test_a_denied_picture_takes_away_twice_the_log_of_what_it_is_not() -> None:
    fusion = Fusion.of({"image": sigmoid(40.0, -30.0)}, {"image"})
    cosines = np.array([0.2, 0.75, 0.9])
    chance = 1 / (1 + np.exp(-(40 * cosines - 30)))
    np.testing.assert_allclose(fusion.denial("image", cosines), -2 * np.log1p(-chance), rtol=1e-9)
    assert fusion.denial("image", cosines)[0] < 1e-8


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ("red hat", "a person with red hat"),
        ("a backpack", "a person with a backpack"),
        ("wearing a hat", "a person wearing a hat"),
        ("With a bag", "a person With a bag"),
        ("a man in a blue jacket", "a man in a blue jacket"),
        ("women", "women"),
        ("handbag of a man", "handbag of a man"),
    ],
)
def test_a_thing_is_told_of_a_person(thing: str, words: str) -> None:
    assert in_person(thing) == words
