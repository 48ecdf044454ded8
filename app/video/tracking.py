"""Detections of frames to tracks of people: motion, overlap and appearance, assigned by the Hungarian method.

As SORT (Bewley et al., ICIP 2016) and DeepSORT (Wojke et al., ICIP 2017) do it, with ByteTrack's second round (Zhang et
al., ECCV 2022): unsure detections may only go on with tracks that are known. A track is a provisional identity and no
more: nothing here knows who somebody is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from app.video.boxes import Detections, Floats, overlaps
from app.video.kalman import Motion

_NEVER = 1e6


@dataclass(frozen=True, slots=True)
class Rules:
    """When tracks begin, go on and end.

    Attributes:
        sure: score from which a detection may begin a track.
        births: sure detections after which a track is believed.
        lost_s: seconds without a detection after which a track ends.
        doubt_s: the same for a track that is not believed yet.
        alike: appearance (cosine) below which a detection is somebody else, where both are near.
        again: appearance from which somebody who was lost is taken up again at some distance.
        reach: how far from where it is expected a lost track may appear, in its heights for each second.
        weight: of appearance against overlap, 0..1.
        least_overlap: from which a detection may be at the same place.
        still, moved: a track is believed once it has a detection with the score `still`, or a sure one `moved` of its
            heights from where it began.
    """

    sure: float = 0.5
    births: int = 3
    lost_s: float = 2.0
    doubt_s: float = 0.45
    alike: float = 0.45
    again: float = 0.8
    reach: float = 0.7
    weight: float = 0.4
    still: float = 0.0
    moved: float = 0.3
    least_overlap: float = 0.1


@dataclass
class Track:
    """One person as far as one camera followed them.

    Attributes:
        key: of this track among all that the tracker ever began.
        number: from 1, given when the track is believed; 0 before.
        first_s, last_s: times of the first and the last detection.
        hits: sure detections.
        origin: box of the first detection; `best`: the highest score.
        look: running mean of the appearance, unit-norm; None without.
    """

    key: int
    motion: Motion
    first_s: float
    last_s: float
    hits: int = 1
    number: int = 0
    origin: Floats | None = None
    best: float = 0.0
    look: Floats | None = None

    @property
    def believed(self) -> bool:
        return self.number > 0

    def to_json(self) -> dict[str, Any]:
        """Everything, exactly: Python writes floats so that they come back the same."""
        return {
            "key": self.key,
            "mean": self.motion.mean.tolist(),
            "spread": self.motion.spread.tolist(),
            "first_s": self.first_s,
            "last_s": self.last_s,
            "hits": self.hits,
            "number": self.number,
            "origin": None if self.origin is None else self.origin.tolist(),
            "best": self.best,
            "look": None if self.look is None else self.look.tolist(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Track":
        """What `to_json` gave."""
        look = None if value["look"] is None else np.array(value["look"])
        origin = None if value["origin"] is None else np.array(value["origin"])
        motion = Motion(np.array(value["mean"]), np.array(value["spread"]))
        names = ("key", "first_s", "last_s", "hits", "number", "best")
        return cls(motion=motion, origin=origin, look=look, **{name: value[name] for name in names})


@dataclass(frozen=True, slots=True)
class Step:
    """What one frame did: `seen` are (track, row of the detections), `ended` believed tracks that ended."""

    seen: list[tuple[Track, int]]
    ended: list[Track]


class Tracker:
    """Follows people through the frames of one camera, in the order of time."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.tracks: list[Track] = []
        self._next, self._born, self._at_s = 1, 0, 0.0

    def step(self, at_s: float, found: Detections, looks: Floats | None = None) -> Step:
        """Take the detections of the frame at `at_s` in.

        Args:
            found: boxes in pixels.
            looks: (N, dim) unit-norm appearance of each detection; None without.
        """
        dt = max(0.0, at_s - self._at_s)
        self._at_s = at_s
        for track in self.tracks:
            track.motion.predict(dt)
        pairs = self._assign(at_s, found, looks)
        for track, row in pairs:
            self._go_on(track, at_s, found.boxes[row], float(found.scores[row]), None if looks is None else looks[row])
        taken = {row for _, row in pairs}
        for row in range(len(found.scores)):
            if row not in taken and found.scores[row] >= self.rules.sure:
                look = None if looks is None else looks[row].copy()
                pairs.append((self._begin(at_s, found.boxes[row], float(found.scores[row]), look), row))
        return Step(pairs, self._bury(at_s))

    def renumber(self, track: Track) -> None:
        """Give a track a number of its own anew: it shows somebody else now."""
        track.number, self._next = self._next, self._next + 1

    def finish(self) -> list[Track]:
        """The video has ended: the believed tracks that were still followed."""
        left, self.tracks = [track for track in self.tracks if track.believed], []
        return left

    def to_json(self) -> dict[str, Any]:
        """The whole state."""
        return {
            "next": self._next,
            "born": self._born,
            "at_s": self._at_s,
            "tracks": [track.to_json() for track in self.tracks],
        }

    def from_json(self, value: dict[str, Any]) -> None:
        """Go on from what `to_json` gave."""
        self._next, self._born, self._at_s = int(value["next"]), int(value["born"]), float(value["at_s"])
        self.tracks = [Track.from_json(one) for one in value["tracks"]]

    def _assign(self, at_s: float, found: Detections, looks: Floats | None) -> list[tuple[Track, int]]:
        sure = [row for row, score in enumerate(found.scores) if score >= self.rules.sure]
        unsure = [row for row, score in enumerate(found.scores) if score < self.rules.sure]
        pairs = self._match(self.tracks, sure, at_s, found, looks)
        with_one = {id(track) for track, _ in pairs}
        left = [track for track in self.tracks if id(track) not in with_one]
        return pairs + self._match(left, unsure, at_s, found, looks)

    def _match(
        self, tracks: Sequence[Track], rows: list[int], at_s: float, found: Detections, looks: Floats | None
    ) -> list[tuple[Track, int]]:
        if not tracks or not rows:
            return []
        costs = self._costs(tracks, found.boxes[rows], at_s, None if looks is None else looks[rows])
        first, second = linear_sum_assignment(costs)
        return [
            (tracks[a], rows[b]) for a, b in zip(first.tolist(), second.tolist(), strict=True) if costs[a, b] < _NEVER
        ]

    def _costs(self, tracks: Sequence[Track], boxes: Floats, at_s: float, looks: Floats | None) -> Floats:
        """(T, N): 0 for the same place and look, `_NEVER` for what cannot be the same person."""
        rules = self.rules
        expected = np.stack([track.motion.box for track in tracks])
        shared = overlaps(expected, boxes)
        heights = np.maximum(4.0, expected[:, 3] - expected[:, 1])
        apart = np.linalg.norm(_middle(expected)[:, None] - _middle(boxes)[None], axis=2) / heights[:, None]
        silent = np.array([at_s - track.last_s for track in tracks])
        tall = (boxes[:, 3] - boxes[:, 1])[None] / heights[:, None]
        near = shared >= rules.least_overlap
        within = (apart < 0.25 + rules.reach * silent[:, None]) & (tall > 0.55) & (tall < 1.8)
        costs = 1.0 - shared
        if looks is None or any(track.look is None or len(track.look) != looks.shape[1] for track in tracks):
            allowed = near | (within & (silent[:, None] < 0.5))
        else:
            alike = np.stack([track.look for track in tracks if track.look is not None]) @ looks.T
            allowed = (near & (alike >= rules.alike)) | (within & (alike >= rules.again))
            costs = (1 - rules.weight) * costs + rules.weight * (1.0 - alike)
        return np.where(allowed, costs + 0.1 * np.minimum(apart, 5.0), _NEVER)

    def _go_on(self, track: Track, at_s: float, box: Floats, score: float, look: Floats | None) -> None:
        track.motion.update(box)
        track.last_s, track.best = at_s, max(track.best, score)
        if look is not None:
            mean = look if track.look is None or len(track.look) != len(look) else 0.85 * track.look + 0.15 * look
            track.look = mean / max(1e-9, float(np.linalg.norm(mean)))
        if score < self.rules.sure:
            return
        track.hits += 1
        if not track.believed and track.hits >= self.rules.births and self._lives(track, box):
            self.renumber(track)

    def _lives(self, track: Track, box: Floats) -> bool:
        """Whether it has the look of a person, or moves as one."""
        if track.best >= self.rules.still or track.origin is None:
            return True
        tall = max(4.0, float(box[3] - box[1]))
        gone = np.linalg.norm(_middle(box[None]) - _middle(track.origin[None])) / tall
        return bool(gone >= self.rules.moved)

    def _begin(self, at_s: float, box: Floats, score: float, look: Floats | None) -> Track:
        track = Track(self._born, Motion.begin(box), at_s, at_s, origin=box.copy(), best=score, look=look)
        self._born += 1
        self.tracks.append(track)
        return track

    def _bury(self, at_s: float) -> list[Track]:
        rules, ended, left = self.rules, list[Track](), list[Track]()
        for track in self.tracks:
            silent = at_s - track.last_s
            if silent <= (rules.lost_s if track.believed else rules.doubt_s) + 1e-9:
                left.append(track)
            elif track.believed:
                ended.append(track)
        self.tracks = left
        return ended


def _middle(boxes: Floats) -> Floats:
    """(N, 2) the middle of each box."""
    found: Floats = (boxes[:, :2] + boxes[:, 2:]) / 2
    return found
