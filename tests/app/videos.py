"""Tiny real videos, made in the test: people are upright blocks of two colours who walk before a still place."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from numpy.typing import NDArray

from tests.app.toy import COLOURS

if TYPE_CHECKING:
    from av.video.stream import VideoStream

SIZE, FPS = (160, 120), 10


@dataclass(frozen=True)
class Block:
    """Someone: seen from `begin` to `end` (seconds), walking from column `x0` to `x1`."""

    top: str
    bottom: str = "black"
    begin: float = 0.0
    end: float = 4.0
    x0: float = -10
    x1: float = 160
    y: int = 40
    size: tuple[int, int] = (16, 48)

    def at(self, at_s: float) -> tuple[int, int, int, int] | None:
        """Box in the frame at a time."""
        if not self.begin <= at_s < self.end:
            return None
        x = round(self.x0 + (self.x1 - self.x0) * (at_s - self.begin) / (self.end - self.begin))
        return x, self.y, x + self.size[0], self.y + self.size[1]


def frame(blocks: list[Block], at_s: float, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: a grey place with two stripes, so that it is upright to the eye."""
    picture = np.full((size[1], size[0], 3), 128, np.uint8)
    picture[:10], picture[-10:] = 170, 90
    for block in blocks:
        if (box := block.at(at_s)) is not None:
            x0, y0, x1, y1 = box
            middle = (y0 + y1) // 2
            picture[y0:middle, max(0, x0) : max(0, x1)] = COLOURS[block.top]
            picture[middle:y1, max(0, x0) : max(0, x1)] = COLOURS[block.bottom]
    return picture


def write(
    path: Path,
    blocks: list[Block] | None = None,
    *,
    seconds: float = 4.0,
    codec: str = "libx264",
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    size: tuple[int, int] = SIZE,
) -> Path:
    """Encode a video; the suffix says which container."""
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata or {})
        stream = cast("VideoStream", container.add_stream(codec, rate=FPS))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 10
        stream.time_base = Fraction(1, FPS)
        for number in range(round(seconds * FPS)):
            picture = av.VideoFrame.from_ndarray(frame(blocks or [], number / FPS, size), format="rgb24")
            picture.pts = number
            for packet in stream.encode(picture):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def walk_by(count: int, *, every: float = 3.0) -> list[Block]:
    """People who walk through one after the other, in colours that the toy encoder knows."""
    colours = [name for name in COLOURS if name not in ("black", "white")]
    # Each of another height: people who look the same would have crops of the same bytes, which are kept once.
    return [
        Block(
            colours[place % len(colours)],
            "black" if place < len(colours) else "white",
            place * every,
            place * every + 2.6,
            size=(16, 44 + place),
        )
        for place in range(count)
    ]
