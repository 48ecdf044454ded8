"""Sound pictures and videos, small ones of every kind that is read."""

import io
import struct
import zlib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests.app.videos import Block, write

_VIDEOS = (
    ("a.mp4", "libx264"),
    ("a.mkv", "mpeg4"),
    ("a.avi", "mpeg4"),
    ("a.ts", "mpeg2video"),
    ("a.webm", "libvpx"),
    ("a.mov", "libx264"),
)


@cache
def pictures() -> tuple[bytes, ...]:
    """JPEGs (progressive, CMYK, grey, turned, with a comment), PNGs (every kind of pixel), WebPs, animations."""
    pixels = np.random.default_rng(1).integers(0, 256, (40, 24, 3), np.uint8)
    plain, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8825] = 6, "maker", {1: "N", 2: (1.0, 2.0, 3.0)}
    palette = plain.convert("P", palette=Image.Palette.ADAPTIVE)
    frames = [plain, plain.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    made = [
        *(_saved(plain, "JPEG", quality=quality, **more) for quality, more in ((95, {}), (30, {"progressive": True}))),
        _saved(plain, "JPEG", exif=exif, comment=b"hello", dpi=(72, 72), subsampling=2, restart_marker_rows=1),
        *(_saved(plain.convert(mode), "JPEG") for mode in ("L", "CMYK")),
        *(_saved(plain.convert(mode), "PNG") for mode in ("RGB", "RGBA", "L", "LA", "1")),
        _saved(palette, "PNG", transparency=3),
        _saved(Image.fromarray(np.full((9, 5), 40_000, np.uint16)), "PNG", exif=exif),
        _saved(plain, "PNG", save_all=True, append_images=frames),
        *(_saved(plain, "WEBP", **more) for more in ({}, {"lossless": True}, {"exif": exif.tobytes()})),
        _saved(frames[0], "WEBP", save_all=True, append_images=frames),
        *(_saved(plain, kind) for kind in ("GIF", "BMP", "TIFF", "ICO")),
    ]
    return tuple(made)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    """Chunks of any content with a right checksum, so that what reads them comes to see them."""
    sizes = st.sampled_from([0, 1, 2, 5, 30_000, 2**31 - 1, 2**31, 2**32 - 1])
    small = st.integers(1, 12)
    width, height = draw(small | sizes), draw(small | sizes)
    depth, colour = draw(st.sampled_from([1, 2, 4, 8, 16, 3])), draw(st.sampled_from([0, 2, 3, 4, 6, 5]))
    head = struct.pack(
        ">IIBBBBB", width, height, depth, colour, draw(st.sampled_from([0, 1])), 0, draw(st.sampled_from([0, 1, 2]))
    )
    chunks = [(b"IHDR", head)]
    extra = st.sampled_from(
        [
            b"tRNS",
            b"PLTE",
            b"gAMA",
            b"iCCP",
            b"eXIf",
            b"tEXt",
            b"zTXt",
            b"iTXt",
            b"acTL",
            b"fcTL",
            b"fdAT",
            b"pHYs",
            b"sRGB",
        ]
    )
    content = (
        st.binary(max_size=40)
        | st.binary(max_size=40).map(zlib.compress)
        | st.sampled_from([b"a\0\0" + zlib.compress(bytes(2_000_000))])
    )
    chunks += draw(st.lists(st.tuples(extra, content), max_size=3))
    rows = bytes(draw(st.integers(0, 4000)))
    chunks += [
        (b"IDAT", draw(st.sampled_from([zlib.compress(rows), rows[:20], zlib.compress(rows)[:-4]]))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )


@cache
def videos() -> tuple[bytes, ...]:
    """A second of each container, of half a dozen codecs."""
    with TemporaryDirectory() as folder:
        return tuple(
            write(
                Path(folder) / name,
                [Block("red")],
                seconds=1.0,
                codec=codec,
                size=(64, 48),
                metadata={"creation_time": "2026-11-21T10:00:00Z"},
            ).read_bytes()
            for name, codec in _VIDEOS
        )
