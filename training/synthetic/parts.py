"""What a pixel shows (`Part`) and how its surface is coloured (`Material`)."""

from enum import IntEnum


class Part(IntEnum):
    """The parts that the id buffer tells apart. What a description may mention is decided by counting their pixels."""

    NOTHING = 0
    FACE = 1
    SKIN = 2
    HAIR = 3
    TAIL = 4  # hair that falls, a ponytail, a bun
    HAT = 5
    GLASSES = 6
    UPPER = 7
    PRINT = 8
    OUTER = 9
    LOWER = 10
    SHOES = 11
    BAG = 12
    STRAP = 13
    CARRIED = 14
    OTHER = 15  # an occluder or a passer-by
    SCALP = 16  # the bare crown of a bald head


class Material(IntEnum):
    """How the colour of a primitive varies over its surface."""

    PLAIN = 0
    UPPER_TORSO = 1
    UPPER_SLEEVE = 2
    OUTER_TORSO = 3
    OUTER_SLEEVE = 4
    OUTER_SKIRT = 5
    LEG = 6
    HEAD = 7
    HAIR = 8
    SKIRT = 9
    SHOE = 10
