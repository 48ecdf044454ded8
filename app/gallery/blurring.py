"""Heads made unrecognisable, in what people see of a picture.

An image of a gallery shows one upright person, cut out: the head is at the top, and in footage it is often a dozen
pixels high, seen from behind, where no detector finds it. So the upper part is always blurred, by the shape of the
picture alone. What OpenCV's cascades find below comes to that: faces of others. They decide nothing else, for whoever
is not found would be seen. A picture wider than one person does not say where its heads are: it is blurred whole.
See decision 0036.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from app.errors import FaceBlurNotInstalledError
from app.settings import Settings

_LEAST = 0.26
"""Share of a picture's height that is always blurred."""
_BY_WIDTH, _WHOLE_BODY, _WIDER = 0.7, 0.5, 8.0
"""Rows that are blurred for each column: a picture wide for its height shows less of a body, so more head. What is
wider than half its height is hardly one whole person who stands (several people, or a close one), and heads may be
anywhere in it: each further column counts for so many rows that 0.58 of the height is wide enough for all of it."""
_CELLS = 4
"""Averages on the shorter side of a region. A head has half a region's height, so two by two of them."""
_LEVELS = 16
"""Steps of brightness that an average keeps, so that many pictures of one head do not add up to a better one."""
_WORK_HEIGHT = 192
"""Rows at which faces are looked for; those of smaller pictures are too small for the cascades."""
_LEAST_FACE, _STEP = 20, 1.2
"""Side of the smallest face at that height, and the ratio of the sizes that are looked for."""
_CASCADES = ("haarcascade_frontalface_alt2.xml", "haarcascade_profileface.xml")
_ALL_ROUND = 0.45
"""Share of a face's side that is added on each side: hair, ears and neck."""


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle in pixels; right and bottom are the first that do not belong to it."""

    left: int
    top: int
    right: int
    bottom: int


class FaceBlur:
    """Blurs heads. Safe from several threads."""

    def __init__(self) -> None:
        self._cv2 = _opencv()
        self._own = threading.local()

    def __call__(self, image: Image.Image) -> Image.Image:
        """A copy of an RGB picture with its heads blurred; all else is as it was."""
        result = image.copy()
        for region in self.regions(image):
            _blur(result, region)
        return result

    def regions(self, image: Image.Image) -> list[Region]:
        """What is blurred: the upper part (of a wide picture all of it), then faces below it."""
        width, height = image.size
        rows = max(_LEAST * height, _BY_WIDTH * width + _WIDER * max(0.0, width - _WHOLE_BODY * height))
        upper = Region(0, 0, width, min(height, int(np.ceil(rows))))
        return [upper, *(self._faces(image, upper.bottom) if upper.bottom < height else ())]

    def _faces(self, image: Image.Image, above: int) -> Iterator[Region]:
        """Heads around the faces whose lower edge is below a row."""
        width, height = image.size
        scale = _WORK_HEIGHT / height
        size = (max(1, round(width * scale)), _WORK_HEIGHT)
        grey = np.asarray(image.convert("L").resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))
        # A face that straddles the edge is found whole.
        first = max(0, round(above * scale) - 2 * _LEAST_FACE)
        for x, y, side in self._found(np.ascontiguousarray(grey[first:])):
            more = _ALL_ROUND * side
            left, top = int((x - more) / scale), int((first + y - more) / scale)
            right, bottom = int((x + side + more) / scale) + 1, int((first + y + side + more) / scale) + 1
            if bottom > above:
                yield Region(max(0, left), max(0, top), min(width, right), min(height, bottom))

    def _found(self, grey: np.ndarray[Any, np.dtype[np.uint8]]) -> Iterator[tuple[int, int, int]]:
        """Squares (left, top, side) of faces from the front and from both sides."""
        if min(grey.shape) < _LEAST_FACE:
            return
        grey = self._cv2.equalizeHist(grey)
        front, profile = self._cascades()
        for cascade, flipped in ((front, False), (profile, False), (profile, True)):
            seen = np.ascontiguousarray(grey[:, ::-1]) if flipped else grey
            for x, y, side, _ in cascade.detectMultiScale(seen, _STEP, 3, minSize=(_LEAST_FACE, _LEAST_FACE)):
                yield (grey.shape[1] - int(x) - int(side) if flipped else int(x)), int(y), int(side)

    def _cascades(self) -> tuple[Any, Any]:
        """This thread's own: they keep what they work on within themselves."""
        if not hasattr(self._own, "cascades"):
            self._own.cascades = tuple(_cascade(self._cv2, name) for name in _CASCADES)
        found: tuple[Any, Any] = self._own.cascades
        return found


def face_blur(settings: Settings) -> FaceBlur | None:
    """What blurs heads, if the settings ask for it.

    Raises:
        FaceBlurNotInstalledError: they do, and OpenCV or its cascades are not there.
    """
    return _one() if settings.blur_faces else None


@cache
def _one() -> FaceBlur:
    return FaceBlur()


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise FaceBlurNotInstalledError(
            "DESCRY_BLUR_FACES is on, and OpenCV is not installed: install the extra `blur` "
            "(uv pip install -c constraints.txt -e '.[cpu,blur]'), or turn the setting off"
        ) from error
    for name in _CASCADES:
        _cascade(cv2, name)
    return cv2


def _cascade(cv2: ModuleType, name: str) -> Any:  # noqa: ANN401  OpenCV's own class
    cascade = cv2.CascadeClassifier(f"{cv2.data.haarcascades}{name}") if hasattr(cv2, "CascadeClassifier") else None
    if cascade is None or cascade.empty():
        raise FaceBlurNotInstalledError(
            f"DESCRY_BLUR_FACES is on, and the OpenCV {cv2.__version__} that is installed lacks {name}: install "
            "'opencv-python-headless>=4.10,<5', or turn the setting off"
        )
    return cascade


def _blur(image: Image.Image, region: Region) -> None:
    """Replace a region by a smooth picture of a few averages: nothing else of it is left that could be recovered."""
    box = (region.left, region.top, region.right, region.bottom)
    width, height = region.right - region.left, region.bottom - region.top
    cell = max(1.0, min(width, height) / _CELLS)
    few = (max(1, round(width / cell)), max(1, round(height / cell)))
    step = 256 // _LEVELS
    averages = (
        image.crop(box).resize(few, Image.Resampling.BOX).point(lambda value: int(value) // step * step + step // 2)
    )
    image.paste(averages.resize((width, height), Image.Resampling.BICUBIC), box)
