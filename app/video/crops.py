"""Which crops of a track are kept: sharp, large, whole, not hidden, and spread over its time."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from PIL import Image

from app.video.appearance import colours
from app.video.boxes import Floats, areas, intersections
from app.video.footage import Pixels

_MARGIN = 0.06
_ROWS = 128
_SHARP, _LARGE = 250.0, 160.0
"""Sharpness and height (pixels) from which more is worth little more."""
_CUT, _ODD = 0.35, 0.6
_WORTH = 0.4
"""Share of the best crop's quality below which a crop is not kept beside it."""
_ALIKE = 0.8
"""Likeness of colours below which two crops of a track show two people. Of walking people, crops of one person are
above it in 97 of 100 pairs, and those of two whom a track confused are below it in 3 of 4."""
_JPEG = 95


@dataclass(frozen=True, slots=True)
class Shot:
    """One crop. `box`: left, top, right, bottom of the person in the frame, in pixels; `quality` 0..1."""

    at_s: float
    quality: float
    box: tuple[float, float, float, float]
    jpeg: bytes

    def to_json(self) -> list[Any]:
        """Everything, exactly."""
        return [self.at_s, self.quality, list(self.box), base64.b64encode(self.jpeg).decode()]

    @classmethod
    def from_json(cls, value: list[Any]) -> "Shot":
        """What `to_json` gave."""
        at_s, quality, box, jpeg = value
        left, top, right, bottom = box
        return cls(at_s, quality, (left, top, right, bottom), base64.b64decode(jpeg))


@dataclass
class Album:
    """The best crops of one track so far, in bounded memory: the best one of each stretch of time, and the stretches
    double when they become too many.

    Attributes:
        most: crops that are kept in the end.
        stretch_s: length of a stretch in seconds.
    """

    most: int
    first_s: float
    stretch_s: float = 0.4
    shots: dict[int, Shot] = field(default_factory=dict)

    def offer(self, at_s: float, quality: float, make: Callable[[], Shot]) -> None:
        """Keep a crop if it is the best of its stretch; `make` is called only then."""
        place = int((at_s - self.first_s) / self.stretch_s)
        held = self.shots.get(place)
        if held is not None and held.quality >= quality:
            return
        self.shots[place] = make()
        while len(self.shots) > 3 * self.most:
            self.stretch_s *= 2
            best: dict[int, Shot] = {}
            for shot in self.shots.values():
                place = int((shot.at_s - self.first_s) / self.stretch_s)
                if place not in best or best[place].quality < shot.quality:
                    best[place] = shot
            self.shots = best

    def people(self) -> list[list[Shot]]:
        """`spread` for each person whom the crops show: where people cross, a track may go over to another one."""
        return [self.spread(shots) for shots in by_look(self.worth())]

    def worth(self) -> list[Shot]:
        """All crops but those that are far worse than the best: they are no gain."""
        best = max((shot.quality for shot in self.shots.values()), default=0.0)
        return [shot for shot in self.shots.values() if shot.quality >= _WORTH * best]

    def spread(self, shots: list[Shot]) -> list[Shot]:
        """At most `most` crops in the order of time: the best first, then the best that is not close to one that was
        taken."""
        times = [shot.at_s for shot in shots]
        length = max(times, default=0.0) - min(times, default=0.0)
        apart, taken = max(0.35, length / (1.5 * self.most)), list[Shot]()
        for shot in sorted(shots, key=lambda shot: (-shot.quality, shot.at_s)):
            if len(taken) < self.most and all(abs(shot.at_s - other.at_s) >= apart for other in taken):
                taken.append(shot)
        return sorted(taken, key=lambda shot: shot.at_s)

    def to_json(self) -> dict[str, Any]:
        """Everything, exactly."""
        shots = [[place, shot.to_json()] for place, shot in sorted(self.shots.items())]
        return {"most": self.most, "first_s": self.first_s, "stretch_s": self.stretch_s, "shots": shots}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Album":
        """What `to_json` gave."""
        shots = {int(place): Shot.from_json(shot) for place, shot in value["shots"]}
        return cls(value["most"], value["first_s"], value["stretch_s"], shots)


def by_look(shots: Sequence[Shot]) -> list[list[Shot]]:
    """Crops of one track, those whose colours are alike together; whoever was first comes first.

    A single one that is unlike all others is left out: mostly a place that somebody has left, or somebody who hides
    half of another. Where there are only such, the best one is kept.
    """
    groups: list[tuple[list[Shot], Floats]] = []
    ordered = sorted(shots, key=lambda shot: shot.at_s)
    looks = colours([_inner(shot) for shot in ordered])
    for shot, look in zip(ordered, looks, strict=True):
        alike = [float(look @ total) / float(np.linalg.norm(total)) for _, total in groups]
        if alike and max(alike) >= _ALIKE:
            members, total = groups[int(np.argmax(alike))]
            members.append(shot)
            total += look
        else:
            groups.append(([shot], look.copy()))
    several = [members for members, _ in groups if len(members) > 1]
    return several or [[max(ordered, key=lambda shot: shot.quality)] for _ in groups[:1]]


def _inner(shot: Shot) -> Pixels:
    """A crop without its margin."""
    pixels = np.asarray(Image.open(io.BytesIO(shot.jpeg)))
    down, across = (round(side * _MARGIN / (1 + 2 * _MARGIN)) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[down : len(pixels) - down, across : pixels.shape[1] - across])


def qualities(pixels: Pixels, boxes: Floats) -> list[float]:
    """How good a picture of its person each box (N, 4) would be, 0..1."""
    height, width = pixels.shape[:2]
    hidden = _hidden(boxes)
    found = []
    for row, (left, top, right, bottom) in enumerate(boxes.tolist()):
        crop = cut(pixels, (left, top, right, bottom), margin=0.0)
        tall, wide = bottom - top, max(1.0, right - left)
        sharp = sharpness(crop)
        value = float(np.sqrt(sharp / (sharp + _SHARP))) * min(1.0, tall / _LARGE) ** 0.5
        value *= (1.0 - hidden[row]) ** 2
        if left <= 2 or top <= 1 or right >= width - 2 or bottom >= height - 1:
            value *= _CUT
        if not 1.6 <= tall / wide <= 4.5:
            value *= _ODD
        found.append(value)
    return found


def sharpness(crop: Pixels) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al., ICPR 2000) of a crop at `_ROWS` rows, so that sizes compare."""
    height, width = crop.shape[:2]
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    same = cv2.resize(grey, (max(8, round(width * _ROWS / height)), _ROWS), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(same, cv2.CV_32F).var())


def cut(pixels: Pixels, box: tuple[float, float, float, float], margin: float = _MARGIN) -> Pixels:
    """The pixels of a box with a margin (share of its sides), within the frame; at least 8 x 8 where the frame has."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    dx, dy = margin * (right - left), margin * (bottom - top)
    x0, y0 = max(0, min(width - 8, round(left - dx))), max(0, min(height - 8, round(top - dy)))
    x1, y1 = min(width, max(x0 + 8, round(right + dx))), min(height, max(y0 + 8, round(bottom + dy)))
    return pixels[y0:y1, x0:x1]


def shot(pixels: Pixels, box: Floats, at_s: float, quality: float) -> Shot:
    """Cut one crop out and encode it."""
    left, top, right, bottom = (round(float(value), 1) for value in box)
    buffer = io.BytesIO()
    Image.fromarray(cut(pixels, (left, top, right, bottom))).save(buffer, "JPEG", quality=_JPEG)
    return Shot(at_s, quality, (left, top, right, bottom), buffer.getvalue())


def _hidden(boxes: Floats) -> Floats:
    """(N,) share of each box that boxes of people who stand nearer cover; nearer is whose feet are lower."""
    if len(boxes) < 2:
        return np.zeros(len(boxes))
    shared = intersections(boxes, boxes) / np.maximum(areas(boxes), 1.0)[:, None]
    nearer = boxes[None, :, 3] > boxes[:, None, 3]
    found: Floats = np.minimum(1.0, (shared * nearer).max(axis=1))
    return found
