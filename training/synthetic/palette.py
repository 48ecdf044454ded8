"""Named colours: the sRGB anchor of each name and how often people wear it.

A colour name stands for a small cloud of shades around its anchor (`shade`), so that two people "in blue" still
differ, and the clouds of two names stay apart far enough to be told at 96x48 pixels.
"""

from collections.abc import Mapping
from random import Random

Rgb = tuple[float, float, float]

ANCHORS: dict[str, Rgb] = {
    "black": (27, 27, 30),
    "white": (234, 234, 231),
    "grey": (126, 128, 131),
    "navy": (32, 44, 106),
    "blue": (34, 92, 202),
    "light blue": (142, 188, 228),
    "red": (196, 32, 38),
    "maroon": (114, 24, 44),
    "pink": (234, 138, 172),
    "orange": (234, 118, 30),
    "yellow": (238, 206, 58),
    "green": (48, 148, 68),
    "dark green": (28, 84, 54),
    "purple": (122, 60, 166),
    "brown": (118, 76, 46),
    "beige": (208, 188, 150),
}

SKIN: dict[str, Rgb] = {"light": (226, 182, 158), "medium": (190, 138, 106), "dark": (104, 70, 52)}

HAIR: dict[str, Rgb] = {
    "black": (26, 23, 23),
    "brown": (96, 60, 36),
    "blonde": (204, 166, 98),
    "red": (164, 70, 30),
    "grey": (150, 150, 152),
}

# Skewed as in a street, yet not so much that half of all people look the same.
UPPER_WEIGHTS: dict[str, float] = {
    "black": 13, "white": 11, "grey": 10, "navy": 6, "blue": 9, "light blue": 6, "red": 8, "maroon": 4, "pink": 6,
    "orange": 4, "yellow": 5, "green": 6, "dark green": 4, "purple": 5, "brown": 4, "beige": 5,
}  # fmt: skip
OUTER_WEIGHTS: dict[str, float] = {
    "black": 17, "grey": 10, "navy": 9, "blue": 7, "red": 7, "maroon": 4, "beige": 9, "brown": 7, "green": 4,
    "dark green": 7, "white": 5, "pink": 3, "orange": 4, "yellow": 4, "purple": 3,
}  # fmt: skip
LOWER_WEIGHTS: dict[str, float] = {
    "black": 22,
    "blue": 12,
    "navy": 11,
    "grey": 13,
    "beige": 11,
    "brown": 7,
    "white": 8,
    "dark green": 5,
    "light blue": 5,
    "red": 3,
    "maroon": 3,
    "pink": 2,
    "purple": 2,
}
SKIRT_WEIGHTS: dict[str, float] = {
    "black": 16, "grey": 8, "navy": 8, "blue": 8, "white": 9, "red": 9, "pink": 8, "beige": 8, "yellow": 6, "purple": 5,
    "green": 6, "maroon": 5, "orange": 4,
}  # fmt: skip
JEANS_WEIGHTS: dict[str, float] = {"blue": 40, "light blue": 22, "black": 18, "grey": 12, "white": 8}
SHOE_WEIGHTS: dict[str, float] = {
    "black": 28, "white": 24, "grey": 9, "brown": 13, "red": 9, "blue": 8, "beige": 4, "pink": 3, "yellow": 2,
}  # fmt: skip
LEATHER_WEIGHTS: dict[str, float] = {"black": 52, "brown": 33, "beige": 10, "grey": 5}
BAG_WEIGHTS: dict[str, float] = {
    "black": 28,
    "brown": 12,
    "red": 12,
    "blue": 12,
    "grey": 7,
    "green": 7,
    "pink": 6,
    "yellow": 6,
    "white": 6,
    "purple": 4,
    "orange": 4,
    "beige": 4,
}


def shade(rng: Random, anchor: Rgb) -> Rgb:
    """One shade of the colour: 8-bit sRGB values in [6, 248], brightness within +-14 % and channels within +-7 of
    the anchor."""
    gain = rng.uniform(0.86, 1.14)
    red, green, blue = (min(248.0, max(6.0, value * gain + rng.uniform(-7, 7))) for value in anchor)
    return red, green, blue


def pick(rng: Random, weights: Mapping[str, float]) -> str:
    """A key drawn in proportion to its weight."""
    left = rng.random() * sum(weights.values())
    for key, weight in weights.items():
        left -= weight
        if left < 0:
            return key
    return key
