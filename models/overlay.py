"""A picture with heat laid over it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

_WEAK, _STRONG = (255, 220, 60), (220, 20, 60)
_OPACITY = 0.7
"""Of the hottest place: what lies below must still be seen."""
_GREYED = 0.75
"""How far the picture's own colours step back: red heat on red clothes could not be told from them."""


def spread(values: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    """Heat (rows, columns) over a picture of `size` (width, height): (height, width) float32, interpolated."""
    image = Image.fromarray(values.numpy().astype(np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)


def overlay(picture: Image.Image, values: Tensor) -> Image.Image:
    """The picture in RGB, greyed and of the same size, with what speaks for the text laid over it, yellow to red.

    The hottest place is red whatever its heat: the colours say where, not whether.
    """
    warm = np.clip(spread(values, picture.size), 0, None)
    share = (warm / max(float(warm.max()), 1e-12))[..., None]
    colour = (1 - share) * np.array(_WEAK, np.float32) + share * np.array(_STRONG, np.float32)
    opacity = _OPACITY * share
    plain = np.asarray(picture.convert("RGB"), np.float32)
    grey = np.asarray(picture.convert("L"), np.float32)[..., None]
    below = (1 - _GREYED) * plain + _GREYED * grey
    mixed = (1 - opacity) * below + opacity * colour
    return Image.fromarray(np.clip(mixed.round(), 0, 255).astype(np.uint8))
