"""The z-buffer: tapered elliptical capsules, drawn orthographically with numpy.

A primitive is an axis from `start` to `end` with an elliptical cross-section that varies linearly along it. Seen
along z, its silhouette has the half-width w(t) across the axis and its surface the depth z(t) + k1*d + k2*sqrt(w^2 -
d^2), where d is the distance from the axis in the image: exact for an axis in the image plane, and close enough for
limbs that lean towards the camera.

Coordinates. Body frame, metres: x to the person's left, y up, z ahead. Camera frame, pixels: x right, y down, z to
the viewer.
"""

from dataclasses import dataclass
from math import cos, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.synthetic.palette import Rgb

Floats = NDArray[np.float32]
Vector = tuple[float, float, float]

ROUND, FLAT = 1.0, 12.0  # how fast an end closes: a hemisphere, or nearly at once
FAR = -1e9
_LEFT: Vector = (1.0, 0.0, 0.0)
_AHEAD: Vector = (0.0, 0.0, 1.0)


class Primitive(NamedTuple):
    """One tapered elliptical capsule in the body frame, metres. `start_size`/`end_size`: half-width (along `side`),
    half-depth (along `front`). `part`: the number of what it shows; `square`: a boxy cross-section; `fold`: strength
    of fabric folds, 0..1."""

    start: Vector
    end: Vector
    start_size: tuple[float, float]
    end_size: tuple[float, float]
    part: int
    colour: Rgb
    cap: float = ROUND
    square: bool = False
    fold: float = 0.0
    bulge: float = 0.0
    side: Vector = _LEFT
    front: Vector = _AHEAD
    material: int = 0


@dataclass(frozen=True)
class View:
    """How the body frame meets the canvas: `yaw` (0 faces the camera) and `pitch` (downward) in radians, `scale` in
    pixels per metre, the canvas position (`x`, `y`) of the body's origin on the floor, and the depth offset `z`, in
    pixels."""

    yaw: float
    pitch: float
    scale: float
    x: float
    y: float
    z: float = 0.0

    def matrix(self) -> Floats:
        """(3, 3) float32: body metres to camera pixels (y down)."""
        c, s, cp, sp = cos(self.yaw), sin(self.yaw), cos(self.pitch), sin(self.pitch)
        rows = [[c, 0.0, s], [-s * sp, -cp, c * sp], [-s * cp, sp, c * cp]]
        return np.array(rows, np.float32) * np.float32(self.scale)


# Rows of `Projection.table`.
AX, AY, AZ, UX, UY, LENGTH, W0, DW, K1, K2, DZ, CAP, BULGE, SQUARE, FOLD, RED, GREEN, BLUE = range(18)


class Projection(NamedTuple):
    """Primitives in the camera frame: `table` (18, n) float32, `parts` and `materials` (n,) uint8, `reach` (n,)
    half-width bound."""

    table: Floats
    parts: NDArray[np.uint8]
    materials: NDArray[np.uint8]
    reach: Floats


class Canvas(NamedTuple):
    """The z-buffer of one picture: `depth` (H, W) float32 and `owner` (H, W) int16, the primitive's number or -1."""

    depth: Floats
    owner: NDArray[np.int16]

    @classmethod
    def empty(cls, height: int, width: int) -> "Canvas":
        """A canvas with nothing on it."""
        return cls(np.full((height, width), FAR, np.float32), np.full((height, width), -1, np.int16))


def project(primitives: list[Primitive], view: View) -> Projection:
    """The primitives as this view sees them."""
    turn = view.matrix()
    vectors = np.array([(*p.start, *p.end, *p.side, *p.front) for p in primitives], np.float32)
    sizes = np.array([(*p.start_size, *p.end_size, p.bulge) for p in primitives], np.float32) * np.float32(view.scale)
    looks = np.array([(p.cap, p.square, p.fold, *p.colour) for p in primitives], np.float32).T
    start, end = vectors[:, 0:3] @ turn.T, vectors[:, 3:6] @ turn.T
    start += (view.x, view.y, view.z)
    end += (view.x, view.y, view.z)
    side, front = vectors[:, 6:9] @ (turn.T / view.scale), vectors[:, 9:12] @ (turn.T / view.scale)
    axis = end - start
    length = np.maximum(np.hypot(axis[:, 0], axis[:, 1]), 1e-3)
    pointing = length < 0.05  # straight at the camera: any direction in the image will do
    ux, uy = np.where(pointing, 0, axis[:, 0] / length), np.where(pointing, 1, axis[:, 1] / length)
    w0, m0, n0 = _cross_section(sizes[:, 0], sizes[:, 1], side, front, ux, uy)
    w1, m1, n1 = _cross_section(sizes[:, 2], sizes[:, 3], side, front, ux, uy)
    bulge, (cap, square, fold) = sizes[:, 4], looks[:3]
    k1, k2 = (m0 + m1) / 2, np.maximum((n0 + n1) / 2, 0.05)
    rows = [*start.T, ux, uy, length, w0, w1 - w0, k1, k2, axis[:, 2], cap, bulge, square, fold, *looks[3:]]
    parts = np.array([p.part for p in primitives], np.uint8)
    materials = np.array([p.material for p in primitives], np.uint8)
    return Projection(np.stack(rows).astype(np.float32), parts, materials, np.maximum(w0, w1) + bulge)


def _cross_section(a: Floats, b: Floats, side: Floats, front: Floats, ux: Floats, uy: Floats) -> tuple[Floats, ...]:
    """Half-width, k1 and k2, each (n,), of ellipses with half-axes `a` along `side` and `b` along `front`: the
    ellipse in the plane of "across the axis" (e) and "towards the viewer" (z)."""
    side_e, front_e = ux * side[:, 1] - uy * side[:, 0], ux * front[:, 1] - uy * front[:, 0]
    is_round = np.abs(a - b) < 1e-3
    ee = np.where(is_round, a * a, (a * side_e) ** 2 + (b * front_e) ** 2)
    ez = np.where(is_round, 0, a * a * side_e * side[:, 2] + b * b * front_e * front[:, 2])
    zz = np.where(is_round, a * a, (a * side[:, 2]) ** 2 + (b * front[:, 2]) ** 2)
    ee = np.maximum(ee, 0.04)
    depth: Floats = np.sqrt(np.maximum(ee * zz - ez * ez, 0)) / ee
    skew: Floats = (ez / ee).astype(np.float32)
    width: Floats = np.sqrt(ee)
    return width, skew, depth


def rasterise(scene: Projection, canvas: Canvas, first: int = 0) -> None:
    """Draw the primitives into the canvas; their numbers there start at `first`."""
    height, width = canvas.depth.shape
    xs, ys = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
    columns = scene.table.T.tolist()
    for number, (row, reach) in enumerate(zip(columns, scene.reach.tolist(), strict=True), first):
        ax, ay, az, ux, uy, length, w0, dw, k1, k2, dz, cap, bulge, square = row[:14]
        bx, by = ax + ux * length, ay + uy * length
        x0, x1 = max(0, int(min(ax, bx) - reach)), min(width, int(max(ax, bx) + reach) + 2)
        y0, y1 = max(0, int(min(ay, by) - reach)), min(height, int(max(ay, by) + reach) + 2)
        if x0 >= x1 or y0 >= y1:
            continue
        x, y = xs[x0:x1] - ax, ys[y0:y1] - ay
        along = x * ux + y * uy
        across = x * -uy + y * ux
        t = np.minimum(np.maximum(along, 0.0), length)
        excess = (along - t) * cap
        t *= 1.0 / length
        w = t * dw + w0
        if bulge:
            w += t * (1.0 - t) * (4.0 * bulge)
        w *= w
        d2 = across * across
        if square:
            d2 *= d2 / w
        w -= d2
        w -= excess * excess
        inside = w > 0
        z = np.sqrt(np.maximum(w, 0.0))
        z *= k2
        z += across * k1
        z += t * dz + az
        depth = canvas.depth[y0:y1, x0:x1]
        inside &= z > depth
        np.copyto(depth, z, where=inside)
        np.copyto(canvas.owner[y0:y1, x0:x1], number, where=inside)


class Surface(NamedTuple):
    """The visible surface of one person, for its n pixels: flat canvas positions `where`, the primitive's `number`
    (from 0), unit `normal` (3, n) and `point` (3, n) in the camera frame, `t` (n,) along the axis."""

    where: NDArray[np.intp]
    number: NDArray[np.intp]
    normal: Floats
    point: Floats
    t: Floats


def surface(scene: Projection, canvas: Canvas, first: int = 0) -> Surface:
    """Normals and positions of the pixels that this projection's primitives own."""
    owner = canvas.owner.ravel()
    where = np.flatnonzero((owner >= first) & (owner < first + len(scene.parts)))
    number = owner[where].astype(np.intp) - first
    table = scene.table[: SQUARE + 1, number]
    rows, columns = np.divmod(where, canvas.owner.shape[1])
    px, py = columns.astype(np.float32) + 0.5, rows.astype(np.float32) + 0.5
    x, y = px - table[AX], py - table[AY]
    along, across = x * table[UX] + y * table[UY], y * table[UX] - x * table[UY]
    clipped = np.minimum(np.maximum(along, 0), table[LENGTH])
    excess, t = along - clipped, clipped / table[LENGTH]
    w = table[W0] + table[DW] * t + 4 * table[BULGE] * t * (1 - t)
    d2 = across * across
    boxy = table[SQUARE] > 0
    bend = np.where(boxy, d2 / np.maximum(w * w, 1e-6), 1)
    h = np.sqrt(np.maximum(w * w - d2 * bend - (excess * table[CAP]) ** 2, 0))
    n_across = table[K2] * across * bend - table[K1] * h
    slope = (table[DW] + 4 * table[BULGE] * (1 - 2 * t)) / table[LENGTH]
    n_along = np.where(
        excess == 0, -table[K2] * w * slope - table[DZ] / table[LENGTH] * h, table[K2] * excess * table[CAP] ** 2
    )
    normal = np.stack([n_along * table[UX] - n_across * table[UY], n_along * table[UY] + n_across * table[UX], h])
    normal /= np.sqrt(np.einsum("ij,ij->j", normal, normal)) + 1e-6
    point = np.stack([px, py, canvas.depth.ravel()[where]])
    return Surface(where, number, normal, point, t)
