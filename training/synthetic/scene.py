"""Cameras and the places that they watch: each has its own light, colour cast, sharpness and background panorama.

Everything is a function of (seed, camera number), so every worker process can make its own copy.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import cos, radians, sin
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

CAMERAS = 12
HEIGHT = 256  # canvas rows; a panorama has as many
PANORAMA = 960
PLACES = (
    "shop aisle",
    "pavement",
    "station hall",
    "corridor",
    "car park",
    "platform",
    "square",
    "lobby",
    "market street",
    "campus path",
)
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Camera:
    """One fixed camera. `light`: unit vector to the lamp (camera frame: x right, y down, z to the viewer); `gains`:
    colour cast per channel; `pitch`: radians downward; `blur`: Gaussian sigma in pixels of a 160-row picture;
    `noise`: sigma in 8-bit steps."""

    number: int
    place: str
    light: tuple[float, float, float]
    ambient: float
    diffuse: float
    gains: tuple[float, float, float]
    gamma: float
    pitch: float
    blur: float
    noise: float
    quality: int
    wall_line: float

    @property
    def name(self) -> str:
        """For people to read: "cam-03 station hall"."""
        return f"cam-{self.number:02d} {self.place}"


@lru_cache(maxsize=64)
def camera(seed: int, number: int) -> Camera:
    """Camera `number` (1..CAMERAS) of the set with this seed."""
    rng = Random(f"camera {seed} {number}")
    turn, rise = rng.uniform(-1.2, 1.2), rng.uniform(0.5, 1.0)
    light = (sin(turn) * cos(rise), -sin(rise), cos(turn) * cos(rise))
    warm = rng.uniform(-0.05, 0.05)
    outdoors = PLACES[(number - 1) % len(PLACES)] in ("pavement", "car park", "square", "market street", "campus path")
    return Camera(
        number=number,
        place=PLACES[(number - 1) % len(PLACES)],
        light=light,
        ambient=rng.uniform(0.56, 0.68),
        diffuse=rng.uniform(0.42, 0.6) if outdoors else rng.uniform(0.34, 0.48),
        gains=(1.0 + warm, 1.0 + rng.uniform(-0.02, 0.02), 1.0 - warm),
        gamma=rng.uniform(0.9, 1.1),
        pitch=radians(rng.uniform(4, 19)),
        blur=rng.uniform(0.35, 0.85),
        noise=rng.uniform(1.2, 4.0),
        quality=rng.randint(62, 90),
        wall_line=rng.uniform(0.36, 0.62),
    )


@lru_cache(maxsize=64)
def panorama(seed: int, number: int) -> NDArray[np.uint8]:
    """The empty place before the camera: (HEIGHT, PANORAMA, 3) uint8."""
    cam = camera(seed, number)
    rng = Random(f"place {seed} {number}")
    picture = Image.new("RGB", (PANORAMA, HEIGHT))
    draw = ImageDraw.Draw(picture)
    line = int(cam.wall_line * HEIGHT)
    _floor(draw, rng, cam.place, line)
    _WALLS[cam.place](draw, rng, line)
    draw.rectangle((0, line - 3, PANORAMA, line), fill=_grey(rng, 60, 110))
    soft = picture.filter(ImageFilter.GaussianBlur(2.0))
    grain = np.random.default_rng([seed, number, 7])
    coarse = grain.normal(1.0, 0.09, (6, 20)).astype(np.float32)
    light = np.asarray(Image.fromarray(coarse).resize((PANORAMA, HEIGHT), Image.Resampling.BICUBIC))
    speckle = grain.normal(0, 5.0, (HEIGHT // 2, PANORAMA // 2)).astype(np.float32)
    texture = np.asarray(Image.fromarray(speckle).resize((PANORAMA, HEIGHT), Image.Resampling.BILINEAR))
    pixels = np.asarray(soft, np.float32) * light[..., None] + texture[..., None]
    finished: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
    return finished


def _grey(rng: Random, low: int, high: int, tint: int = 10) -> Colour:
    value = rng.randint(low, high)
    return (value + rng.randint(-tint, tint), value + rng.randint(-tint, tint) // 2, value + rng.randint(-tint, tint))


def _vivid(rng: Random) -> Colour:
    value = rng.randint(60, 180)
    return (value + rng.randint(-50, 50), value + rng.randint(-40, 40), value + rng.randint(-50, 50))


def _floor(draw: ImageDraw.ImageDraw, rng: Random, place: str, line: int) -> None:
    """A floor that brightens towards the camera, with tiles or slabs in perspective."""
    base = _grey(rng, 95, 175, 14)
    for y in range(line, HEIGHT):
        gain = 0.86 + 0.18 * (y - line) / (HEIGHT - line)
        draw.line((0, y, PANORAMA, y), fill=(int(base[0] * gain), int(base[1] * gain), int(base[2] * gain)))
    if place in ("car park", "pavement") and rng.random() < 0.5:
        for x in range(-200, PANORAMA, 210):
            draw.line((x + 90, line, x, HEIGHT), fill=(206, 204, 190), width=4)
        return
    joint = (int(base[0] * 0.82), int(base[1] * 0.82), int(base[2] * 0.82))
    row, step = float(line), rng.uniform(3.0, 6.0)
    while row < HEIGHT:
        draw.line((0, int(row), PANORAMA, int(row)), fill=joint, width=1)
        row += step
        step *= 1.32
    vanish, pitch = PANORAMA / 2, rng.uniform(26, 60)
    for k in range(-60, 61):
        far = vanish + k * pitch
        draw.line((int(far), line, int(vanish + (far - vanish) * 1.9), HEIGHT), fill=joint, width=1)


def _wall(draw: ImageDraw.ImageDraw, line: int, colour: Colour) -> None:
    for y in range(line):
        gain = 1.05 - 0.2 * y / max(1, line)
        draw.line((0, y, PANORAMA, y), fill=(int(colour[0] * gain), int(colour[1] * gain), int(colour[2] * gain)))


def _shelves(draw: ImageDraw.ImageDraw, rng: Random, line: int) -> None:
    _wall(draw, line, _grey(rng, 90, 130))
    for y in range(4, line + 12, 26):
        x = 0
        while x < PANORAMA:
            colour = _vivid(rng)
            for _ in range(rng.randint(2, 7)):
                width = rng.randint(6, 14)
                draw.rectangle((x, y + rng.randint(0, 7), x + width - 2, y + 21), fill=colour)
                x += width
            x += rng.randint(2, 8)
        draw.rectangle((0, y + 21, PANORAMA, y + 25), fill=_grey(rng, 150, 190))


def _facades(draw: ImageDraw.ImageDraw, rng: Random, line: int) -> None:
    x = 0
    while x < PANORAMA:
        width = rng.randint(110, 240)
        wall = _grey(rng, 110, 185, 24)
        draw.rectangle((x, 0, x + width, line), fill=wall)
        draw.rectangle((x + 14, 18, x + width - 18, line - 10), fill=_grey(rng, 40, 90))
        for pane in range(x + 14, x + width - 18, 34):
            draw.rectangle((pane, 18, pane + 3, line - 10), fill=_grey(rng, 100, 140))
        draw.rectangle((x + 6, 2, x + width - 8, 16), fill=_vivid(rng))
        x += width


def _hall(draw: ImageDraw.ImageDraw, rng: Random, line: int) -> None:
    _wall(draw, line, _grey(rng, 150, 195))
    for x in range(rng.randint(0, 60), PANORAMA, rng.randint(120, 190)):
        draw.rectangle((x, 0, x + 26, line + 22), fill=_grey(rng, 115, 150))
        draw.rectangle((x, 0, x + 7, line + 22), fill=_grey(rng, 165, 195))
    for x in range(rng.randint(20, 90), PANORAMA, 230):
        draw.rectangle((x, 20, x + 80, 62), fill=(24, 34, 58))
        for y in range(26, 60, 8):
            draw.line((x + 6, y, x + rng.randint(40, 74), y), fill=(226, 190, 90), width=2)


def _corridor(draw: ImageDraw.ImageDraw, rng: Random, line: int) -> None:
    _wall(draw, line, _grey(rng, 165, 205))
    door = _grey(rng, 90, 150, 22)
    for x in range(rng.randint(0, 80), PANORAMA, rng.randint(130, 180)):
        draw.rectangle((x, 6, x + 62, line), fill=door)
        draw.rectangle((x + 40, 22, x + 54, 60), fill=_grey(rng, 170, 200))
    draw.rectangle((0, line - 10, PANORAMA, line), fill=_grey(rng, 80, 120))


def _cars(draw: ImageDraw.ImageDraw, rng: Random, line: int) -> None:
    _wall(draw, line, _grey(rng, 100, 150))
    for x in range(rng.randint(-60, 0), PANORAMA, 190):
        paint = rng.choice([_grey(rng, 30, 60), _grey(rng, 180, 220), (120, 24, 28), (34, 52, 104)])
        draw.rounded_rectangle((x, line - 46, x + 160, line + 16), 14, fill=paint)
        draw.rounded_rectangle((x + 30, line - 74, x + 130, line - 30), 14, fill=_grey(rng, 40, 70))
        for wheel in (x + 22, x + 112):
            draw.ellipse((wheel, line, wheel + 28, line + 28), fill=(24, 24, 26))


def _platform(draw: ImageDraw.ImageDraw, rng: Random, line: int) -> None:
    _wall(draw, line, _grey(rng, 130, 180))
    draw.rectangle((0, int(line * 0.25), PANORAMA, int(line * 0.86)), fill=_grey(rng, 160, 200, 16))
    draw.rectangle((0, int(line * 0.66), PANORAMA, int(line * 0.74)), fill=_vivid(rng))
    for x in range(rng.randint(0, 40), PANORAMA, 92):
        draw.rounded_rectangle((x, int(line * 0.34), x + 60, int(line * 0.6)), 6, fill=(44, 54, 62))
    draw.rectangle((0, line + 8, PANORAMA, line + 18), fill=(206, 178, 60))


def _trees(draw: ImageDraw.ImageDraw, rng: Random, line: int) -> None:
    _wall(draw, line, _grey(rng, 170, 210))
    draw.rectangle((0, line - 30, PANORAMA, line), fill=(96, 122, 70))
    for x in range(0, PANORAMA, 64):
        trunk = x + rng.randint(-20, 20)
        draw.rectangle((trunk, line - 70, trunk + 9, line), fill=(76, 60, 46))
        for _ in range(14):
            cx, cy, r = trunk + rng.randint(-34, 40), rng.randint(-14, max(0, line - 60)), rng.randint(8, 22)
            green = rng.randint(64, 120)
            draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=(green - 24, green + 10, green - 38))


def _glass(draw: ImageDraw.ImageDraw, rng: Random, line: int) -> None:
    _wall(draw, line, (148, 166, 176))
    for x in range(0, PANORAMA, rng.randint(56, 84)):
        shine = rng.randint(120, 196)
        draw.rectangle((x + 4, 4, x + 56, line - 4), fill=(shine - 18, shine - 4, shine))
        draw.line((x + 10, line - 8, x + 48, 10), fill=(shine, min(255, shine + 14), min(255, shine + 16)), width=6)
        draw.rectangle((x, 0, x + 4, line), fill=(70, 74, 80))


def _stalls(draw: ImageDraw.ImageDraw, rng: Random, line: int) -> None:
    _wall(draw, line, _grey(rng, 110, 160, 18))
    for x in range(rng.randint(-40, 0), PANORAMA, 128):
        awning = _vivid(rng)
        for k in range(0, 112, 16):
            draw.rectangle((x + k, 4, x + k + 15, 26), fill=awning if k % 32 else (222, 218, 208))
        draw.rectangle((x, line - 40, x + 110, line + 8), fill=_grey(rng, 90, 130, 20))
        for k in range(0, 104, 13):
            draw.ellipse((x + k, line - 50, x + k + 14, line - 36), fill=_vivid(rng))


def _bricks(draw: ImageDraw.ImageDraw, rng: Random, line: int) -> None:
    base = (rng.randint(120, 160), rng.randint(78, 104), rng.randint(62, 84))
    _wall(draw, line, base)
    for row, y in enumerate(range(0, line, 9)):
        for x in range(-10 * (row % 2), PANORAMA, 21):
            change = rng.randint(-16, 16)
            draw.rectangle((x, y, x + 19, y + 7), fill=(base[0] + change, base[1] + change, base[2] + change))
    for x in range(rng.randint(30, 120), PANORAMA, rng.randint(150, 220)):
        draw.rectangle((x, 14, x + 58, line - 24), fill=(52, 62, 72))
        draw.rectangle((x + 27, 14, x + 31, line - 24), fill=(190, 190, 186))


_WALLS = {
    "shop aisle": _shelves, "pavement": _facades, "station hall": _hall, "corridor": _corridor, "car park": _cars,
    "platform": _platform, "square": _trees, "lobby": _glass, "market street": _stalls, "campus path": _bricks,
}  # fmt: skip
