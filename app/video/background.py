"""What a fixed camera sees when nobody is there, and which pixels differ from it.

A running mean and a running deviation of each pixel, after Wren et al., Pfinder (TPAMI 1997), section III-A, with a
slow rate where something stands before the background and a test for shadows by constant colour ratio (Horprasert et
al. 1999). OpenCV's MOG2 does the same with several modes a pixel, but its state cannot be saved, and a job that is
resumed must find the same people (decision 0029).

Where something stands before the background nothing is learnt. What differs, does not live (`app.video.life`) and has
no edges that the background lacks is no person but a fault of the background, and is learnt at once.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from app.video.life import ALIVE, Life, Mask, Plane, outline

_ADAPT_S, _ABSORB_S = 12.0, 1800.0
"""Time constants, in seconds, with which free and covered pixels follow the picture."""
_DEAD_S, _MOVED_IN_S = 4.0, 60.0
"""Seconds without life after which a place without edges of its own, or any place, is background."""
_OWN_EDGES = 1.5
"""How much stronger than the background's the edges along the outline of something are that stands before it."""
_LIVELY_S = 0.45
"""Seconds for which a change counts as one of now: two frames at 5 frames per second."""
_LEAST, _TIMES, _MOST_NOISE = 12.0, 3.0, 14.0
"""A pixel differs by more than so many grey levels, and so many deviations."""
_HINT = 0.55
"""Part of that by which a pixel beside others may differ."""
_SHADOW = (0.72, 0.97)
_TINT = 0.025
"""How much the share of a colour may change in a shadow."""
_SOFT = (3, 3)
_FLASH = 0.55
"""Share of differing pixels above which the light or the camera changed, not the people."""
_HEAD = struct.Struct("<4sIId")
_MAGIC = b"DBG2"


class Change(NamedTuple):
    """Planes of (h, w).

    Attributes:
        front, all, lively: 0 or 255: what differs and is no shadow; all that differs a little; what has just changed.
        steps: grey levels per pixel by which the difference grows: high along the border of a body, low in light.
    """

    front: Mask
    all: Mask
    lively: Mask
    steps: Plane


class Background:
    """The background at a small size; frames are (h, w, 3) uint8, all of one size."""

    def __init__(self) -> None:
        self._mean: Plane | None = None
        self._noise: Plane | None = None
        self._life = Life()
        self.at_s = 0.0
        """Time of the last frame."""

    def prime(self, frames: Sequence[NDArray[np.uint8]]) -> None:
        """Begin with the median of some frames: whoever walks through it is in few of them at one place."""
        stack = np.stack([cv2.GaussianBlur(frame, _SOFT, 0) for frame in frames])
        self._mean = np.median(stack, axis=0).astype(np.float32)
        spread = np.abs(stack.astype(np.float32) - self._mean).max(axis=3)
        self._noise = np.clip(np.median(spread, axis=0) * 1.5, 2.0, _MOST_NOISE).astype(np.float32)

    def differs(self, frame: NDArray[np.uint8], at_s: float) -> Change | None:
        """Where something stands before the background; None if the whole picture changed. Learns from the frame."""
        seen = self._exposed(cv2.GaussianBlur(frame, _SOFT, 0).astype(np.float32))
        if self._mean is None or self._noise is None or self._mean.shape != seen.shape:
            self._mean, self._noise = seen, np.full(seen.shape[:2], 4.0, np.float32)
            self.at_s = at_s
            nothing = np.zeros(seen.shape[:2], np.uint8)
            return Change(nothing, nothing, nothing, np.zeros(nothing.shape, np.float32))
        distance = np.abs(seen - self._mean).max(axis=2)
        limit = np.maximum(_LEAST, _TIMES * self._noise)
        self._life.see(seen, limit, at_s)
        changed = distance > limit
        flash = float(changed.mean()) > _FLASH
        change = Change(
            _mask(changed & ~self._shaded(seen)),
            _mask(distance > _HINT * limit),
            self._life.within(at_s, _LIVELY_S),
            _edges(seen - self._mean),
        )
        self._learn(seen, distance, changed, max(0.0, at_s - self.at_s), flash=flash)
        if int(at_s) != int(self.at_s) and not flash:
            self._mend(seen, changed, at_s)
        self.at_s = at_s
        return None if flash else change

    def _mend(self, seen: Plane, changed: NDArray[np.bool_], at_s: float) -> None:
        """Take over what is seen where something differs that is nobody."""
        assert self._mean is not None
        assert self._noise is not None
        closed = cv2.morphologyEx(_mask(changed), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        count, labels = cv2.connectedComponents(cv2.dilate(closed, np.ones((3, 3), np.uint8)), connectivity=8)
        line = np.asarray(outline(np.asarray(closed, np.uint8)) > 0)
        along = labels[line]

        def mean(plane: NDArray[np.generic]) -> NDArray[np.float64]:
            """(count,) the mean of a plane along the outline of each part."""
            sums = np.bincount(along, plane[line].astype(np.float64), count)
            return sums / np.maximum(1, np.bincount(along, minlength=count))

        dead = mean(self._life.within(at_s, _DEAD_S) > 0) < ALIVE
        long = mean(self._life.within(at_s, _MOVED_IN_S) > 0) < ALIVE
        nobody = (dead & (mean(_edges(seen)) < _OWN_EDGES * mean(_edges(self._mean)))) | long
        nobody[0] = False  # what does not differ
        where = np.asarray(nobody[labels])
        self._mean[where] = seen[where]

    def _exposed(self, seen: Plane) -> Plane:
        """The frame at the exposure of the background: cameras open and close their iris when somebody comes near."""
        if self._mean is None or self._mean.shape != seen.shape:
            return seen
        # Of a few pixels (every fourth): the median does not mind the people.
        was, now = self._mean[::4, ::4].reshape(-1, 3), seen[::4, ::4].reshape(-1, 3)
        gains = np.median((was + 4.0) / (now + 4.0), axis=0)
        found: Plane = np.clip(seen * np.clip(gains, 0.6, 1.6), 0, 255).astype(np.float32)
        return found

    def _shaded(self, seen: Plane) -> NDArray[np.bool_]:
        """Where the background is only darker: every colour by the same factor."""
        assert self._mean is not None
        light, was = seen.sum(axis=2) + 1e-3, self._mean.sum(axis=2) + 1e-3
        ratio = light / was
        tint = np.abs(seen / light[..., None] - self._mean / was[..., None]).max(axis=2)
        found: NDArray[np.bool_] = (ratio > _SHADOW[0]) & (ratio < _SHADOW[1]) & (tint < _TINT) & (was > 90)
        return found

    def _learn(self, seen: Plane, distance: Plane, changed: NDArray[np.bool_], dt: float, *, flash: bool) -> None:
        assert self._mean is not None
        assert self._noise is not None
        fast, slow = 1 - np.exp(-dt / (1.0 if flash else _ADAPT_S)), 1 - np.exp(-dt / _ABSORB_S)
        rate = np.where(changed & (not flash), slow, fast).astype(np.float32)
        self._mean += rate[..., None] * (seen - self._mean)
        steady = np.where(changed, 0.0, rate).astype(np.float32)
        self._noise += steady * (np.minimum(distance, _MOST_NOISE) - self._noise)
        np.maximum(self._noise, 1.0, out=self._noise)

    def to_bytes(self) -> bytes:
        """Everything, exactly."""
        if self._mean is None or self._noise is None:
            return b""
        height, width = self._noise.shape
        head = _HEAD.pack(_MAGIC, height, width, self.at_s)
        planes = self._mean.astype("<f4").tobytes() + self._noise.astype("<f4").tobytes()
        return head + planes + self._life.to_bytes()

    def from_bytes(self, data: bytes) -> bool:
        """Take over what `to_bytes` gave; False if it is not that."""
        if len(data) < _HEAD.size or data[:4] != _MAGIC:
            return False
        _, height, width, at_s = _HEAD.unpack_from(data)
        end = _HEAD.size + 16 * height * width
        if len(data) < end:
            return False
        values = np.frombuffer(data[:end], "<f4", offset=_HEAD.size).astype(np.float32)
        self._mean = values[: 3 * height * width].reshape(height, width, 3).copy()
        self._noise = values[3 * height * width :].reshape(height, width).copy()
        self.at_s = at_s
        self._life = Life()
        return self._life.from_bytes(data[end:]) if len(data) > end else True


def _mask(where: NDArray[np.bool_]) -> Mask:
    return where.astype(np.uint8) * 255


def _edges(picture: Plane) -> Plane:
    """(h, w) strength of the edges of (h, w, 3), in grey levels per pixel."""
    grey = picture.mean(axis=2)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *way, ksize=3) / 8 for way in ((1, 0), (0, 1)))
    found: Plane = np.asarray(np.hypot(across, down), np.float32)
    return found
