"""What a synthetic person is: the attribute tables, and how one person is drawn from them.

`Identity.values` is the truth that captions may mention and the oracle ranks by: attribute name -> value, every
attribute always present ("none" where the person has no such thing). Skin tone is varied and recorded, but no
description ever mentions it.
"""

from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from training.synthetic import palette
from training.synthetic.palette import Rgb, pick, shade

SPLITS = ("train", "val", "test")

# The whole vocabulary of values by attribute (colours are `palette.ANCHORS` except for hair).
SEXES = ("man", "woman")
AGES = ("child", "adult", "elderly")
BUILDS = ("slim", "average", "heavy")
HAIR_LENGTHS = ("bald", "short", "medium", "long")
HAIR_STYLES = ("none", "loose", "ponytail", "bun")
HATS = ("none", "cap", "beanie", "sun hat")
GLASSES = ("none", "glasses", "sunglasses")
UPPERS = ("t-shirt", "long-sleeved top", "shirt", "polo shirt", "tank top", "sweater", "hoodie", "blouse", "dress")
PATTERNS = ("plain", "stripes", "checks", "print")
OUTERS = ("none", "jacket", "puffer jacket", "blazer", "cardigan", "vest", "coat")
LOWERS = ("jeans", "trousers", "leggings", "joggers", "shorts", "short skirt", "long skirt", "none")
SHOES = ("sneakers", "boots", "dress shoes", "sandals", "high heels")
BAGS = ("none", "backpack", "handbag", "shoulder bag", "suitcase")
CARRIED = ("none", "phone", "cup", "bottle", "book", "umbrella", "shopping bag")

_UPPER = {
    "man": {
        "t-shirt": 26,
        "shirt": 18,
        "polo shirt": 11,
        "long-sleeved top": 11,
        "sweater": 13,
        "hoodie": 15,
        "tank top": 6,
    },
    "woman": {
        "t-shirt": 18,
        "blouse": 11,
        "long-sleeved top": 10,
        "sweater": 12,
        "hoodie": 8,
        "tank top": 11,
        "shirt": 6,
        "polo shirt": 4,
        "dress": 20,
    },
}
_LOWER = {
    "man": {"jeans": 30, "trousers": 34, "joggers": 13, "shorts": 23},
    "woman": {
        "jeans": 26,
        "trousers": 17,
        "leggings": 13,
        "shorts": 13,
        "short skirt": 15,
        "long skirt": 11,
        "joggers": 5,
    },
}
_OUTER = {
    "man": {"none": 60, "jacket": 15, "puffer jacket": 7, "blazer": 7, "vest": 4, "coat": 7},
    "woman": {"none": 60, "jacket": 10, "puffer jacket": 7, "blazer": 5, "cardigan": 8, "vest": 2, "coat": 8},
}
_PATTERN = {
    "t-shirt": {"plain": 52, "stripes": 18, "print": 30},
    "long-sleeved top": {"plain": 56, "stripes": 30, "print": 14},
    "shirt": {"plain": 50, "stripes": 14, "checks": 36},
    "polo shirt": {"plain": 70, "stripes": 30},
    "tank top": {"plain": 72, "stripes": 16, "print": 12},
    "sweater": {"plain": 62, "stripes": 24, "print": 14},
    "hoodie": {"plain": 64, "print": 36},
    "blouse": {"plain": 72, "stripes": 10, "checks": 18},
    "dress": {"plain": 64, "stripes": 18, "checks": 18},
}
_SHOES = {
    "man": {"sneakers": 58, "boots": 12, "dress shoes": 20, "sandals": 10},
    "woman": {"sneakers": 46, "boots": 16, "sandals": 14, "high heels": 16, "dress shoes": 8},
}
_HAIR = {
    "man": {"bald": 8, "short": 80, "medium": 9, "long": 3},
    "woman": {"short": 15, "medium": 27, "long": 58},
}
_HAIR_COLOUR = {"black": 36, "brown": 30, "blonde": 20, "red": 9, "grey": 5}
_BAG = {
    "man": {"none": 42, "backpack": 32, "shoulder bag": 16, "suitcase": 10},
    "woman": {"none": 34, "backpack": 19, "handbag": 22, "shoulder bag": 16, "suitcase": 9},
}
_CARRIED = {"none": 70, "phone": 6, "cup": 4, "bottle": 4, "book": 5, "umbrella": 4, "shopping bag": 7}
_HAT = {"none": 78, "cap": 11, "beanie": 6, "sun hat": 5}
_SHOULDERED = ("backpack", "shoulder bag")
_LIGHT = frozenset({"white", "yellow", "beige", "light blue", "pink", "grey", "orange"})
# What may be worn together with a layer over it, and what keeps the legs bare of trousers.
_WARM = frozenset({"sweater", "hoodie"})


@dataclass(frozen=True)
class Identity:
    """One person. `values`: attribute -> value. `colours`: what is coloured -> 8-bit sRGB. `traits`: 0..1 numbers,
    by name."""

    values: dict[str, str]
    colours: dict[str, Rgb]
    traits: dict[str, float]

    def __getitem__(self, attribute: str) -> str:
        return self.values[attribute]

    def combination(self) -> str:
        """The key combination that decides which split may draw this person."""
        return "|".join(self.values[name] for name in COMBINATION)


TRAITS = ("height", "width", "print", "period", "length", "flare", "shine", "open", "side")
COMBINATION = ("upper", "upper_colour", "outer", "outer_colour", "lower", "lower_colour")
_SHARES = {"train": range(70), "val": range(70, 78), "test": range(78, 100)}


def split_of(combination: str) -> str:
    """The one split that may contain this combination: train (70 %), val (8 %) or test (22 %) of all combinations."""
    bucket = int.from_bytes(blake2b(combination.encode(), digest_size=4).digest()) % 100
    return next(split for split, share in _SHARES.items() if bucket in share)


def draw_identity(rng: Random, split: str) -> Identity:
    """A random person whose key combination belongs to `split`."""
    while True:
        values = _person(rng)
        _dress(rng, values)
        if split_of("|".join(values[name] for name in COMBINATION)) == split:
            break
    _equip(rng, values)
    return Identity(values, _shades(rng, values), {name: rng.random() for name in TRAITS})


def _person(rng: Random) -> dict[str, str]:
    sex = rng.choice(SEXES)
    age = pick(rng, {"child": 8, "adult": 80, "elderly": 12})
    length = pick(rng, _HAIR[sex])
    if age == "child" and length == "bald":
        length = "short"
    style = "none" if length in ("bald", "short") else pick(rng, {"loose": 60, "ponytail": 27, "bun": 13})
    colours = {"grey": 88, "brown": 6, "black": 6} if age == "elderly" else _HAIR_COLOUR
    if age == "child":
        colours = {name: weight for name, weight in colours.items() if name != "grey"}
    return {
        "sex": sex,
        "age": age,
        "build": pick(rng, {"slim": 30, "average": 48, "heavy": 22}),
        "skin": pick(rng, {"light": 50, "medium": 30, "dark": 20}),
        "hair_length": length,
        "hair_style": style,
        "hair_colour": "none" if length == "bald" else pick(rng, colours),
    }


def _dress(rng: Random, values: dict[str, str]) -> None:
    sex = values["sex"]
    upper = pick(rng, _UPPER[sex])
    colours = palette.UPPER_WEIGHTS
    if upper in ("shirt", "blouse"):
        colours = colours | {"white": 20, "light blue": 15, "blue": 12}
    values |= {"upper": upper, "upper_colour": pick(rng, colours), "upper_pattern": pick(rng, _PATTERN[upper])}
    outer = "none" if upper in _WARM and rng.random() < 0.7 else pick(rng, _OUTER[sex])
    values |= {"outer": outer, "outer_colour": "none" if outer == "none" else pick(rng, palette.OUTER_WEIGHTS)}
    lower = "none" if upper == "dress" else pick(rng, _LOWER[sex])
    while values["age"] == "elderly" and lower in ("short skirt", "leggings"):
        lower = pick(rng, _LOWER[sex])
    values |= {"lower": lower, "lower_colour": "none" if lower == "none" else _lower_colour(rng, lower)}
    light = values["upper_colour"] in _LIGHT
    accents = {"white": 5, "black": 4, "red": 2, "blue": 2, "yellow": 2, "grey": 1, "navy": 1, "green": 1}
    contrast = {name: weight for name, weight in accents.items() if (name in _LIGHT) != light}
    values["upper_accent"] = "none" if values["upper_pattern"] == "plain" else pick(rng, contrast)


def _lower_colour(rng: Random, lower: str) -> str:
    if lower == "jeans":
        return pick(rng, palette.JEANS_WEIGHTS)
    return pick(rng, palette.SKIRT_WEIGHTS if "skirt" in lower else palette.LOWER_WEIGHTS)


def _equip(rng: Random, values: dict[str, str]) -> None:
    sex, child = values["sex"], values["age"] == "child"
    shoes = pick(rng, _SHOES[sex])
    if (child or values["lower"] == "joggers") and shoes in ("high heels", "dress shoes"):
        shoes = "sneakers"
    values["shoes"] = shoes
    values["shoes_colour"] = pick(
        rng, palette.SHOE_WEIGHTS if shoes in ("sneakers", "high heels") else palette.LEATHER_WEIGHTS
    )
    hat = pick(rng, _HAT)
    values |= {"hat": hat, "hat_colour": "none" if hat == "none" else pick(rng, palette.BAG_WEIGHTS)}
    values["glasses"] = pick(rng, {"none": 80, "glasses": 11, "sunglasses": 9})
    bag = pick(rng, _BAG[sex])
    if child and bag in ("handbag", "suitcase"):
        bag = "backpack"
    if values["hat"] == "sun hat" and values["hair_style"] == "bun":
        values["hair_style"] = "loose"
    while True:
        bag_colour = pick(rng, palette.BAG_WEIGHTS)
        if bag not in _SHOULDERED or bag_colour != (
            values["outer_colour"] if values["outer"] != "none" else values["upper_colour"]
        ):
            break
    values |= {"bag": bag, "bag_colour": "none" if bag == "none" else bag_colour}
    carried = pick(rng, _CARRIED)
    while child and carried in ("phone", "cup"):
        carried = pick(rng, _CARRIED)
    values |= {
        "carried": carried,
        "carried_colour": "none" if carried in ("none", "phone") else pick(rng, palette.BAG_WEIGHTS),
    }


def _shades(rng: Random, values: dict[str, str]) -> dict[str, Rgb]:
    colours = {
        name: shade(rng, palette.ANCHORS[values[f"{name}_colour"]])
        for name in ("upper", "outer", "lower", "shoes", "hat", "bag", "carried")
        if values[f"{name}_colour"] != "none"
    }
    if values["lower"] == "jeans" and values["lower_colour"] == "blue":
        colours["lower"] = shade(rng, (48, 74, 126))  # denim, not the blue of a shirt
    if values["upper_accent"] != "none":
        colours["accent"] = shade(rng, palette.ANCHORS[values["upper_accent"]])
    colours["skin"] = shade(rng, palette.SKIN[values["skin"]])
    colours["hair"] = shade(rng, palette.HAIR.get(values["hair_colour"], palette.HAIR["grey"]))
    return colours
