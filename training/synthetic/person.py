"""All images and descriptions of one identity, from the seed alone: the unit of work of a worker process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import cos, degrees, pi
from random import Random

import numpy as np
from numpy.typing import NDArray

from training.synthetic.attributes import SPLITS, Identity, draw_identity
from training.synthetic.captions import Caption, describe
from training.synthetic.phrases import Sight
from training.synthetic.render import draw_shot, render
from training.synthetic.scene import CAMERAS, Camera, camera

_FIRST_DAY = datetime(2024, 3, 4, 7, 0, tzinfo=UTC)
_FACINGS = (0.0, pi, pi / 2, -pi / 2)
CAPTIONS = 2


@dataclass(frozen=True)
class Picture:
    """One image with its truth. `yaw`: degrees in -180..180, 0 facing the camera. `ids`: (rows, columns) uint8, the
    `Part` that each place of the picture shows, at the size of the canvas."""

    jpeg: bytes
    size: tuple[int, int]
    camera: Camera
    captured_at: str
    yaw: float
    sight: Sight
    captions: tuple[Caption, ...]
    ids: NDArray[np.uint8] = field(repr=False, compare=False)


def random_for(*key: int) -> Random:
    """An independent stream per key: the same key gives the same numbers in every process."""
    high, low = np.random.SeedSequence(key).generate_state(2, np.uint64)
    return Random(int(high) << 64 | int(low))


def identity_of(seed: int, split: str, number: int) -> Identity:
    """Person `number` (from 0) of the split."""
    return draw_identity(random_for(seed, SPLITS.index(split), number), split)


def pictures_of(
    identity: Identity,
    seed: int,
    split: str,
    number: int,
    images: int,
    lens: Callable[[Camera], Camera] = lambda camera: camera,
) -> list[Picture]:
    """The images of this person: different cameras as long as there are any, all sides, one visit of an hour or so.

    `lens` may make other cameras of them.
    """
    rng = random_for(seed, SPLITS.index(split), number, 0)
    cameras = rng.sample(range(1, CAMERAS + 1), CAMERAS)
    facings = rng.sample(_FACINGS, len(_FACINGS))
    at = _FIRST_DAY + timedelta(days=rng.randrange(28), minutes=rng.randrange(13 * 60))
    pictures = []
    for index in range(images):
        own = random_for(seed, SPLITS.index(split), number, index + 1)
        at += timedelta(seconds=own.randrange(25, 1200))
        facing = facings[index % len(facings)] + own.uniform(-0.7, 0.7)
        pictures.append(_picture(identity, seed, lens(camera(seed, cameras[index % CAMERAS])), facing, at, own))
    return pictures


def _picture(identity: Identity, seed: int, camera: Camera, facing: float, at: datetime, rng: Random) -> Picture:
    shot = draw_shot(rng, identity, camera, facing)
    image = render(identity, shot, seed, rng)
    ahead = cos(shot.yaw)
    sight = Sight(image.parts, front=ahead > 0.35, back=ahead < -0.5, walking=shot.pose.walking)
    captions = tuple(describe(identity, sight, rng) for _ in range(CAPTIONS))
    yaw = (degrees(shot.yaw) + 180) % 360 - 180
    when = at.isoformat().replace("+00:00", "Z")
    return Picture(image.jpeg, image.size, camera, when, round(yaw, 1), sight, captions, image.ids)
