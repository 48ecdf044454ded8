"""What the renderer shows, by its id buffer: every thing a person can have appears, from the sides that can see it."""

from dataclasses import replace
from math import pi
from random import Random

import pytest

from training.synthetic import attributes
from training.synthetic.attributes import Identity, draw_identity
from training.synthetic.body import draw_pose
from training.synthetic.parts import Part
from training.synthetic.render import Rendering, Shot, render
from training.synthetic.scene import CAMERAS, camera, panorama

_COLOUR = (196.0, 32.0, 38.0)
_PLAIN = {
    "sex": "woman",
    "age": "adult",
    "build": "average",
    "hair_length": "short",
    "hair_style": "none",
    "hair_colour": "brown",
    "hat": "none",
    "glasses": "none",
    "upper": "t-shirt",
    "upper_colour": "blue",
    "upper_pattern": "plain",
    "upper_accent": "none",
    "outer": "none",
    "outer_colour": "none",
    "lower": "trousers",
    "lower_colour": "black",
    "shoes": "sneakers",
    "shoes_colour": "white",
    "bag": "none",
    "bag_colour": "none",
    "carried": "none",
    "carried_colour": "none",
}


def _person(**changes: str) -> Identity:
    base = draw_identity(Random(7), "train")
    colours = dict.fromkeys(("upper", "outer", "lower", "shoes", "hat", "bag", "carried", "accent"), _COLOUR)
    return replace(base, values=base.values | _PLAIN | changes, colours=base.colours | colours)


def _look(person: Identity, yaw: float, seed: int = 0) -> Rendering:
    """A rendering without company, occluder or crop error: the first stream of random numbers that has none."""
    for attempt in range(seed, seed + 200):
        rng = Random(attempt)
        shot = Shot(yaw, replace(draw_pose(rng, person), head_turn=0.0), camera(0, 1), (64, 160))
        image = render(person, shot, 0, rng)
        if image.parts[Part.OTHER] == 0 and image.parts[Part.SHOES] > 0.004:
            return image
    raise AssertionError("every attempt was occluded")


def _share(part: Part, yaw: float, **changes: str) -> float:
    return _look(_person(**changes), yaw).parts[part]


@pytest.mark.parametrize("upper", attributes.UPPERS)
def test_every_upper_garment_is_seen(upper: str) -> None:
    lower = "none" if upper == "dress" else "jeans"
    assert _share(Part.UPPER, 0.0, upper=upper, lower=lower) > 0.04


@pytest.mark.parametrize("lower", [value for value in attributes.LOWERS if value != "none"])
def test_every_lower_garment_is_seen(lower: str) -> None:
    assert _share(Part.LOWER, 0.0, lower=lower) > 0.03


@pytest.mark.parametrize("outer", [value for value in attributes.OUTERS if value != "none"])
@pytest.mark.parametrize("yaw", [0.0, pi])
def test_every_outer_garment_is_seen_from_both_sides(outer: str, yaw: float) -> None:
    assert _share(Part.OUTER, yaw, outer=outer, outer_colour="red") > 0.04


@pytest.mark.parametrize("shoes", attributes.SHOES)
def test_every_kind_of_shoe_is_seen(shoes: str) -> None:
    assert _share(Part.SHOES, 0.4, shoes=shoes) > 0.002


@pytest.mark.parametrize("hat", attributes.HATS[1:])
def test_every_hat_is_seen_and_only_when_worn(hat: str) -> None:
    assert _share(Part.HAT, 0.3, hat=hat, hat_colour="red") > 0.004
    assert _share(Part.HAT, 0.3) == 0


@pytest.mark.parametrize("bag", attributes.BAGS[1:])
def test_every_bag_is_seen_from_the_side_or_the_back(bag: str) -> None:
    assert max(_share(Part.BAG, yaw, bag=bag, bag_colour="red") for yaw in (pi, pi / 2, -pi / 2)) > 0.008
    assert _share(Part.BAG, pi) == 0


@pytest.mark.parametrize("carried", attributes.CARRIED[1:])
def test_every_carried_thing_is_seen_from_some_side(carried: str) -> None:
    assert (
        max(_share(Part.CARRIED, yaw, carried=carried, carried_colour="red") for yaw in (0.0, pi / 2, -pi / 2)) > 0.002
    )


@pytest.mark.parametrize("glasses", attributes.GLASSES[1:])
def test_glasses_are_seen_from_the_front_and_never_from_the_back(glasses: str) -> None:
    assert _share(Part.GLASSES, 0.0, glasses=glasses) > 0.0008
    assert _share(Part.GLASSES, pi, glasses=glasses) == 0


def test_a_chest_print_is_seen_from_the_front_only() -> None:
    printed = {"upper_pattern": "print", "upper_accent": "white"}
    assert _share(Part.PRINT, 0.0, **printed) > 0.004
    assert _share(Part.PRINT, pi, **printed) == 0


def test_a_backpack_shows_its_body_behind_and_its_straps_in_front() -> None:
    assert _share(Part.BAG, pi, bag="backpack", bag_colour="red") > 0.04
    assert _share(Part.STRAP, 0.0, bag="backpack", bag_colour="red") > 0.004
    assert _share(Part.BAG, 0.0, bag="backpack", bag_colour="red") < 0.02


def test_a_ponytail_is_hidden_from_the_front_and_seen_from_behind() -> None:
    tied = {"hair_length": "long", "hair_style": "ponytail"}
    assert _share(Part.TAIL, pi, **tied) > 0.006
    assert _share(Part.TAIL, 0.0, **tied) < 0.004


def test_a_bald_head_shows_its_scalp() -> None:
    bald = _look(_person(hair_length="bald", hair_colour="none"), pi)
    assert bald.parts[Part.HAIR] == 0
    assert bald.parts[Part.SCALP] > 0.003


def test_a_rendering_is_a_jpeg_of_the_asked_size_and_repeats_exactly() -> None:
    person = _person()
    assert _look(person, 0.5).jpeg == _look(person, 0.5).jpeg
    assert _look(person, 0.5).jpeg[:2] == b"\xff\xd8"


def test_every_camera_has_a_place_of_its_own() -> None:
    places = [panorama(0, number) for number in range(1, CAMERAS + 1)]
    assert len({place.tobytes() for place in places}) == CAMERAS
    assert (panorama(0, 1) == panorama.__wrapped__(0, 1)).all()
