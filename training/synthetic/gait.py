"""A synthetic person who walks, drawn once for each step of the gait: sprites for a video."""

from dataclasses import dataclass, replace
from math import cos, pi, sin
from random import Random

import numpy as np
from numpy.typing import NDArray

from training.synthetic.attributes import Identity
from training.synthetic.body import Pose, draw_pose, figure
from training.synthetic.captions import describe
from training.synthetic.parts import Part
from training.synthetic.phrases import Sight
from training.synthetic.raster import View
from training.synthetic.render import draw_person
from training.synthetic.scene import Camera

STEPS, STRIDE_M = 12, 1.35
"""Sprites of one cycle, and metres that it covers."""
ROWS, PER_METRE = 288, 288 / 2.05
"""Rows of a sprite, and its pixels per metre."""
_COLUMNS, _FLOOR = round(0.72 * ROWS), ROWS - 0.1 * PER_METRE
_CAPTIONS = 6


@dataclass(frozen=True)
class Sprite:
    """`colour` (ROWS, columns, 3) float32 in 0..255, `alpha` (ROWS, columns) float32, and `box`: left, top, right,
    bottom of the body relative to the point on the floor below it, in metres (y down)."""

    colour: NDArray[np.float32]
    alpha: NDArray[np.float32]
    box: tuple[float, float, float, float]


def gait(identity: Identity, yaw: float, lens: Camera, rng: Random) -> tuple[list[Sprite], str]:
    """The sprites of one cycle seen from `yaw` (radians, 0 facing the camera), and the fullest of some descriptions of
    what they show."""
    pose, offset = draw_pose(rng, identity), rng.randrange(256)
    drawn = [_drawn(identity, _step(identity, pose, step), yaw, lens, offset) for step in range(STEPS)]
    counts = np.bincount(drawn[0][1].ravel(), minlength=len(Part)) / (0.45 * drawn[0][1].size)
    parts = {part: float(counts[part]) for part in Part}
    sight = Sight(parts, front=cos(yaw) > 0.35, back=cos(yaw) < -0.5, walking=True)
    texts = [describe(identity, sight, rng) for _ in range(_CAPTIONS)]
    return [_sprite(picture, ids) for picture, ids in drawn], max(texts, key=lambda text: len(text.mentions)).text


def at_foot(sprite: Sprite) -> tuple[float, float]:
    """Where in a sprite the point on the floor is: column and row."""
    return sprite.alpha.shape[1] / 2, _FLOOR


def _step(identity: Identity, pose: Pose, step: int) -> Pose:
    swing = 0.42 * sin(2 * pi * step / STEPS)
    if "skirt" in identity["lower"] or identity["upper"] == "dress" or identity["outer"] == "coat":
        swing *= 0.75
    thigh = {"left": swing, "right": -0.9 * swing}
    knee = {side: abs(min(0.0, angle)) * 1.1 + 0.07 for side, angle in thigh.items()}
    arm = {"left": -0.7 * swing, "right": 0.7 * swing} if identity["carried"] == "none" else pose.arm
    return replace(pose, walking=True, thigh=thigh, knee=knee, arm=arm)


def _drawn(
    identity: Identity, pose: Pose, yaw: float, lens: Camera, offset: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    picture = np.zeros((ROWS, _COLUMNS, 3), np.float32)
    ids = np.zeros((ROWS, _COLUMNS), np.uint8)
    body = figure(identity, pose)
    y = _FLOOR + body.joints["floor"][1] * PER_METRE * cos(lens.pitch)
    draw_person(picture, ids, identity, body, View(yaw, lens.pitch, PER_METRE, _COLUMNS / 2, y), lens, offset)
    return picture, ids


def _sprite(picture: NDArray[np.float32], ids: NDArray[np.uint8]) -> Sprite:
    rows, columns = np.nonzero(ids)
    left, right = (columns.min() - _COLUMNS / 2) / PER_METRE, (columns.max() + 1 - _COLUMNS / 2) / PER_METRE
    top, bottom = (rows.min() - _FLOOR) / PER_METRE, (rows.max() + 1 - _FLOOR) / PER_METRE
    return Sprite(picture, (ids > 0).astype(np.float32), (float(left), float(top), float(right), float(bottom)))
