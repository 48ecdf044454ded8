"""One video, a piece of time after the other: frames, people, tracks, and the crops of tracks that have ended.

Everything that a piece needs of those before it is in `Walk.state`, which is JSON: a job that is killed goes on from
there and finds the same people, with the same numbers, in the same crops.
"""

import base64
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from app.video.appearance import Appearance
from app.video.boxes import Detections
from app.video.crops import Album, Shot, cut, qualities, shot
from app.video.detection import PersonDetector
from app.video.footage import Footage, Frame, Loss
from app.video.tracking import Rules, Track, Tracker

_PRIME_S, _PRIME_FPS = 24.0, 1.0
_HARVEST_S = 300.0
"""Somebody who stays is handed over again and again, not at the end of the day."""
_STATE = 2
_UNSURE = 0.3
"""Worth of a crop where the detector is not sure: the place that somebody has left may be sharp."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a video is looked at.

    Attributes:
        fps: frames per second of video that are looked at.
        piece_s: seconds of video after which the state is kept.
        crops: most crops of one track (of each five minutes of one).
    """

    fps: float = 5.0
    piece_s: float = 10.0
    crops: int = 4


@dataclass(frozen=True, slots=True)
class Harvest:
    """What is known of a track that has ended, or of the last minutes of one that goes on."""

    number: int
    shots: list[Shot]


@dataclass
class Counts:
    """What was looked at so far."""

    frames: int = 0
    detections: int = 0
    tracks: int = 0


@dataclass
class Piece:
    """A piece of time that was looked at. `ended`: whether it was the last; `upto_s`: how far the video is done."""

    upto_s: float
    harvests: list[Harvest] = field(default_factory=list)
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """What one frame showed, for who measures: the boxes and the track (0: not believed) of each."""

    frame: Frame
    found: Detections
    numbers: dict[int, int]


class Walk:
    """Walks through one video. `look`: the appearance, or None."""

    def __init__(
        self, footage: Footage, detector: PersonDetector, look: Appearance | None, options: Options | None = None
    ) -> None:
        self._footage, self._detector, self._look = footage, detector, look
        self._options = options or Options()
        self._tracker = Tracker(Rules(still=detector.still_score))
        self._albums: dict[int, Album] = {}
        self._next = 0
        self._frames: Iterator[Frame] | None = None
        self._lost_before: list[Loss] = []
        self.counts = Counts()

    @property
    def losses(self) -> list[Loss]:
        """What could not be decoded so far."""
        return [*self._lost_before, *self._footage.losses]

    def pieces(self) -> Iterator[Piece]:
        """The pieces from here to the end; the state may be kept after each of them.

        Raises:
            VideoError: nothing can be decoded.
        """
        while True:
            for item in self.steps():
                if isinstance(item, Piece):
                    yield item
                    if item.ended:
                        return

    def steps(self) -> Iterator[Sight | Piece]:
        """The frames of the next piece as they are looked at, then the piece: whoever must stop early can."""
        if self._frames is None:
            if not self._next:
                self._prime()
            self._frames = self._footage.frames(self._options.fps, self._next)
        length = max(1, round(self._options.piece_s * self._options.fps))
        border = (self._next // length + 1) * length
        piece = Piece(border / self._options.fps)
        for frame in self._frames:
            yield self._see(frame, piece)
            if self._next >= border:
                yield piece
                return
        piece.ended, piece.upto_s = True, self._next / self._options.fps
        for track in self._tracker.finish():
            self._end(track, piece)
        yield piece

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as JSON."""
        learnt = self._detector.remember()
        return {
            "state": _STATE,
            "next": self._next,
            "detector": None if learnt is None else base64.b64encode(learnt).decode(),
            "tracker": self._tracker.to_json(),
            "albums": [[key, album.to_json()] for key, album in sorted(self._albums.items())],
            "losses": [asdict(loss) for loss in self.losses],
            "counts": asdict(self.counts),
        }

    def restore(self, value: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: it is of another version of Descry.
        """
        if value.get("state") != _STATE:
            raise ValueError("the state is of another version")
        self._next = int(value["next"])
        if value["detector"] is not None:
            self._detector.recall(base64.b64decode(value["detector"]))
        self._tracker.from_json(value["tracker"])
        self._albums = {int(key): Album.from_json(album) for key, album in value["albums"]}
        self._lost_before = [Loss(**loss) for loss in value["losses"]]
        self.counts = Counts(**value["counts"])

    def _prime(self) -> None:
        with Footage(self._footage.path, self._footage.max_pixels) as beginning:
            self._detector.prime(islice(beginning.frames(_PRIME_FPS), round(_PRIME_S * _PRIME_FPS)))

    def _see(self, frame: Frame, piece: Piece) -> Sight:
        found = self._detector.detect(frame)
        looks = None
        if self._look is not None and len(found.scores):
            looks = self._look([cut(frame.pixels, _box(row), margin=0.0) for row in found.boxes.tolist()])
        step = self._tracker.step(frame.at_s, found, looks)
        worth = [
            value if score >= self._tracker.rules.sure else _UNSURE * value
            for value, score in zip(qualities(frame.pixels, found.boxes), found.scores, strict=True)
        ]
        for track, row in step.seen:
            album = self._albums.setdefault(track.key, Album(self._options.crops, track.first_s))
            album.offer(
                frame.at_s,
                worth[row],
                lambda row=row: shot(frame.pixels, found.boxes[row], frame.at_s, worth[row]),  # type: ignore[misc]
            )
        for track in step.ended:
            self._end(track, piece)
        for track in self._tracker.tracks:
            if track.believed and frame.at_s - self._albums[track.key].first_s > _HARVEST_S:
                self._harvest(track, piece)
        alive = {track.key for track in self._tracker.tracks}
        self._albums = {key: album for key, album in self._albums.items() if key in alive}
        self._next = frame.index + 1
        self.counts.frames += 1
        self.counts.detections += len(found.scores)
        return Sight(frame, found, {row: track.number for track, row in step.seen})

    def _end(self, track: Track, piece: Piece) -> None:
        self.counts.tracks += max(1, self._harvest(track, piece))

    def _harvest(self, track: Track, piece: Piece) -> int:
        """Hand over the crops of a track, for each person in it; returns how many these are."""
        album = self._albums.pop(track.key, None)
        people = album.people() if album is not None else []
        made = list[Harvest]()
        for shots in people:
            if made:
                self._tracker.renumber(track)
            made.append(Harvest(track.number, shots))
        if made:  # whoever was seen last is followed now
            track.number = max(made, key=lambda harvest: harvest.shots[-1].at_s).number
        piece.harvests += made
        self._albums[track.key] = Album(self._options.crops, track.last_s)
        return len(people)


def _box(row: list[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = row
    return (left, top, right, bottom)
