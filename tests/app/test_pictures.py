"""Reading pictures: every ordinary kind becomes upright RGB, every broken one a named error."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from app.errors import (
    DamagedImageError,
    EmptyFileError,
    FileTooLargeError,
    FormatError,
    NotAnImageError,
    PictureError,
    TooManyPixelsError,
)
from app.gallery.pictures import Picture, decode, encode, thumbnail


def read(data: bytes, max_pixels: int = 10_000_000, max_bytes: int = 10_000_000) -> Picture:
    return decode(data, max_pixels=max_pixels, max_bytes=max_bytes)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def upright() -> Image.Image:
    """Red above, blue below."""
    image = Image.new("RGB", (20, 40), (0, 0, 255))
    ImageDraw.Draw(image).rectangle((0, 0, 20, 19), (255, 0, 0))
    return image


def mean(picture: Picture, box: tuple[int, int, int, int]) -> list[float]:
    return [float(value) for value in np.asarray(picture.image.crop(box)).reshape(-1, 3).mean(axis=0)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_stored_upright(orientation: int) -> None:
    turned = {
        1: upright(),
        2: upright().transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright().transpose(Image.Transpose.ROTATE_180),
        4: upright().transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright().transpose(Image.Transpose.TRANSPOSE),
        6: upright().transpose(Image.Transpose.ROTATE_90),
        7: upright().transpose(Image.Transpose.TRANSVERSE),
        8: upright().transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read(saved(turned, "JPEG", exif=exif, quality=95))
    assert picture.size == (20, 40)
    red, _, blue = mean(picture, (4, 2, 16, 16))
    assert red > 200 > 60 > blue
    assert read(encode(picture)).size == (20, 40)


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", (254, 0, 0)),
        (Image.new("L", (8, 8), 100), "JPEG", (100, 100, 100)),
        (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "PNG", (255, 255, 255)),
        (Image.new("LA", (8, 8), (0, 255)), "PNG", (0, 0, 0)),
        (Image.new("1", (8, 8), 1), "PNG", (255, 255, 255)),
        (Image.fromarray(np.full((8, 8), 32896, np.uint16)), "PNG", (128, 128, 128)),
        (Image.new("RGB", (8, 8), (10, 200, 30)).quantize(4), "PNG", (10, 200, 30)),
        (Image.new("RGB", (1, 1), (9, 9, 9)), "PNG", (9, 9, 9)),
        (Image.new("RGB", (300, 2), (9, 9, 9)), "WEBP", (9, 9, 9)),
    ],
    ids=["cmyk", "grey", "alpha", "grey-alpha", "bilevel", "16-bit", "palette", "1x1", "webp"],
)
def test_every_mode_becomes_rgb(image: Image.Image, kind: str, expected: tuple[int, int, int]) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read(saved(image, kind, **options))
    assert picture.image.mode == "RGB"
    assert mean(picture, (0, 0, *picture.size)) == pytest.approx(expected, abs=3)
    assert read(encode(picture)).size == image.size


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    data = saved(
        frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert mean(read(data), (0, 0, 8, 8)) == pytest.approx((250, 0, 0), abs=2)


def test_nothing_hidden_survives_storing() -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret-exif"
    data = saved(upright(), "JPEG", exif=exif, comment=b"secret-comment", icc_profile=b"secret-profile")
    stored = encode(read(data + b"secret-tail"))
    assert b"secret" not in stored
    assert not Image.open(io.BytesIO(stored)).getexif()


def test_a_jpeg_keeps_its_size_and_its_look() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 16, 3), np.uint8)
    smooth = Image.fromarray(noise).resize((256, 512), Image.Resampling.BICUBIC)
    data = saved(smooth, "JPEG", quality=60)
    stored = encode(read(data))
    assert len(stored) < 1.1 * len(data)
    difference = np.asarray(read(stored).image, np.int16) - np.asarray(read(data).image, np.int16)
    assert abs(difference).mean() < 1.5


def test_thumbnails_are_small_and_small_pictures_have_none() -> None:
    made = thumbnail(read(saved(Image.new("RGB", (4000, 30)), "PNG")))
    assert made is not None
    assert read(made).size == (256, 2)
    assert thumbnail(read(saved(Image.new("RGB", (256, 30)), "PNG"))) is None


JPEG = saved(upright(), "JPEG")
PNG = saved(upright(), "PNG")
WEBP = saved(upright(), "WEBP")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyFileError),
        (b"this is a text named photo.jpg\n" * 20, NotAnImageError),
        (JPEG[: len(JPEG) // 2], DamagedImageError),
        (JPEG[:3], DamagedImageError),
        (PNG[: len(PNG) // 2], DamagedImageError),
        (PNG[:12], DamagedImageError),
        (WEBP[: len(WEBP) // 2], DamagedImageError),
        (saved(upright(), "GIF"), FormatError),
        (saved(upright(), "BMP"), FormatError),
        (saved(upright(), "TIFF"), FormatError),
        (b"\0\0\0\x18ftypheic" + bytes(40), FormatError),
    ],
    ids=["empty", "text", "half-jpeg", "3-bytes", "half-png", "png-head", "half-webp", "gif", "bmp", "tiff", "heic"],
)
def test_what_cannot_be_read_is_named(data: bytes, error: type[PictureError]) -> None:
    with pytest.raises(error) as caught:
        read(data)
    assert caught.value.code == error.code
    assert len(caught.value.message) > 10


def test_a_pixel_flood_is_refused_before_it_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100))

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    flood = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    with pytest.raises(TooManyPixelsError, match="30000 x 30000"):
        read(flood)


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(FileTooLargeError):
        read(JPEG, max_bytes=100)


@settings(max_examples=150, deadline=None)
@given(
    source=st.sampled_from([JPEG, PNG, WEBP]),
    damage=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_damaged_bytes_give_a_picture_or_a_picture_error(source: bytes, damage: list[tuple[int, int]]) -> None:
    data = bytearray(source)
    for place, value in damage:
        data[place % len(data)] = value
    try:
        picture = read(bytes(data))
    except PictureError:
        return
    assert picture.image.mode == "RGB"


def test_a_photograph_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "portrait.jpg"
    Image.effect_mandelbrot((600, 900), (-3, -2.5, 2, 2.5), 20).convert("RGB").save(path, progressive=True)
    assert read(path.read_bytes()).size == (600, 900)
