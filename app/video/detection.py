"""The interface of person detectors: a frame in, boxes with scores out."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from app.video.boxes import Detections
from app.video.footage import Frame


class PersonDetector(ABC):
    """Finds people in the frames of one video, which come in order.

    A detector may learn from the frames; what it has learnt can be kept as bytes, so that a killed job goes on as if it
    had not been killed: the same frames after `recall` give the same boxes.
    """

    name: str
    """For provenance."""
    still_score = 0.0
    """Score from which somebody who does not move is believed to be a person."""

    @abstractmethod
    def detect(self, frame: Frame) -> Detections:
        """The people in a frame, boxes in its pixels. The same frames give the same boxes."""

    def prime(self, frames: Iterable[Frame]) -> None:  # noqa: B027  most have nothing to learn
        """See some frames of the beginning before the first is asked about."""

    def remember(self) -> bytes | None:
        """What was learnt so far; None if nothing ever is."""
        return None

    def recall(self, kept: bytes) -> None:  # noqa: B027
        """Go on with what `remember` gave."""
