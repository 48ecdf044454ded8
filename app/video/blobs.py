"""From a mask of what moves to boxes that a person could fill."""

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
_TALL, _WIDE = (1.15, 6.0), 0.95
"""Height by width of one person's blob; a blob with less is several people beside each other, or none."""
_LEAST_HEIGHT = 0.07
"""Of a person, as a share of the frame's height."""
_FILLED = 0.22
_PERSON = 0.42
"""Width by height of a person who walks."""


class Blob(NamedTuple):
    """Something that moves: its box, and the share of it that differs from the background."""

    box: Box
    filled: float


def blobs(mask: NDArray[np.uint8]) -> list[Blob]:
    """The connected parts of a mask, after specks are gone and gaps are closed, parts of one person joined."""
    height, width = mask.shape
    unit = max(1, round(height / 180))
    cross = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * unit + 1, 2 * unit + 1))
    tall = cv2.getStructuringElement(cv2.MORPH_RECT, (3 * unit, 9 * unit))
    clean = cv2.morphologyEx(mask, cv2.MORPH_OPEN, cross)
    clean = cv2.morphologyEx(clean, cv2.MORPH_CLOSE, tall)
    count, _, stats, _ = cv2.connectedComponentsWithStats(clean, connectivity=8)
    least = max(12, round(height * width * 0.0003))
    parts = [tuple(int(value) for value in row) for row in stats[1:count] if row[cv2.CC_STAT_AREA] >= least]
    return _joined([(x, y, x + w, y + h, area) for x, y, w, h, area in parts])


def people(found: list[Blob], mask: NDArray[np.uint8]) -> list[tuple[Box, float]]:
    """Boxes of people and their scores: blobs of a person's shape; wide ones are divided at their thinnest columns."""
    result: list[tuple[Box, float]] = []
    for blob in found:
        for box in divided(blob.box, mask):
            score = _likeness(box, mask)
            if score > 0:
                result.append((box, score))
    return result


def divided(box: Box, mask: NDArray[np.uint8]) -> list[Box]:
    """A wide blob cut into as many people as its shape says, where the fewest pixels differ."""
    x0, y0, x1, y1 = (int(value) for value in box)
    tall, wide = y1 - y0, x1 - x0
    number = round(wide / max(1.0, _PERSON * tall))
    if wide < _WIDE * tall * 0.8 or number < 2 or number > 6 or tall < _LEAST_HEIGHT * mask.shape[0]:
        return [box]
    columns = (mask[y0:y1, x0:x1] > 0).sum(axis=0).astype(np.float64)
    smooth = np.convolve(columns, np.ones(5) / 5, mode="same")
    heads = (mask[y0 : y0 + max(1, tall // 3), x0:x1] > 0).sum(axis=0)
    peaks = _peaks(np.convolve(heads, np.ones(5) / 5, mode="same"), apart=max(3, round(0.3 * tall)))
    number = len(peaks) if len(peaks) >= 2 else number if not peaks else 1
    if number < 2:
        return [box]
    if len(peaks) >= 2:
        cuts = [left + int(np.argmin(smooth[left : right + 1])) for left, right in pairwise(peaks)]
    else:
        cuts = [wide * step // number for step in range(1, number)]
    edges = [0, *cuts, wide]
    return [_tight((x0 + a, y0, x0 + b, y1), mask) for a, b in pairwise(edges) if b - a >= 3]


def _peaks(line: NDArray[np.float64], apart: int) -> list[int]:
    """Places of the highest values, `apart` columns from each other, from left to right."""
    most, found = float(line.max(initial=0.0)), list[int]()
    for place in np.argsort(-line, kind="stable"):
        if line[place] < 0.5 * most or line[place] <= 0:
            break
        if all(abs(int(place) - other) >= apart for other in found):
            found.append(int(place))
    return sorted(found)


def _tight(box: Box, mask: NDArray[np.uint8]) -> Box:
    """The box around what differs within a box."""
    x0, y0, x1, y1 = (int(value) for value in box)
    rows, columns = np.nonzero(mask[y0:y1, x0:x1])
    if not len(rows):
        return box
    return (x0 + int(columns.min()), y0 + int(rows.min()), x0 + int(columns.max()) + 1, y0 + int(rows.max()) + 1)


def _likeness(box: Box, mask: NDArray[np.uint8]) -> float:
    """How much a blob is shaped like a person, 0..1."""
    x0, y0, x1, y1 = box
    tall, wide = y1 - y0, max(1.0, x1 - x0)
    if tall < _LEAST_HEIGHT * mask.shape[0]:
        return 0.0
    ratio = tall / wide
    filled = float(np.mean(mask[int(y0) : int(y1), int(x0) : int(x1)] > 0))
    at_edge = x0 <= 1 or y0 <= 1 or x1 >= mask.shape[1] - 1 or y1 >= mask.shape[0] - 1
    low = 0.8 if at_edge else _TALL[0]  # somebody whose feet are below the frame is less tall
    if not low <= ratio <= _TALL[1] or filled < _FILLED:
        return 0.0
    return float(0.45 + 0.3 * min(1.0, filled / 0.6) + 0.15 * min(1.0, tall / (0.25 * mask.shape[0])))


def _joined(parts: list[tuple[int, int, int, int, int]]) -> list[Blob]:
    """Parts above each other are one person: a head, a trunk and legs with a gap at the belt."""
    boxes = [list(part) for part in sorted(parts)]
    merged = True
    while merged:
        merged = False
        for i, one in enumerate(boxes):
            for j in range(i + 1, len(boxes)):
                if _one_person(one, boxes[j]):
                    other = boxes.pop(j)
                    one[0], one[1] = min(one[0], other[0]), min(one[1], other[1])
                    one[2], one[3], one[4] = max(one[2], other[2]), max(one[3], other[3]), one[4] + other[4]
                    merged = True
                    break
            if merged:
                break
    return [Blob((x0, y0, x1, y1), area / max(1, (x1 - x0) * (y1 - y0))) for x0, y0, x1, y1, area in boxes]


def _one_person(one: list[int], other: list[int]) -> bool:
    shared = min(one[2], other[2]) - max(one[0], other[0])
    narrow = min(one[2] - one[0], other[2] - other[0])
    gap = max(one[1], other[1]) - min(one[3], other[3])
    tall = max(one[3], other[3]) - min(one[1], other[1])
    wide = max(one[2], other[2]) - min(one[0], other[0])
    return shared >= 0.5 * narrow and gap <= 0.15 * tall and tall <= 4.5 * wide
