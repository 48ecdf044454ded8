"""One image of one person: pose, view, picture, and the truth about what it shows."""

from dataclasses import dataclass
from math import cos, pi, radians, sin
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.synthetic import accessories
from training.synthetic import camera as optics
from training.synthetic.attributes import Identity, draw_identity
from training.synthetic.body import Figure, Pose, draw_pose, figure, skin
from training.synthetic.clothing import clothes
from training.synthetic.parts import Part
from training.synthetic.raster import FAR, Canvas, Primitive, View, project, rasterise, surface
from training.synthetic.scene import HEIGHT, PANORAMA, Camera, panorama
from training.synthetic.shading import light, paint

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shot:
    """How one image is taken. `yaw` in radians, 0 facing the camera, growing as the person turns to the right of the
    picture."""

    yaw: float
    pose: Pose
    camera: Camera
    size: tuple[int, int]


@dataclass(frozen=True)
class Rendering:
    """A finished image: JPEG bytes, its (width, height), and `parts`: the share of the crop's pixels that show each
    part (0..1)."""

    jpeg: bytes
    size: tuple[int, int]
    parts: dict[Part, float]
    ids: NDArray[np.uint8]


def primitives(identity: Identity, body: Figure) -> list[Primitive]:
    """Everything that this person is made of."""
    return (
        skin(identity, body)
        + clothes(identity, body)
        + accessories.hair(identity, body)
        + accessories.hat(identity, body)
        + accessories.bag(identity, body)
        + accessories.carried(identity, body)
    )


def draw_shot(rng: Random, identity: Identity, camera: Camera, facing: float) -> Shot:
    """A random view near the direction `facing` (radians)."""
    height = rng.randint(124, 192)
    width = round(height / rng.uniform(2.15, 2.85))
    return Shot(facing + radians(rng.gauss(0, 14)), draw_pose(rng, identity), camera, (width, height))


def render(identity: Identity, shot: Shot, seed: int, rng: Random) -> Rendering:
    """Draw the person into the camera's place and take the picture. `rng` decides framing, company, occlusion and the
    optics."""
    width = round(HEIGHT * shot.size[0] / shot.size[1])
    ids = np.zeros((HEIGHT, width), np.uint8)
    picture = _background(seed, shot.camera, width, rng)
    body = figure(identity, shot.pose)
    view = _frame(rng, shot, body, width)
    if rng.random() < 0.12:
        _passer_by(picture, ids, shot, view, rng)
    _shadow(picture, view, shot.camera, 1.0)
    draw_person(picture, ids, identity, body, view, shot.camera, rng.randrange(256))
    if rng.random() < 0.10:
        _occlude(picture, ids, rng)
    image = optics.expose(picture, shot.size, shot.camera, rng, rng.getrandbits(32))
    counts = np.bincount(ids.ravel(), minlength=len(Part)) / ids.size
    return Rendering(
        optics.encode(image, shot.camera, rng), shot.size, {part: float(counts[part]) for part in Part}, ids
    )


def _background(seed: int, camera: Camera, width: int, rng: Random) -> Floats:
    whole = panorama(seed, camera.number)
    left = rng.randrange(PANORAMA - width)
    crop = whole[:, left : left + width].astype(np.float32)
    return np.ascontiguousarray(crop[:, ::-1]) if rng.random() < 0.5 else crop


def _frame(rng: Random, shot: Shot, body: Figure, width: int) -> View:
    """Where the person stands in the crop: detectors leave margins, and now and then cut off feet or hair."""
    tall = (body.head[1] + 0.12 * body.head_scale - body.joints["floor"][1]) * cos(shot.camera.pitch) + 0.13 * sin(
        shot.camera.pitch
    )
    scale = HEIGHT * rng.uniform(0.83, 0.92) / tall
    bottom = HEIGHT * rng.uniform(0.955, 0.985)
    if rng.random() < 0.09:  # a crop error
        scale *= rng.uniform(1.03, 1.12)
        bottom = HEIGHT * rng.uniform(0.95, 1.10)
    x = width * 0.5 + rng.gauss(0, 0.028) * width
    y = bottom - 0.06 * scale + body.joints["floor"][1] * scale * cos(shot.camera.pitch)
    return View(shot.yaw, shot.camera.pitch, scale, x, y)


def draw_person(
    picture: Floats, ids: NDArray[np.uint8], identity: Identity, body: Figure, view: View, camera: Camera, offset: int
) -> None:
    """Draw one person over the picture, with soft darkening where one part lies behind another."""
    scene = project(primitives(identity, body), view)
    canvas = Canvas.empty(*ids.shape)
    rasterise(scene, canvas)
    seen = surface(scene, canvas)
    coloured = paint(identity, body, scene, seen, view)
    brightness = light(coloured, seen, camera, offset, view)
    brightness *= _crevices(canvas, view.scale).ravel()[seen.where]
    shaded = coloured.colour * brightness
    shaded += brightness * 7.0  # cloth scatters a little white light, so that black still has shape
    picture.reshape(-1, 3)[seen.where] = shaded.T
    ids.ravel()[seen.where] = coloured.part


def _crevices(canvas: Canvas, scale: float) -> Floats:
    """(H, W) float32 gain 0.6..1: darker beside something that stands clearly nearer to the camera."""
    depth = np.where(canvas.depth == FAR, -0.2 * scale, canvas.depth).astype(np.float32)
    small = Image.fromarray(depth[::2, ::2]).resize((depth.shape[1] // 6, depth.shape[0] // 6), Image.Resampling.BOX)
    smooth = np.asarray(small.resize((depth.shape[1], depth.shape[0]), Image.Resampling.BICUBIC))
    gain: Floats = 1.0 - np.clip((smooth - depth) / (0.16 * scale), 0, 0.4)
    return gain


def _shadow(picture: Floats, view: View, camera: Camera, strength: float) -> None:
    """The contact shadow on the floor, drawn out away from the lamp."""
    height, width = picture.shape[:2]
    flat = max(0.16, sin(camera.pitch))
    top = max(0, int(view.y - 0.5 * view.scale))
    ys, xs = np.mgrid[top:height, 0:width].astype(np.float32)
    shift = -camera.light[0] * 0.16 * view.scale
    far = ((xs - view.x - shift) / (0.30 * view.scale)) ** 2 + (
        (ys - view.y + 0.02 * view.scale) / (0.34 * flat * view.scale)
    ) ** 2
    near = ((xs - view.x) / (0.20 * view.scale)) ** 2 + ((ys - view.y) / (0.2 * flat * view.scale)) ** 2
    gain = 1.0 - strength * (0.30 * np.exp(-far) + 0.35 * np.exp(-near))
    picture[top:] *= gain[..., None]


def _passer_by(picture: Floats, ids: NDArray[np.uint8], shot: Shot, view: View, rng: Random) -> None:
    """Somebody else, further off and half out of the picture."""
    other = draw_identity(rng, "train")
    pose = draw_pose(rng, other)
    body = figure(other, pose)
    scale = view.scale * rng.uniform(0.72, 0.92)
    side = rng.choice((-1, 1))
    x = ids.shape[1] * (0.5 + side * rng.uniform(0.42, 0.56))
    away = View(rng.uniform(-pi, pi), view.pitch, scale, x, view.y - HEIGHT * rng.uniform(0.05, 0.16))
    _shadow(picture, away, shot.camera, 0.8)
    theirs = np.zeros_like(ids)
    draw_person(picture, theirs, other, body, away, shot.camera, rng.randrange(256))
    ids[theirs > 0] = Part.OTHER


def _occlude(picture: Floats, ids: NDArray[np.uint8], rng: Random) -> None:
    """A post, a rail or a counter between camera and person."""
    height, width = ids.shape
    tone = np.array([rng.uniform(60, 170)] * 3, np.float32) * np.array(
        [rng.uniform(0.85, 1.1) for _ in range(3)], np.float32
    )
    if rng.random() < 0.5:  # an upright post at one side
        wide = int(width * rng.uniform(0.08, 0.16))
        left = int(width * rng.choice((rng.uniform(-0.02, 0.2), rng.uniform(0.68, 0.92))))
        x0, x1, y0 = max(0, left), max(1, min(width, left + wide)), 0
        across = (
            np.sin(np.linspace(0.3, pi - 0.2, x1 - x0, dtype=np.float32))[None, :, None] if x1 > x0 else np.float32(1)
        )
    else:  # a low wall or counter
        x0, x1, y0 = 0, width, int(height * rng.uniform(0.78, 0.93))
        across = np.linspace(1.05, 0.75, height - y0, dtype=np.float32)[:, None, None]
    picture[y0:, x0:x1] = tone * across
    ids[y0:, x0:x1] = Part.OTHER
