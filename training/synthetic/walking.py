"""A video of synthetic people who walk before one camera, with the truth: who is where in every frame.

Sprites of the gait are set into the camera's place, the nearer over the farther, behind the post that may stand in
front. Written with PyAV (extra `video`). The same config gives the same frames.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.synthetic.gait import PER_METRE, STEPS, STRIDE_M, Sprite, at_foot, gait
from training.synthetic.person import identity_of, random_for
from training.synthetic.scene import HEIGHT, PANORAMA, Camera, camera, panorama

_FIRST = 3_000_000
"""People beyond those of every set and gallery of the same seed."""
_SPEED_M = (0.9, 1.6)
"""Metres per second."""
_TALL_M, _FAR, _NEAR = 1.78, 0.27, 0.62
"""A person's height, and the share of the frame's height that it has far off and near."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class WalkingConfig:
    """One video.

    Attributes:
        number: of the camera (1 to 12), which decides place, light and lens.
        people: who walk through; about two in five turn round on their way and are seen from another side.
        first_person: so many people of the seed are left out: they are in other videos.
        post: whether a post stands before the camera, which hides whoever passes behind.
        stand_s: seconds for which everybody stands half-way, as still as a photograph; the first one was there before.
    """

    seed: int = 0
    number: int = 1
    people: int = 8
    first_person: int = 0
    seconds: float = 30.0
    fps: int = 15
    size: tuple[int, int] = (960, 540)
    post: bool = True
    stand_s: float = 0.0


@dataclass(frozen=True)
class Seen:
    """One person in one frame. `box`: left, top, right, bottom of the whole body in pixels, also where it is hidden or
    outside; `visible`: the share of the body's pixels that the frame shows."""

    person: int
    box: tuple[float, float, float, float]
    visible: float


@dataclass(frozen=True)
class Walker:
    """One person's way. `x0`, `x1` are pixels at `begin` and `end` (seconds), `turn` the pixel at which they turn
    round, half-way in time, where they stand for `stand_s`; `depth` 0 (far) to 1 (near) at both ends; `sprites` by
    direction, 1 to the right."""

    person: int
    begin: float
    end: float
    x0: float
    x1: float
    turn: float | None
    depth: tuple[float, float]
    speed_m: float
    sprites: dict[int, list[Sprite]]
    description: str
    stand_s: float = 0.0

    def at(self, at_s: float) -> tuple[float, float, Sprite] | None:
        """Column of the feet, depth and sprite at a time; None when they are not there."""
        if not self.begin <= at_s <= self.end:
            return None
        length, gone = self.end - self.begin - self.stand_s, at_s - self.begin
        gone = min(gone, max(length / 2, gone - self.stand_s))
        share = gone / length
        if self.turn is None:
            x, way = self.x0 + share * (self.x1 - self.x0), 1 if self.x1 > self.x0 else -1
        else:
            out = 1 if self.turn > self.x0 else -1
            x = self.x0 + (1 - abs(2 * share - 1)) * (self.turn - self.x0)
            way = out if share < 0.5 else -out
        step = int(STEPS * gone * self.speed_m / STRIDE_M) % STEPS
        return x, self.depth[0] + share * (self.depth[1] - self.depth[0]), self.sprites[way][step]


def write_video(config: WalkingConfig, path: Path) -> dict[str, Any]:
    """Write the video (H.264) to `path`, and the truth beside it with the suffix .json; returns the truth.

    `people`: number and description of each; `frames`: for each frame the `Seen` people.
    """
    import av

    people = walkers(config)
    told = [{"person": one.person, "description": one.description} for one in people]
    truth: dict[str, Any] = {"config": asdict(config), "people": told, "frames": []}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=config.fps, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height = config.size
        stream.pix_fmt = "yuv420p"
        for pixels, seen in frames(config, people):
            truth["frames"].append([asdict(one) for one in seen])
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    path.with_suffix(".json").write_text(json.dumps(truth))
    return truth


def walkers(config: WalkingConfig) -> list[Walker]:
    """The people of a video and their ways."""
    return [_walker(config, config.first_person + place, place) for place in range(config.people)]


def frames(config: WalkingConfig, people: list[Walker]) -> Iterator[tuple[NDArray[np.uint8], list[Seen]]]:
    """(H, W, 3) uint8 frames with their truth."""
    lens = camera(config.seed, config.number)
    place, grain = _place(config), np.random.default_rng([config.seed, config.number, 11])
    for index in range(round(config.seconds * config.fps)):
        picture, owner = place.copy(), np.zeros(place.shape[:2], np.int32)
        there = [(one, found) for one in people if (found := one.at(index / config.fps)) is not None]
        whole = {
            one.person: _set(picture, owner, one.person, *found, lens)
            for one, found in sorted(there, key=lambda item: item[1][1])
        }
        if config.post:
            _post(config, picture, owner)
        shown = np.bincount(owner.ravel(), minlength=1 + max(whole, default=0))
        seen = [
            Seen(person, box, round(float(shown[person]) / max(1, pixels), 4))
            for person, (box, pixels) in sorted(whole.items())
        ]
        yield _exposed(picture, lens, grain), seen


def _walker(config: WalkingConfig, person: int, place: int) -> Walker:
    rng = random_for(config.seed, 97, config.number, person)
    identity = identity_of(config.seed, "test", _FIRST + person)
    lens, (width, _) = camera(config.seed, config.number), config.size
    depth = rng.uniform(0.0, 1.0)
    scale, speed = _scale(config, depth), rng.uniform(*_SPEED_M)
    x0, x1 = (-0.4 * scale, width + 0.4 * scale) if rng.random() < 0.5 else (width + 0.4 * scale, -0.4 * scale)
    turn = width * rng.uniform(0.35, 0.65) if rng.random() < 0.4 else None
    length = abs(x1 - x0) if turn is None else 2 * abs(turn - x0)
    walks = length / (speed * scale)
    begin = 0.0 if place == 0 else rng.uniform(0.0, max(0.1, config.seconds - walks - config.stand_s))
    if place == 0 and config.stand_s:
        begin = -walks / 2
    out, lean = 1 if x1 > x0 else -1, rng.choice((-1, 1)) * rng.uniform(0.2, 0.9)
    sprites, description = {}, ""
    for way in (out,) if turn is None else (out, -out):
        sprites[way], told = gait(identity, way * (pi / 2 - lean), lens, rng)
        description = description or told
    ends = (depth, min(1.0, max(0.0, depth + rng.uniform(-0.12, 0.12))))
    end = begin + walks + config.stand_s
    if turn is not None:
        x1 = x0
    return Walker(person + 1, begin, end, x0, x1, turn, ends, speed, sprites, description, config.stand_s)


def _scale(config: WalkingConfig, depth: float) -> float:
    """Pixels per metre at a depth."""
    return config.size[1] * (_FAR + depth * (_NEAR - _FAR)) / _TALL_M


def _place(config: WalkingConfig) -> Floats:
    """The empty place at the size of the frame."""
    width, height = config.size
    whole = panorama(config.seed, config.number)
    columns = min(PANORAMA, round(HEIGHT * width / height))
    left = random_for(config.seed, 96, config.number).randrange(PANORAMA - columns + 1)
    crop = Image.fromarray(np.ascontiguousarray(whole[:, left : left + columns]))
    return np.asarray(crop.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def _set(
    picture: Floats, owner: NDArray[np.int32], person: int, x: float, depth: float, sprite: Sprite, lens: Camera, /
) -> tuple[tuple[float, float, float, float], int]:
    """Set a person into the picture; returns the box and the number of pixels of the whole body."""
    height, width = owner.shape
    line = lens.wall_line
    y = height * (line + (0.12 + 0.86 * depth) * (0.985 - line))
    scale = height * (_FAR + depth * (_NEAR - _FAR)) / _TALL_M
    _shade(picture, x, y, scale, lens)
    factor = scale / PER_METRE
    rows, columns = (max(2, round(side * factor)) for side in sprite.alpha.shape)
    small = _resized(np.dstack([sprite.colour * sprite.alpha[..., None], 255 * sprite.alpha]), columns, rows)
    foot = at_foot(sprite)
    left, top = round(x - foot[0] * factor), round(y - foot[1] * factor)
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + columns), min(height, top + rows)
    if x0 < x1 and y0 < y1:
        part = small[y0 - top : y1 - top, x0 - left : x1 - left]
        cover = part[..., 3:] / 255
        picture[y0:y1, x0:x1] = picture[y0:y1, x0:x1] * (1 - cover) + part[..., :3]
        owner[y0:y1, x0:x1][cover[..., 0] > 0.5] = person
    b = sprite.box
    box = (x + b[0] * scale, y + b[1] * scale, x + b[2] * scale, y + b[3] * scale)
    return (round(box[0], 1), round(box[1], 1), round(box[2], 1), round(box[3], 1)), int((small[..., 3] > 127).sum())


def _resized(values: Floats, columns: int, rows: int) -> Floats:
    layers = [
        Image.fromarray(np.ascontiguousarray(values[..., place])).resize((columns, rows), Image.Resampling.BILINEAR)
        for place in range(values.shape[2])
    ]
    return np.dstack([np.asarray(layer, np.float32) for layer in layers])


def _shade(picture: Floats, x: float, y: float, scale: float, lens: Camera) -> None:
    """The shadow on the floor, drawn out away from the lamp."""
    height, width = picture.shape[:2]
    far = 0.75 * scale
    x0, x1 = max(0, int(x - far)), min(width, int(x + far))
    y0, y1 = max(0, int(y - 0.3 * scale)), min(height, int(y + 0.3 * scale))
    if x0 >= x1 or y0 >= y1:
        return
    ys, xs = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    shift = -lens.light[0] * 0.2 * scale
    gain = 0.32 * np.exp(-(((xs - x - shift) / (0.34 * scale)) ** 2) - ((ys - y) / (0.08 * scale)) ** 2)
    picture[y0:y1, x0:x1] *= 1 - gain[..., None]


def _post(config: WalkingConfig, picture: Floats, owner: NDArray[np.int32]) -> None:
    rng = random_for(config.seed, 95, config.number)
    width = config.size[0]
    x0 = round(width * rng.uniform(0.3, 0.65))
    x1 = x0 + round(width * rng.uniform(0.035, 0.06))
    tone = rng.uniform(70, 150)
    round_ = np.sin(np.linspace(0.4, pi - 0.3, x1 - x0, dtype=np.float32))
    picture[:, x0:x1] = tone * round_[None, :, None] * np.array([1.0, 0.97, 0.93], np.float32)
    owner[:, x0:x1] = 0


def _exposed(picture: Floats, lens: Camera, grain: np.random.Generator) -> NDArray[np.uint8]:
    """What the camera makes of it: cast, softness, noise (as `training.synthetic.camera`, but steady in time)."""
    levels = np.clip(picture * np.array(lens.gains, np.float32), 0, 255).astype(np.uint8)
    soft = Image.fromarray(levels).filter(ImageFilter.GaussianBlur(0.6 * lens.blur * picture.shape[0] / 360))
    noise = grain.standard_normal(picture.shape[:2], np.float32)[..., None] * np.float32(lens.noise)
    pixels = 255.0 * np.power(np.asarray(soft, np.float32) / 255.0, np.float32(lens.gamma)) + noise
    exposed: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
    return exposed
