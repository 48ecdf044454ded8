"""Boxes of people in a frame: left, top, right, bottom in pixels, as rows of float64 arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Detections(NamedTuple):
    """People found in one frame: `boxes` (N, 4), `scores` (N,) in 0..1, the surest first."""

    boxes: Floats
    scores: Floats

    @classmethod
    def none(cls) -> "Detections":
        """Nobody."""
        return cls(np.empty((0, 4)), np.empty(0))

    @classmethod
    def of(cls, boxes: list[tuple[float, float, float, float]], scores: list[float]) -> "Detections":
        """From lists, sorted in a way that depends on nothing but the values."""
        if not boxes:
            return cls.none()
        table = np.array(boxes, np.float64)
        order = np.lexsort((table[:, 1], table[:, 0], -np.array(scores)))
        return cls(table[order], np.array(scores, np.float64)[order])

    def clipped(self, width: int, height: int) -> "Detections":
        """Cut at the frame's edges; what is empty then is left out."""
        boxes = np.clip(self.boxes, 0, np.array([width, height, width, height], np.float64))
        kept = (boxes[:, 2] - boxes[:, 0] >= 2) & (boxes[:, 3] - boxes[:, 1] >= 4)
        return Detections(boxes[kept], self.scores[kept])


def areas(boxes: Floats) -> Floats:
    """(N,) areas in square pixels."""
    found: Floats = np.maximum(0, boxes[:, 2] - boxes[:, 0]) * np.maximum(0, boxes[:, 3] - boxes[:, 1])
    return found


def intersections(first: Floats, second: Floats) -> Floats:
    """(N, M) shared areas in square pixels."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(0, high - low)
    found: Floats = sides[..., 0] * sides[..., 1]
    return found


def overlaps(first: Floats, second: Floats) -> Floats:
    """(N, M) intersection over union, 0..1."""
    shared = intersections(first, second)
    union = areas(first)[:, None] + areas(second)[None, :] - shared
    found: Floats = shared / np.maximum(union, 1e-9)
    return found


def suppress(found: Detections, most: float) -> Detections:
    """Without boxes that overlap a surer one by more than `most` (greedy non-maximum suppression)."""
    if len(found.scores) < 2:
        return found
    order = np.lexsort((found.boxes[:, 1], found.boxes[:, 0], -found.scores))
    shared = overlaps(found.boxes, found.boxes)
    kept: list[int] = []
    for row in order:
        if all(shared[row, other] <= most for other in kept):
            kept.append(int(row))
    return Detections(found.boxes[kept], found.scores[kept])
