"""The detector that needs no download: what moves before a fixed camera, and OpenCV's people detector (HOG).

Motion finds people of any size and any side, as long as they move and the camera does not. HOG (Dalal and Triggs, CVPR
2005) finds upright people of 100 pixels or so, standing ones too: it is asked about what moves, scaled to that size, to
tell two people from one, and every second about the whole frame, for those who stand.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from app.video.background import Background
from app.video.blobs import UNSURE, Box, people
from app.video.boxes import Detections, overlaps, suppress
from app.video.detection import PersonDetector
from app.video.footage import Frame, Pixels

_WORK_WIDTH = 480
_WINDOW = (64, 128)
_BODY = (0.20, 0.09, 0.80, 0.93)
"""Where in a HOG window the person is, as shares of its width and height."""
_SEARCH_HEIGHT = 360
"""Rows of the frame that HOG sees whole."""
_SURE, _HELPFUL = 0.9, 0.25
"""Distance from HOG's margin above which a window is a person by itself, or where something moves."""
_AGREED = 0.9
"""Score of what both find; motion alone stays below."""
_WHOLE_EVERY_S = 1.0
_MOST_OVERLAP = 0.45


class MotionDetector(PersonDetector):
    """Motion and HOG. `hog=False`: motion alone, several times as fast."""

    def __init__(self, *, hog: bool = True) -> None:
        self.name = "motion+hog" if hog else "motion"
        self.still_score = _AGREED  # light on a wall does not walk, and looks like nobody to HOG
        self._background = Background()
        self._hog = _people_hog() if hog else None

    def prime(self, frames: Iterable[Frame]) -> None:
        """Learn the background from frames of the beginning."""
        small = [_small(frame.pixels)[0] for frame in frames]
        if len(small) > 2:
            self._background.prime(small)

    def remember(self) -> bytes:
        """The background."""
        return self._background.to_bytes()

    def recall(self, kept: bytes) -> None:
        """Take a background over."""
        self._background.from_bytes(kept)

    def detect(self, frame: Frame) -> Detections:
        """See `PersonDetector`."""
        small, scale = _small(frame.pixels)
        # By the time of the frame before, which the background keeps, so that a resumed job asks at the same frames.
        second = int(frame.at_s / _WHOLE_EVERY_S) != int(self._background.at_s / _WHOLE_EVERY_S) or frame.index == 0
        change = self._background.differs(small, frame.at_s)
        found = [] if change is None else people(change)
        moving = Detections.of([_times(box, 1 / scale) for box, _ in found], [score for _, score in found])
        standing = Detections.none()
        if self._hog is not None and second:
            standing = self._whole(frame.pixels)
        height, width = frame.pixels.shape[:2]
        return suppress(_together(moving, standing), _MOST_OVERLAP).clipped(width, height)

    def _whole(self, pixels: Pixels) -> Detections:
        """Standing people anywhere in the frame."""
        assert self._hog is not None
        height, width = pixels.shape[:2]
        scale = _SEARCH_HEIGHT / height
        grey = cv2.cvtColor(cv2.resize(pixels, (max(64, round(width * scale)), _SEARCH_HEIGHT)), cv2.COLOR_RGB2GRAY)
        # Ungrouped (0): OpenCV's grouping depends on the order in which its threads finish.
        boxes, weights = self._hog.detectMultiScale(grey, _HELPFUL, (8, 8), (0, 0), 1.08, 0)
        found = [_body(np.asarray(box), 1 / scale) for box in boxes]
        scores = [float(np.clip(weight, 0, 2)) / 2 for weight in np.ravel(weights)]
        return suppress(Detections.of(found, scores), 0.35)


def _together(moving: Detections, standing: Detections) -> Detections:
    """Motion says where the edges are; HOG raises what it agrees with, and adds whoever stands."""
    if not len(standing.scores):
        return moving
    shared = overlaps(moving.boxes, standing.boxes)
    agreed = (shared.max(axis=1, initial=0.0) > 0.4) & (moving.scores > UNSURE)
    scores = np.where(agreed, _AGREED + 0.1 * moving.scores, moving.scores)
    alone = (shared.max(axis=0, initial=0.0) < 0.3) & (standing.scores * 2 >= _SURE)
    boxes = np.concatenate([moving.boxes, standing.boxes[alone]])
    # Below what moves: the same person found twice keeps the box of motion.
    return Detections(boxes, np.concatenate([scores, np.minimum(UNSURE, standing.scores[alone])]))


def _people_hog() -> cv2.HOGDescriptor:
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(np.array(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
    return hog


def _small(pixels: Pixels) -> tuple[NDArray[np.uint8], float]:
    height, width = pixels.shape[:2]
    scale = min(1.0, _WORK_WIDTH / width)
    if scale == 1.0:
        return pixels, scale
    size = (_WORK_WIDTH, max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _times(box: Box, factor: float) -> Box:
    x0, y0, x1, y1 = box
    return (x0 * factor, y0 * factor, x1 * factor, y1 * factor)


def _body(window: NDArray[np.int_], factor: float) -> Box:
    x, y, w, h = (float(value) for value in window)
    left, top, right, bottom = _BODY
    return _times((x + left * w, y + top * h, x + right * w, y + bottom * h), factor)
