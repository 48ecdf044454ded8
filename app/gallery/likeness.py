"""Which pictures look the same: a 64-bit difference hash, and the distance below which two are near-duplicates.

The hash says for 8 x 8 places whether the picture gets brighter to the right. In four bands of 16 bits, two hashes that
differ in at most three bits have a band in common, so that four indexed columns find every such pair exactly.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

NEAR = 3
"""Most differing bits of near-duplicates; the bands are exact up to this number."""
_LEAST_CONTRAST = 2.0

Look = tuple[int, int, int, int]


def look(image: Image.Image) -> Look | None:
    """The hash in bands; None for a picture without contrast, whose hash would be noise."""
    small = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)
    if small.std() < _LEAST_CONTRAST:
        return None
    bits = np.packbits(small[:, 1:] > small[:, :-1]).reshape(4, 2).astype(int)
    return as_look([int(high) * 256 + int(low) for high, low in bits])


def as_look(bands: Sequence[int]) -> Look:
    """Four bands as a hash."""
    first, second, third, fourth = bands
    return first, second, third, fourth


def distance(one: Look, other: Look) -> int:
    """In how many bits two hashes differ."""
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))
