"""A video into the gallery: its walk, and the ingest of the crops of each piece, as jobs and verbs both do it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from app.core import Core
from app.errors import DetectorError, ModelChangedError, VideoNotInstalledError
from app.gallery.repository import ImageRepository
from app.gallery.sources import Entry, Source
from app.settings import Settings
from app.video.footage import Footage
from app.video.kept import Kept
from app.video.plan import Plan, Provenance

if TYPE_CHECKING:
    from app.gallery.ingest import Ingest, Outcome
    from app.video.appearance import Appearance
    from app.video.detection import PersonDetector
    from app.video.walk import Harvest, Piece

Going = Callable[[], bool]
"""Whether the work may go on; asked at each frame."""
Done = Callable[[Session | None, "Tally", float], None]
"""Told after each commit, with the session while it is open, and with how many seconds of video are done."""


@dataclass
class Tally:
    """What became of the video so far."""

    frames: int = 0
    tracks: int = 0
    ingested: int = 0
    duplicate: int = 0
    rejected: int = 0

    def to_json(self) -> dict[str, Any]:
        """For a job's progress and a verb's result."""
        return asdict(self)


class VideoTaking:
    """Takes one video into the gallery, piece by piece. Close it.

    Args:
        again: whether a run before this one may have been ended between the ingest of a piece and its state.

    Raises:
        VideoError: the video cannot be opened.
        VideoNotInstalledError, DetectorError: what is needed for it is not there.
    """

    def __init__(self, core: Core, plan: Plan, kept: Kept, *, again: bool = False) -> None:
        from app.video.walk import Options, Walk

        settings = core.settings
        self._core, self._plan, self._kept = core, plan, kept
        self.footage = Footage(plan.path, settings.max_pixels)
        try:
            fps = plan.fps or settings.video_fps
            detector = make_detector(settings)
            options = Options(fps=fps, piece_s=settings.video_piece_s, crops=settings.video_crops)
            way = f"{fps} {options.crops} {settings.video_appearance}"
            self.provenance = Provenance.of(plan, self.footage.facts, settings, way, detector.name)
            self._walk = Walk(self.footage, detector, self._appearance(), options)
            self.tally, self._again = Tally(), again
            self._restore()
        except BaseException:
            self.footage.close()
            raise
        self._ingest: Ingest | None = None

    def close(self) -> None:
        """Close the file."""
        self.footage.close()

    @property
    def losses(self) -> list[dict[str, float]]:
        """Parts of the video that could not be decoded, in seconds."""
        return [asdict(loss) for loss in self._walk.losses]

    def run(self, going: Going, done: Done) -> bool:
        """Take the next piece of time in; False when it was the last.

        Stops within a frame when it may not go on: what the piece had found is forgotten then, and found again.

        Raises:
            VideoError: nothing can be decoded.
            StorageError: crops or state cannot be written.
            InterruptedError: it may not go on.
        """
        piece = self._piece(going)
        if piece.harvests:
            try:
                self._take(piece.harvests, piece, going, done)
            finally:
                self._kept.drop_crops()
        self.tally.frames, self.tally.tracks = self._walk.counts.frames, self._walk.counts.tracks
        if not piece.ended:
            self._kept.save(self._state())
        done(None, self.tally, piece.upto_s)
        return not piece.ended

    def _piece(self, going: Going) -> "Piece":
        from app.video.walk import Piece

        for item in self._walk.steps():
            if isinstance(item, Piece):
                return item
            if not going():
                raise InterruptedError
        raise AssertionError("a walk ends with a piece")

    def _take(self, harvests: "list[Harvest]", piece: "Piece", going: Going, done: Done) -> None:
        entries = self._entries(harvests, self._kept.crops)
        outcomes: list[Outcome] | None = None
        while outcomes is None:
            if self._ingest is None:
                self._ingest = self._core.ingest(self._plan.collection)
            try:
                outcomes = list(
                    self._ingest.run(
                        Source(list(entries), 0), lambda session, _: done(session, self.tally, piece.upto_s)
                    )
                )
            except ModelChangedError:
                self._ingest, self._again = None, True
                if not going():
                    raise InterruptedError from None
        own = self._own(entries, outcomes) if self._again else 0
        self._again = False
        for outcome in outcomes:
            setattr(self.tally, outcome.status, getattr(self.tally, outcome.status) + 1)
        self.tally.ingested += own
        self.tally.duplicate -= own

    def _own(self, entries: list[Entry], outcomes: "list[Outcome]") -> int:
        """How many duplicates are what this very piece had brought in before it was interrupted."""
        with self._core.database.read() as session:
            images = ImageRepository(session)
            found = [
                (images.get(outcome.image_id), entry)
                for entry, outcome in zip(entries, outcomes, strict=True)
                if outcome.status == "duplicate" and outcome.image_id is not None
            ]
            return sum(
                image is not None and (image.camera, image.track) == (entry.camera, entry.track)
                for image, entry in found
            )

    def _entries(self, harvests: "list[Harvest]", folder: Path) -> list[Entry]:
        entries = []
        for harvest in harvests:
            for place, shot in enumerate(harvest.shots):
                path = folder / f"{harvest.number}-{shot.at_s:.3f}.jpg"
                path.write_bytes(shot.jpeg)
                entries.append(self.provenance.entry(harvest, place, path))
        return entries

    def _appearance(self) -> "Appearance | None":
        from app.video.appearance import colours, encoded

        kind = self._core.settings.video_appearance
        if kind == "encoder":
            with self._core.database.read() as session:
                from app.vectors.repository import LogRepository

                version = LogRepository(session).head().active_version_id
            if version is not None:
                return encoded(self._core.active.load_encoder(version)[2])
        return colours if kind == "colours" else None

    def _state(self) -> dict[str, Any]:
        return {"mark": self.provenance.mark, "tally": self.tally.to_json(), "walk": self._walk.state()}

    def _restore(self) -> None:
        found = self._kept.load()
        if found is None or found.get("mark") != self.provenance.mark:
            return
        try:
            self._walk.restore(found["walk"])
            self.tally = Tally(**found["tally"])
        except (KeyError, TypeError, ValueError):
            return  # of another version of Descry: begin again, what is in the gallery is told by its bytes
        self._again = True


def make_detector(settings: Settings) -> "PersonDetector":
    """The detector of the settings.

    Raises:
        VideoNotInstalledError: OpenCV, or what an ONNX detector needs, is not installed.
        DetectorError: its file cannot be used.
    """
    try:
        from app.video.people import MotionDetector
    except ImportError as error:
        raise VideoNotInstalledError("video needs PyAV and OpenCV: install the extra `video`") from error
    match settings.video_detector:
        case "motion+hog":
            return MotionDetector()
        case "motion":
            return MotionDetector(hog=False)
        case path if path.endswith(".onnx"):
            from app.video.onnx import OnnxDetector

            return OnnxDetector(Path(path), device=settings.device)
        case other:
            raise DetectorError(f"DESCRY_VIDEO_DETECTOR: no detector {other!r}; motion+hog, motion, or an .onnx file")
