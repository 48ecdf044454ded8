"""A box that moves at constant velocity: four Kalman filters of position and velocity, one for each of cx, cy, w, h.

x' = x + v dt, white noise on the acceleration (Bar-Shalom, Li, Kirubarajan 2001, section 6.2.2: the discrete
white-noise-acceleration covariance q [[dt^4/4, dt^3/2], [dt^3/2, dt^2]] with q the variance of the acceleration). The
four dimensions do not influence each other, so that 2 x 2 matrices do what an 8 x 8 one would.
"""

from dataclasses import dataclass

import numpy as np

from app.video.boxes import Floats

_PLACE, _SIZE = 0.05, 0.06
"""Standard deviation of a measured centre and size, as a share of the height."""
_PUSH = np.array([1.6, 0.9, 0.5, 0.7])
"""Standard deviation of the acceleration of cx, cy, w, h, in heights per second squared."""
_SPEED = 0.7
"""Standard deviation of the speed of somebody who appears, in heights per second."""


@dataclass
class Motion:
    """State of one person: `mean` (4, 2) position and velocity (pixels, pixels per second), `spread` (4, 2, 2)."""

    mean: Floats
    spread: Floats

    @classmethod
    def begin(cls, box: Floats) -> "Motion":
        """At rest where it is first seen."""
        place, tall = _measured(box)
        spread = np.zeros((4, 2, 2))
        spread[:, 0, 0] = _noise(tall)
        spread[:, 1, 1] = (_SPEED * tall) ** 2
        return cls(np.stack([place, np.zeros(4)], axis=1), spread)

    def predict(self, dt: float) -> None:
        """Go on for `dt` seconds."""
        step = np.array([[1.0, dt], [0.0, 1.0]])
        push = (_PUSH * max(4.0, self.mean[3, 0])) ** 2
        shape = np.array([[dt**4 / 4, dt**3 / 2], [dt**3 / 2, dt**2]])
        self.mean = self.mean @ step.T
        self.spread = step @ self.spread @ step.T + push[:, None, None] * shape
        for row in (2, 3):  # a person does not shrink away
            if self.mean[row, 0] < 4.0:
                self.mean[row] = (4.0, 0.0)

    def update(self, box: Floats) -> None:
        """Take a measured box in."""
        place, tall = _measured(box)
        gain = self.spread[:, :, 0] / (self.spread[:, 0, 0] + _noise(tall))[:, None]
        surprise = place - self.mean[:, 0]
        self.mean = self.mean + gain * surprise[:, None]
        self.spread = self.spread - gain[:, :, None] * self.spread[:, None, 0, :]

    @property
    def box(self) -> Floats:
        """(4,) where it is thought to be: left, top, right, bottom."""
        cx, cy, wide, tall = self.mean[:, 0]
        return np.array([cx - wide / 2, cy - tall / 2, cx + wide / 2, cy + tall / 2])


def _measured(box: Floats) -> tuple[Floats, float]:
    left, top, right, bottom = box
    return np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]), max(4.0, bottom - top)


def _noise(tall: float) -> Floats:
    return np.array([_PLACE, _PLACE, _SIZE, _SIZE]) ** 2 * tall**2
