"""One video, from frames to the crops of people: what a track that goes over to somebody else gives."""

from pathlib import Path

import numpy as np

from app.video.boxes import Detections
from app.video.detection import PersonDetector
from app.video.footage import Footage, Frame
from app.video.walk import Options, Walk
from tests.app.videos import Block, write


class There(PersonDetector):
    """Sees whoever is there, at the place where they are."""

    name = "there"

    def __init__(self, blocks: list[Block]) -> None:
        self._blocks = blocks

    def detect(self, frame: Frame) -> Detections:
        boxes = [box for block in self._blocks if (box := block.at(frame.at_s)) is not None]
        return Detections(np.array(boxes, np.float64).reshape(-1, 4), np.full(len(boxes), 0.9))


def test_a_track_that_goes_over_to_somebody_else_is_one_identity_for_each(tmp_path: Path) -> None:
    """By their places alone the two are one; the next one in the video gets the next number."""
    first = Block("green", "black", 0.0, 2.0, 20, 60)
    second = Block("yellow", "black", 2.0, 4.0, 60, 100)
    third = Block("orange", "black", 6.5, 8.0, 20, 60)
    blocks = [first, second, third]
    path = write(tmp_path / "a.mp4", blocks, seconds=8.0)
    with Footage(path, 10**7) as footage:
        walk = Walk(footage, There(blocks), None, Options(fps=5.0, crops=3))
        pieces = list(walk.pieces())
    harvests = [harvest for piece in pieces for harvest in piece.harvests]
    assert [harvest.number for harvest in harvests] == [1, 2, 3]
    times = [[one.at_s for one in harvest.shots] for harvest in harvests]
    assert max(times[0]) < 2.0 <= min(times[1])
    assert max(times[1]) < 4.0 < 6.5 <= min(times[2])
    assert walk.counts.tracks == 3
