"""What a fixed camera sees when nobody is there, and which pixels differ from it.

A running mean and a running deviation of each pixel, after Wren et al., Pfinder (TPAMI 1997), section III-A, with a
slow rate where something stands before the background and a test for shadows by constant colour ratio (Horprasert et
al. 1999). OpenCV's MOG2 does the same with several modes a pixel, but its state cannot be saved, and a job that is
resumed must find the same people (decision 0029).
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]
_ADAPT_S, _ABSORB_S = 12.0, 240.0
"""Time constants, in seconds, with which free and covered pixels follow the picture."""
_LEAST, _TIMES, _MOST_NOISE = 12.0, 3.0, 14.0
"""A pixel differs by more than so many grey levels, and so many deviations."""
_HINT = 0.55
"""Part of that by which a pixel beside others may differ."""
_SHADOW = (0.72, 0.97)
_TINT = 0.025
"""How much the share of a colour may change in a shadow."""
_FLASH = 0.55
"""Share of differing pixels above which the light or the camera changed, not the people."""
_HEAD = struct.Struct("<4sIId")
_MAGIC = b"DBG1"


class Change(NamedTuple):
    """(h, w) uint8 masks, 0 or 255: `front`, what differs and is no shadow, and `all` that differs a little."""

    front: Mask
    all: Mask


class Background:
    """The background at a small size; frames are (h, w, 3) uint8, all of one size."""

    def __init__(self) -> None:
        self._mean: Plane | None = None
        self._noise: Plane | None = None
        self.at_s = 0.0
        """Time of the last frame."""

    def prime(self, frames: Sequence[NDArray[np.uint8]]) -> None:
        """Begin with the median of some frames: whoever walks through it is in few of them at one place."""
        stack = np.stack(frames)
        self._mean = np.median(stack, axis=0).astype(np.float32)
        spread = np.abs(stack.astype(np.float32) - self._mean).max(axis=3)
        self._noise = np.clip(np.median(spread, axis=0) * 1.5, 2.0, _MOST_NOISE).astype(np.float32)

    def differs(self, frame: NDArray[np.uint8], at_s: float) -> Change | None:
        """Where something stands before the background; None if the whole picture changed. Learns from the frame."""
        seen = self._exposed(cv2.GaussianBlur(frame, (3, 3), 0).astype(np.float32))
        if self._mean is None or self._noise is None or self._mean.shape != seen.shape:
            self._mean, self._noise = seen, np.full(seen.shape[:2], 4.0, np.float32)
            self.at_s = at_s
            nothing = np.zeros(seen.shape[:2], np.uint8)
            return Change(nothing, nothing)
        distance = np.abs(seen - self._mean).max(axis=2)
        limit = np.maximum(_LEAST, _TIMES * self._noise)
        changed = distance > limit
        flash = float(changed.mean()) > _FLASH
        front = changed & ~self._shaded(seen)
        self._learn(seen, distance, changed, max(0.0, at_s - self.at_s), flash=flash)
        self.at_s = at_s
        return (
            None if flash else Change(front.astype(np.uint8) * 255, (distance > _HINT * limit).astype(np.uint8) * 255)
        )

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
        return head + self._mean.astype("<f4").tobytes() + self._noise.astype("<f4").tobytes()

    def from_bytes(self, data: bytes) -> bool:
        """Take over what `to_bytes` gave; False if it is not that."""
        if len(data) < _HEAD.size or data[:4] != _MAGIC:
            return False
        _, height, width, at_s = _HEAD.unpack_from(data)
        if len(data) != _HEAD.size + 16 * height * width:
            return False
        values = np.frombuffer(data, "<f4", offset=_HEAD.size).astype(np.float32)
        self._mean = values[: 3 * height * width].reshape(height, width, 3).copy()
        self._noise = values[3 * height * width :].reshape(height, width).copy()
        self.at_s = at_s
        return True
