"""Pictures with heads for tests of blurring, and what is left of detail in a part of one."""

import io
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.synthetic.person import Picture, identity_of, pictures_of

SKIN, DARK = (205, 165, 140), (50, 35, 25)


def people(count: int, *, seed: int = 7) -> list[Picture]:
    """Synthetic people, each with the numbers of the parts that its pixels show."""
    return [pictures_of(identity_of(seed, "test", number), seed, "test", number, 1)[0] for number in range(count)]


def write(folder: Path, count: int, *, large: int = 1) -> list[Path]:
    """Synthetic people as JPEGs; the first ones larger than a thumbnail."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number:02}.jpg" for number in range(count)]
    for number, (path, person) in enumerate(zip(paths, people(count), strict=True)):
        if number < large:
            image = opened(person.jpeg)
            image.resize((image.width * 4, image.height * 4), Image.Resampling.BICUBIC).save(path, quality=95)
        else:
            path.write_bytes(person.jpeg)
    return paths


def opened(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg)).convert("RGB")


def face(side: int) -> Image.Image:
    """A drawn face from the front, which OpenCV's cascade takes for one."""
    image = Image.new("RGB", (240, 240), (90, 110, 90))
    draw = ImageDraw.Draw(image)
    draw.ellipse((35, 5, 205, 235), fill=SKIN)
    draw.pieslice((30, 0, 210, 150), 180, 360, fill=DARK)
    draw.ellipse((48, 35, 192, 150), fill=SKIN)
    for x in (88, 152):
        draw.ellipse((x - 28, 92, x + 28, 128), fill=(150, 110, 90))
        draw.rectangle((x - 26, 84, x + 26, 92), fill=DARK)
        draw.ellipse((x - 20, 100, x + 20, 120), fill=(235, 230, 225))
        draw.ellipse((x - 10, 98, x + 10, 122), fill=(30, 20, 20))
    draw.polygon([(120, 110), (104, 162), (136, 162)], fill=(225, 185, 160))
    draw.rectangle((106, 160, 134, 167), fill=(140, 95, 80))
    draw.ellipse((84, 182, 156, 206), fill=(140, 60, 60))
    draw.line((86, 194, 154, 194), fill=(70, 20, 20), width=4)
    return image.filter(ImageFilter.GaussianBlur(4)).resize((side, side), Image.Resampling.LANCZOS)


def pixels(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image.convert("RGB"), np.float64)


def detail(image: Image.Image, *, top: float, bottom: float) -> float:
    """Energy of a high-pass (Laplacian) in the rows between two shares of the height, the edges left out."""
    grey = pixels(image).mean(axis=2)
    rows = grey[round(top * len(grey)) + 3 : round(bottom * len(grey)) - 3]
    high = 4 * rows[1:-1, 1:-1] - rows[:-2, 1:-1] - rows[2:, 1:-1] - rows[1:-1, :-2] - rows[1:-1, 2:]
    return cast(float, (high**2).mean())


def head_is_gone(image: Image.Image, original: Image.Image) -> bool:
    """Whether the upper part has lost its detail and the lower half has not.

    Compared at 120 rows, where synthetic people have detail and JPEG adds little: mostly 0.02 of the detail is left.
    """
    shown, same = (
        one.resize((round(one.width * 120 / one.height), 120), Image.Resampling.BOX) for one in (image, original)
    )
    upper = detail(shown, top=0, bottom=0.24) / detail(same, top=0, bottom=0.24)
    lower = np.abs(pixels(shown)[60:] - pixels(same)[60:]).mean()
    return bool(upper < 0.1 and lower < 4.0)
