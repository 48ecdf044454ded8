"""What tells two people apart who cross: the colours of their clothes, or what the loaded encoder sees."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.video.boxes import Floats
from app.video.footage import Pixels

if TYPE_CHECKING:
    from app.embedding.service import EncoderService

Appearance = Callable[[Sequence[Pixels]], Floats]
"""Crops to (N, dim) unit-norm vectors, of which the inner product says how much two crops look alike."""
_BINS = (12, 4)
_BANDS = 3


def colours(crops: Sequence[Pixels]) -> Floats:
    """Square roots of histograms of hue by saturation, and of brightness, in three bands from head to feet: their inner
    product is the Bhattacharyya coefficient."""
    return (
        np.stack([_histogram(crop) for crop in crops]) if crops else np.empty((0, _BANDS * (_BINS[0] * _BINS[1] + 8)))
    )


def _histogram(crop: Pixels) -> Floats:
    small = cv2.resize(crop, (24, 48), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[:, 5:-5]  # the middle: less of the place behind
    parts: list[Floats] = []
    for band in np.array_split(hsv, _BANDS):
        hue, saturation, value = (band[..., place].ravel().astype(np.float64) for place in range(3))
        table, _, _ = np.histogram2d(hue, saturation, _BINS, ((0, 180), (0, 256)), weights=saturation / 255)
        light, _ = np.histogram(value, 8, (0, 256))
        parts += [table.ravel(), light / 2]
    joined = np.sqrt(np.concatenate(parts))
    found: Floats = joined / max(1e-9, float(np.linalg.norm(joined)))
    return found


def encoded(service: "EncoderService") -> Appearance:
    """What the encoder that fills the gallery sees: dearer, and surer."""
    from PIL import Image

    space = service.spec.stored("image")

    def look(crops: Sequence[Pixels]) -> Floats:
        if not crops:
            return np.empty((0, service.spec.spaces[space].dim))
        pixels = [service.encoder.preprocess(Image.fromarray(crop)) for crop in crops]
        return np.asarray(service.encode_here(pixels)[space], np.float64)

    return look
