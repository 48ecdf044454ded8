"""What is to be done with one video, as a job's parameters say it and as its crops are entered in the gallery."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.database.tables import CAMERA_CHARS, DEFAULT_COLLECTION
from app.errors import EntryError
from app.gallery.sources import Entry
from app.settings import Settings
from app.values import check_text, printable
from app.video.clock import Start, start_of, zone_of
from app.video.footage import Facts

if TYPE_CHECKING:
    from app.video.walk import Harvest

_EDGE = 1 << 20
_WAY = "3"
"""Of looking at videos: raise it when the same video gives other tracks, or new ones would join old ones."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One video.

    Attributes:
        name: what the file was called where it came from.
        start: when the first frame was taken, if somebody says so.
        fps: frames per second of video that are looked at; None for the setting.
    """

    path: Path
    name: str
    collection: str = DEFAULT_COLLECTION
    camera: str | None = None
    start: datetime | None = None
    fps: float | None = None

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> "Plan":
        """From a job's parameters."""
        start = parameters.get("start")
        return cls(
            Path(parameters["path"]),
            parameters["name"],
            parameters["collection"],
            parameters.get("camera"),
            datetime.fromisoformat(start) if start else None,
            parameters.get("fps"),
        )

    def parameters(self) -> dict[str, Any]:
        """For a job."""
        return {
            "path": str(self.path.resolve()),
            "name": self.name,
            "collection": self.collection,
            "camera": self.camera,
            "start": self.start.isoformat() if self.start else None,
            "fps": self.fps,
        }


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the crops of one video come from. `mark`: tells the tracks of this video, looked at in this way, apart from
    all others."""

    name: str
    camera: str | None
    start: Start
    mark: str
    detector: str

    @classmethod
    def of(cls, plan: Plan, facts: Facts, settings: Settings, way: str, detector: str) -> "Provenance":
        """Read the start of the video and the marks of its content.

        Args:
            way: everything besides the content that decides which tracks there are.
        """
        start = start_of(Path(plan.name), plan.start, facts.created_at, zone_of(settings.video_timezone))
        mark = _mark(plan.path, f"{_WAY} {way} {detector} {start.at}")
        return cls(printable(plan.name), plan.camera, start, mark, detector)

    def track(self, number: int) -> str:
        """External name of a track: date, video and number. With its camera it is unique in a collection."""
        date = f"{self.start.at:%Y-%m-%d}" if self.start.at else "undated"
        return f"{date}/{self.mark}/{number:04d}"

    def entry(self, harvest: "Harvest", place: int, path: Path) -> Entry:
        """Crop `place` of a track, which lies in `path`, for the ingest."""
        shot = harvest.shots[place]
        left, top, right, bottom = shot.box
        seconds = round(shot.at_s, 3)
        return Entry(
            name=f"{self.name}#t={seconds:.3f}&track={harvest.number}",
            path=path,
            camera=self.camera,
            track=self.track(harvest.number),
            captured_at=None if self.start.at is None else self.start.at + timedelta(seconds=shot.at_s),
            attributes={
                "video": self.name,
                "video_time_s": seconds,
                "video_box": [left, top, round(right - left, 1), round(bottom - top, 1)],
                "video_track": harvest.number,
                "video_detector": self.detector,
            },
        )


def checked_camera(camera: str | None) -> str | None:
    """A camera's name, trimmed.

    Raises:
        EntryError: it cannot be one.
    """
    try:
        return None if camera is None else check_text(camera, "camera", CAMERA_CHARS)
    except ValueError as error:
        raise EntryError(str(error)) from None


def _mark(path: Path, way: str) -> str:
    """8 hex digits of the size and both ends of a file: a video of hours is not read twice for its name."""
    digest = hashlib.sha256(way.encode())
    with path.open("rb") as handle:
        size = handle.seek(0, 2)
        digest.update(f" {size} ".encode())
        handle.seek(0)
        digest.update(handle.read(_EDGE))
        handle.seek(max(0, size - _EDGE))
        digest.update(handle.read(_EDGE))
    return digest.hexdigest()[:8]
