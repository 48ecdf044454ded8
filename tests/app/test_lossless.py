"""JPEGs that are kept as they came: the same pixels, and nothing but them."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.gallery.lossless import strip
from app.gallery.pictures import decode, encode

SECRET = b"secret-payload"


def photograph(size: tuple[int, int] = (37, 61), mode: str = "RGB", seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (6, 4, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)


def jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def kept(data: bytes) -> tuple[bytes, bool]:
    """What is stored, and whether it is what came."""
    picture = decode(data, max_pixels=10**7, max_bytes=10**7)
    return encode(picture), picture.jpeg is not None


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(16, 70), st.integers(16, 70)),
    quality=st.integers(20, 100),
    sampling=st.sampled_from([0, 1, 2]),
    optimize=st.booleans(),
    mode=st.sampled_from(["RGB", "L"]),
    seed=st.integers(0, 99),
)
def test_the_pixels_stay_the_same(
    size: tuple[int, int], quality: int, sampling: int, optimize: bool, mode: str, seed: int
) -> None:
    data = jpeg(photograph(size, mode, seed), quality=quality, subsampling=sampling, optimize=optimize)
    stored, lossless = kept(data)
    assert lossless
    assert pixels(stored) == pixels(data)


def test_everything_else_is_gone() -> None:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    image = photograph()
    data = jpeg(image, exif=exif, comment=SECRET, icc_profile=SECRET, xmp=SECRET, dpi=(300, 300))
    stored, lossless = kept(data + SECRET + data)
    assert lossless
    assert SECRET not in stored
    assert stored.count(b"\xff\xd8") == stored.count(b"\xff\xd9") == 1
    assert pixels(stored) == pixels(data)


def _behind_the_scan(data: bytes) -> bytes:
    return data[:-2] + SECRET + data[-2:]


def _marker_in_the_scan(data: bytes) -> bytes:
    return data[:-40] + b"\xff\xfe" + len(SECRET + b"..").to_bytes(2) + SECRET + data[-40:]


def _spare_table(data: bytes) -> bytes:
    body = b"\x03" + SECRET.ljust(64, b"\x01")
    return data[:2] + b"\xff\xdb" + (len(body) + 2).to_bytes(2) + body + data[2:]


def _fill_bytes(data: bytes) -> bytes:
    return data[:2] + b"\xff\xff" + data[2:]


def _too_long_a_segment(data: bytes) -> bytes:
    return data[:2] + b"\xff\xee\xff\xf0" + data[2:]


@pytest.mark.parametrize("hide", [_behind_the_scan, _marker_in_the_scan, _spare_table])
def test_what_is_hidden_in_odd_places_is_encoded_away(hide: Callable[[bytes], bytes]) -> None:
    stored, lossless = kept(hide(jpeg(photograph(), quality=90)))
    assert not lossless
    assert SECRET not in stored


@pytest.mark.parametrize(
    "data",
    [
        jpeg(photograph(), progressive=True),
        jpeg(photograph(), restart_marker_blocks=2),
        jpeg(photograph(mode="CMYK")),
        jpeg(photograph(), keep_rgb=True),
        _fill_bytes(jpeg(photograph())),
        _too_long_a_segment(jpeg(photograph())),
        jpeg(photograph())[:-2],
        b"\xff\xd8",
        b"",
    ],
    ids=["progressive", "restarts", "cmyk", "rgb", "fill", "length", "no-end", "start", "nothing"],
)
def test_what_is_unusual_is_left_to_the_encoder(data: bytes) -> None:
    assert strip(data) is None


def test_a_turned_picture_is_encoded_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored, lossless = kept(jpeg(photograph((20, 40)), exif=exif))
    assert not lossless
    assert Image.open(io.BytesIO(stored)).size == (40, 20)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_never_gets_in_a_segment(damage: list[tuple[int, int]]) -> None:
    data = bytearray(jpeg(photograph(), exif=b"Exif\0\0" + SECRET, comment=SECRET))
    for place, value in damage:
        data[place % len(data)] = value
    bare = strip(bytes(data))
    assert bare is None or SECRET not in bare.data
