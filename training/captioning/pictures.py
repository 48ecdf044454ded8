"""Pictures as they are sent: scaled down, and without metadata, which can hold a place and a time."""

import base64
import hashlib
import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageOps

from training.errors import DatasetError

_MOST_PIXELS = 64_000_000


def data_url(path: Path, most_side: int) -> str:
    """The picture as a JPEG in a data URL, upright, at most `most_side` pixels on its longer side.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise DatasetError(f"{path} has more than {_MOST_PIXELS:,} pixels")
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} cannot be read as an image: {error}") from error
    upright.thumbnail((most_side, most_side), Image.Resampling.BICUBIC)
    clean = Image.new("RGB", upright.size)
    clean.paste(upright)
    out = io.BytesIO()
    clean.save(out, "JPEG", quality=92)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def hashes(paths: Iterable[Path], progress: Callable[[int], None] = lambda done: None) -> list[str]:
    """SHA-256 of each file, in order.

    Raises:
        DatasetError: a file cannot be read.
    """
    found: list[str] = []
    with ThreadPoolExecutor(4, thread_name_prefix="hash") as pool:
        for value in pool.map(_hash, paths):
            found.append(value)
            progress(len(found))
    return found


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
