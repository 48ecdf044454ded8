"""Which pictures look the same: a 64-bit difference hash, and the distance below which two are near-duplicates.

The hash says for 8 x 8 places whether the picture gets brighter to the right. In four bands of 16 bits, two hashes that
differ in at most three bits have a band in common, so that four indexed columns find every such pair exactly.

Measured on 616 synthetic crops: of copies encoded again (quality 30 to 85) or resized (half to 1.5 times), 96 to 99.8 %
lie within three bits; of 189,420 pairs of different crops none does: the nearest two of one person differ in 11 bits,
the nearest two of different people in 8. A picture shares a band with 0.3 % of the others, which a lookup reads: some
3,000 rows for each picture at a million images.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NEAR = 3
"""Most differing bits of near-duplicates; the bands are exact up to this number."""
_LEAST_CONTRAST = 2.0

Look = tuple[int, int, int, int]


def look(image: Image.Image) -> Look | None:
    """The hash in bands; None for a picture without contrast, whose hash would be noise."""
    small = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BICUBIC), np.int16)
    if small.std() < _LEAST_CONTRAST:
        return None
    bits = np.packbits(small[:, 1:] > small[:, :-1]).reshape(4, 2).astype(int)
    return as_look([int(high) * 256 + int(low) for high, low in bits])


def as_look(bands: Sequence[int]) -> Look:
    """Four bands as a hash."""
    first, second, third, fourth = bands
    return first, second, third, fourth


def distances(looks: Sequence[Look] | NDArray[np.uint16], other: Look) -> NDArray[np.int64]:
    """In how many bits each of some hashes differs from another one."""
    differing = np.asarray(looks, np.uint16).reshape(-1, 4) ^ np.array(other, np.uint16)
    bits: NDArray[np.int64] = np.bitwise_count(differing).sum(axis=1, dtype=np.int64)
    return bits
