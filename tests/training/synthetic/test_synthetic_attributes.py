"""Who is drawn: every value occurs, splits never share a combination, shades stay near their names."""

from random import Random

import pytest

from training.synthetic import attributes, palette
from training.synthetic.attributes import SPLITS, draw_identity, split_of

_VALUES = {
    "sex": attributes.SEXES,
    "age": attributes.AGES,
    "build": attributes.BUILDS,
    "skin": tuple(palette.SKIN),
    "hair_length": attributes.HAIR_LENGTHS,
    "hair_style": attributes.HAIR_STYLES,
    "hair_colour": tuple(palette.HAIR),
    "hat": attributes.HATS,
    "glasses": attributes.GLASSES,
    "upper": attributes.UPPERS,
    "upper_colour": tuple(palette.ANCHORS),
    "upper_pattern": attributes.PATTERNS,
    "outer": attributes.OUTERS,
    "lower": attributes.LOWERS,
    "shoes": attributes.SHOES,
    "bag": attributes.BAGS,
    "carried": attributes.CARRIED,
}


def test_every_value_of_every_attribute_is_drawn() -> None:
    rng = Random(1)
    people = [draw_identity(rng, "train") for _ in range(2500)]
    for attribute, values in _VALUES.items():
        assert {person[attribute] for person in people} >= set(values), attribute


@pytest.mark.parametrize("split", SPLITS)
def test_a_person_belongs_to_the_split_that_its_combination_hashes_to(split: str) -> None:
    rng = Random(2)
    for _ in range(60):
        assert split_of(draw_identity(rng, split).combination()) == split


def test_no_combination_of_the_test_split_is_drawn_for_training() -> None:
    rng = Random(3)
    seen = {split: {draw_identity(rng, split).combination() for _ in range(800)} for split in SPLITS}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["val"]
    assert not seen["val"] & seen["test"]


def test_the_split_of_a_combination_never_changes() -> None:
    pinned = ["train", "train", "train", "train", "train", "test"]
    assert [split_of(f"combination {number}") for number in range(6)] == pinned
    shares = [split_of(f"combination {number}") for number in range(4000)]
    assert 0.66 < shares.count("train") / 4000 < 0.74
    assert 0.19 < shares.count("test") / 4000 < 0.25


@pytest.mark.parametrize("name", sorted(palette.ANCHORS))
def test_a_shade_stays_nearest_to_a_colour_that_its_name_may_mean(name: str) -> None:
    rng = Random(4)
    for _ in range(30):
        red, green, blue = palette.shade(rng, palette.ANCHORS[name])
        assert 0 <= min(red, green, blue) <= max(red, green, blue) <= 255
        own = sum((a - b) ** 2 for a, b in zip((red, green, blue), palette.ANCHORS[name], strict=True))
        assert own < 55**2 * 3


def test_clothes_fit_together() -> None:
    rng = Random(5)
    for _ in range(400):
        person = draw_identity(rng, "train")
        assert (person["upper"] == "dress") == (person["lower"] == "none")
        assert (person["outer"] == "none") == (person["outer_colour"] == "none")
        assert (person["upper_pattern"] == "plain") == (person["upper_accent"] == "none")
        assert (person["hair_length"] == "bald") == (person["hair_colour"] == "none")
        if person["age"] == "child":
            assert person["shoes"] != "high heels"
            assert person["bag"] not in ("suitcase", "handbag")
