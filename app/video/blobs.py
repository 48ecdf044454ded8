"""From a mask of what moves to boxes that a person could fill."""

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from app.video.background import Change
from app.video.life import ALIVE, outline

Box = tuple[float, float, float, float]
UNSURE = 0.44
"""Score of what may go on with a track and begins none."""
_TALL, _WIDE = (1.15, 6.0), 0.95
"""Height by width of one person's blob; a blob with less is several people beside each other, or none."""
_PAIR = 0.52
"""Width by height from which a blob may be two people."""
_LEAST_HEIGHT = 0.07
"""Of a person, as a share of the frame's height."""
_FILLED = 0.22
_LONGEST = 3.4
"""Height by width to which a body is followed down to its feet."""
_PERSON = 0.42
"""Width by height of a person who walks."""
_SHARP = 4.0
"""Grey levels per pixel: the least difference from the background that counts, within three pixels."""


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


def people(change: Change) -> list[tuple[Box, float]]:
    """Boxes of people and their scores: blobs of a person's shape; wide ones are divided at their thinnest columns. A
    blob that does not live may be what somebody left behind, a soft one light: they get the score `UNSURE`."""
    result: list[tuple[Box, float]] = []
    line = outline(np.asarray(cv2.morphologyEx(change.front, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.uint8))
    for blob in blobs(change.front):
        for box in divided(blob.box, change.front):
            whole = _to_the_feet(box, change.all)
            score = _likeness(whole, change.all)
            if score > 0:
                result.append((whole, score if _somebody(whole, line, change) else UNSURE))
    return result


def _somebody(box: Box, line: NDArray[np.uint8], change: Change) -> bool:
    """Whether the outline of what is in a box has just changed, and is sharper than that of light and shadow."""
    x0, y0, x1, y1 = (int(value) for value in box)
    here = (slice(max(0, y0 - 1), y1 + 1), slice(max(0, x0 - 1), x1 + 1))
    there = line[here] > 0
    if not there.any():
        return False
    alive = np.mean(change.lively[here][there] > 0) >= ALIVE
    return bool(alive and np.mean(change.steps[here][there]) >= _SHARP)


def _to_the_feet(box: Box, mask: NDArray[np.uint8]) -> Box:
    """Grey trousers on a grey floor look like a shadow: below a body, what differs at all is its legs."""
    x0, y0, x1, y1 = (int(value) for value in box)
    tall, wide = y1 - y0, x1 - x0
    side = max(1, wide // 8)
    left, right = max(0, x0 - side), min(mask.shape[1], x1 + side)
    most = min(mask.shape[0], y0 + max(tall, round(_LONGEST * wide)))
    rows = (mask[y1:most, left:right] > 0).sum(axis=1) >= max(2, 0.1 * wide)
    gap, end = 0, 0
    for place, there in enumerate(rows):
        gap = 0 if there else gap + 1
        end = place + 1 if there else end
        if gap > max(2, tall // 20):
            break
    return (x0, y0, x1, y1 + end)


def divided(box: Box, mask: NDArray[np.uint8]) -> list[Box]:
    """A wide blob cut between its heads; one without clear heads as often as its shape says."""
    x0, y0, x1, y1 = (int(value) for value in box)
    tall, wide = y1 - y0, x1 - x0
    if wide < _PAIR * tall or tall < _LEAST_HEIGHT * mask.shape[0]:
        return [box]
    columns = _smooth((mask[y0:y1, x0:x1] > 0).sum(axis=0))
    heads = _smooth((mask[y0 : y0 + max(1, tall // 3), x0:x1] > 0).sum(axis=0))
    peaks = _peaks(heads, apart=max(3, round(0.25 * tall)))
    if len(peaks) >= 2:
        cuts = [left + int(np.argmin(columns[left : right + 1])) for left, right in pairwise(peaks)]
    elif wide >= _WIDE * tall:
        number = min(6, round(wide / (_PERSON * tall)))
        cuts = [wide * step // number for step in range(1, number)]
    else:
        return [box]
    return [_tight((x0 + a, y0, x0 + b, y1), mask) for a, b in pairwise([0, *cuts, wide]) if b - a >= 3]


def _smooth(line: NDArray[np.int_]) -> NDArray[np.float64]:
    return np.convolve(line.astype(np.float64), np.ones(5) / 5, mode="same")


def _peaks(line: NDArray[np.float64], apart: int) -> list[int]:
    """Places of the highest values, `apart` columns from each other and with a valley between, from left to right."""
    most, found = float(line.max(initial=0.0)), list[int]()
    for place in (int(one) for one in np.argsort(-line, kind="stable")):
        if line[place] < 0.45 * most or line[place] <= 0:
            break
        if all(abs(place - other) >= apart and _valley(line, place, other) for other in found):
            found.append(place)
    return sorted(found)


def _valley(line: NDArray[np.float64], one: int, other: int) -> bool:
    between = line[min(one, other) : max(one, other) + 1]
    return bool(between.min() < 0.6 * min(line[one], line[other]))


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
    return float(0.44 + 0.3 * min(1.0, filled / 0.6) + 0.15 * min(1.0, tall / (0.25 * mask.shape[0])))


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
    upper, lower = (one, other) if one[1] <= other[1] else (other, one)
    shared = min(one[2], other[2]) - max(one[0], other[0])
    narrow = min(one[2] - one[0], other[2] - other[0])
    tall = max(one[3], other[3]) - upper[1]
    wide = max(one[2], other[2]) - min(one[0], other[0])
    gap = lower[1] - upper[3]
    above = shared >= 0.5 * narrow and gap <= 0.15 * tall and tall <= 4.5 * wide
    return above or _leg(upper, lower, tall, wide)


def _leg(upper: list[int], lower: list[int], tall: int, wide: int) -> bool:
    """A foot or a leg beside the rest: small, low, and near the middle of the body above."""
    body = upper[3] - upper[1]
    middle = abs((upper[0] + upper[2]) - (lower[0] + lower[2])) / 2
    return (
        lower[3] - lower[1] <= 0.5 * body
        and lower[1] >= upper[1] + 0.45 * body
        and lower[1] <= upper[3] + 0.4 * body
        and middle <= 0.35 * tall
        and wide <= 0.7 * tall
    )
