"""Untrusted bytes to an upright RGB picture, and a picture to the JPEG that is kept.

Only JPEG, PNG and WebP are decoded (each decoder is attack surface), nothing is decoded before its header says that
it is small enough, and what is stored is the picture alone: a plain JPEG without its other segments, anything else
encoded anew. Metadata, GPS positions, thumbnails of the uncropped photograph and bytes hidden behind the picture do
not survive that.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from app.errors import (
    DamagedImageError,
    EmptyFileError,
    FileTooLargeError,
    FormatError,
    NotAnImageError,
    TooManyPixelsError,
)
from app.gallery.lossless import Bare, Watched, strip

FORMATS = ("JPEG", "PNG", "WEBP")
THUMBNAIL_SIDE = 256
_QUALITY, _THUMBNAIL_QUALITY = 95, 85
_PAPER = (255, 255, 255)
_ORIENTATION, _TURNED = 0x0112, range(2, 9)
_MAGIC_OF_OTHERS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF": "PDF",
    b"\0\0\1\0": "ICO",
}
_ISO_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"avif": "AVIF"}

# `decode` checks the pixels itself, with a limit that is a setting and an error that has a code.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: RGB, upright, without metadata.

    `jpeg` is the file that `image` was decoded from, if it can be kept as it is. `tables` and `sampling` are the JPEG's
    own quantisation, if it came as another RGB JPEG: encoding with them again keeps size and quality nearly as they
    were.
    """

    image: Image.Image
    jpeg: bytes | None = None
    tables: dict[int, list[int]] | None = None
    sampling: int = -1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size


def decode(data: bytes, *, max_pixels: int, max_bytes: int) -> Picture:
    """Decode the first frame of a JPEG, PNG or WebP.

    Raises:
        PictureError: one of its subclasses, saying what is wrong with the bytes.
    """
    if not data:
        raise EmptyFileError("the file is empty (0 bytes)")
    if len(data) > max_bytes:
        raise FileTooLargeError(f"the file has {len(data):,} bytes; at most {max_bytes:,} are accepted")
    bare = strip(data)
    if bare is not None and (picture := _decode_bare(bare, data, max_pixels)) is not None:
        return picture
    opened = _open(data)
    _check_size(opened, max_pixels)
    try:
        opened.load()
        tables, sampling = _quantisation(opened)
        upright = ImageOps.exif_transpose(opened)
        rgb = _to_rgb(upright)
    except Exception as error:
        raise DamagedImageError(f"the picture is truncated or damaged: {error}") from error
    # A fresh picture from the pixels alone: Pillow would carry comments and profiles of `info` into what it saves.
    clean = Image.frombytes("RGB", rgb.size, rgb.tobytes())
    return Picture(clean, None, tables, sampling)


def _decode_bare(bare: Bare, data: bytes, max_pixels: int) -> Picture | None:
    """The picture of a stripped JPEG, decoded from what will be kept; None if it must be encoded anew after all."""
    try:
        if bare.turned and _open(data).getexif().get(_ORIENTATION) in _TURNED:
            return None
        watched = Watched(bare)
        opened = Image.open(watched, formats=FORMATS[:1])
        _check_size(opened, max_pixels)
        opened.load()
    except TooManyPixelsError:
        raise
    except Exception:  # noqa: BLE001  the decoding of the original says what is wrong
        return None
    return Picture(_to_rgb(opened), bare.data) if watched.needed_all else None


def _check_size(opened: Image.Image, max_pixels: int) -> None:
    width, height = opened.size
    if width * height > max_pixels:
        most = f"at most {max_pixels:,} are accepted (DESCRY_MAX_PIXELS)"
        raise TooManyPixelsError(f"the picture has {width} x {height} pixels; {most}")


def encode(picture: Picture) -> bytes:
    """The JPEG that is kept: the source's own if it is plain, else its quantisation, else quality 95 at full colour."""
    if picture.jpeg is not None:
        return picture.jpeg
    if picture.tables is not None:
        try:
            return _jpeg(picture.image, qtables=picture.tables, subsampling=picture.sampling)
        except (ValueError, OSError):  # unusual tables; the ordinary quality below always works
            pass
    return _jpeg(picture.image, quality=_QUALITY, subsampling=0)


def thumbnail(picture: Picture) -> bytes | None:
    """A JPEG whose longer side has `THUMBNAIL_SIDE` pixels; None for a picture that is no larger than that itself."""
    return small(picture.image) if max(picture.size) > THUMBNAIL_SIDE else None


def small(image: Image.Image) -> bytes:
    """A JPEG whose longer side has at most `THUMBNAIL_SIDE` pixels."""
    scale = THUMBNAIL_SIDE / max(image.size)
    if scale < 1.0:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return _jpeg(image, quality=_THUMBNAIL_QUALITY)


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if other := _other_format(data):
            raise FormatError(f"{other} is not read; convert it to JPEG, PNG or WebP") from None
        if data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or data[:4] + data[8:12] == b"RIFFWEBP":
            raise DamagedImageError("the picture breaks off or is damaged in its header") from None
        raise NotAnImageError("the content is not a JPEG, PNG or WebP picture") from None
    except Exception as error:
        raise DamagedImageError(f"the picture's header is damaged: {error}") from error


def _other_format(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return _ISO_BRANDS.get(data[8:12])
    return next((name for magic, name in _MAGIC_OF_OTHERS.items() if data.startswith(magic)), None)


def _quantisation(image: Image.Image) -> tuple[dict[int, list[int]] | None, int]:
    """Tables and chroma subsampling of an RGB JPEG, for `encode`."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode != "RGB":
        return None, -1
    tables = {key: list(values) for key, values in image.quantization.items()}
    sampling = JpegImagePlugin.get_sampling(image)
    if sampling < 0 or not tables or max(max(values) for values in tables.values()) > 255:
        return None, -1
    return tables, sampling


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # 16 bits of grey: Pillow's own conversion would cut off at 255 and give white.
        grey = np.asarray(image).astype(np.float64) / 257.0
        return Image.fromarray(np.clip(grey.round(), 0, 255).astype(np.uint8), "L").convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        paper = Image.new("RGBA", layered.size, (*_PAPER, 255))
        return Image.alpha_composite(paper, layered).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _jpeg(image: Image.Image, **options: Any) -> bytes:  # noqa: ANN401  Pillow's own options
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()
