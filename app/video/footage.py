"""A video file as frames at regular times. Everything FFmpeg (PyAV) is in this file.

A video is untrusted: only containers that hold pictures themselves are opened. FFmpeg also knows formats that are lists
of other files and addresses (HLS, concat, DASH), and would read those.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from app.errors import (
    FileMissingError,
    FileUnreadableError,
    NotAVideoError,
    VideoDamagedError,
    VideoEmptyError,
    VideoNotInstalledError,
    VideoTooLargeError,
)
from app.gallery.sources import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB, upright."""
SUFFIXES = VIDEO_SUFFIXES | {".gif"}
"""What files that are taken for videos in a folder are called."""
_CONTAINERS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpeg", "mpegts", "asf", "gif")
_SLACK_S = 1.0
"""Seconds by which a video may be shorter than its header says before the rest counts as lost."""
_FIRST_YEAR = 1990
_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `at_s`: seconds since the video's first frame; `index`: its place on the grid of sampled times."""

    at_s: float
    index: int
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Loss:
    """A part of the video that could not be decoded, in seconds since its beginning."""

    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What the header says.

    Attributes:
        duration_s: seconds; None if it does not say.
        size: width and height as the frames are given out, in pixels.
        created_at: `creation_time` of the container; None if it has none, or an impossible one.
        seekable: whether frames later on can be reached without decoding all before.
    """

    duration_s: float | None
    size: tuple[int, int]
    created_at: datetime | None
    codec: str


@dataclass
class Footage:
    """An opened video file; `close` it.

    Attributes:
        losses: what could not be decoded, as far as `frames` has come.
    """

    path: Path
    max_pixels: int
    losses: list[Loss] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._container, self._stream = _opened(self.path)
        try:
            self.facts = self._read_facts()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def frames(self, fps: float, first: int = 0) -> Iterator[Frame]:
        """Frames at the times of a regular grid: of each time k / fps the first frame that is not before it.

        The same frames come out wherever one begins. One frame is in memory at a time.

        Args:
            fps: sampled frames per second of video.
            first: the grid index to begin with.

        Raises:
            VideoDamagedError: not a single frame can be decoded.
            VideoTooLargeError: a frame is larger than the header said.
        """
        wanted, last_s, broken = first, first / fps, False
        for at_s, decoded in self._from(first / fps, patience_s=1 / fps):
            if decoded is None:
                broken = True
                continue
            if at_s < last_s - _EPS and wanted > first:
                continue  # time that runs backwards
            if broken:
                self.losses.append(Loss(round(last_s, 3), round(at_s, 3)))
            last_s, broken = at_s, False
            if at_s * fps + _EPS < wanted:
                continue
            index = int(np.floor(at_s * fps + _EPS))
            wanted = index + 1
            yield Frame(at_s, index, self._upright(decoded))
        self._note_end(last_s, broken, nothing=wanted == first == 0)

    def _note_end(self, last_s: float, broken: bool, *, nothing: bool) -> None:
        if nothing:
            raise VideoDamagedError("no frame of the video can be decoded")
        missing = (self.facts.duration_s or 0.0) - last_s
        if missing > _SLACK_S + 1 / float(self._stream.average_rate or 25):
            self.losses.append(Loss(round(last_s, 3), round(last_s + missing, 3)))
        elif broken:
            self.losses.append(Loss(round(last_s, 3), round(max(last_s, self.facts.duration_s or last_s), 3)))

    def _from(self, start_s: float, patience_s: float) -> "Iterator[tuple[float, VideoFrame | None]]":
        """Decoded frames from `start_s` on, None for what cannot be decoded. Seeks if the container can."""
        if start_s > 0:
            with suppress(_ffmpeg_error()):
                offset = int(start_s / self._base) + (self._stream.start_time or 0)
                self._container.seek(offset, stream=self._stream, backward=True)
                coming = self._decoded()
                for at_s, decoded in coming:
                    if decoded is not None and at_s > start_s + patience_s + _EPS:
                        break  # the seek went too far; decode from the beginning
                    if decoded is not None and at_s >= start_s - _EPS:
                        yield at_s, decoded
                        yield from coming
                        return
        self._container.close()
        self._container, self._stream = _opened(self.path)
        for at_s, decoded in self._decoded():
            if decoded is None or at_s >= start_s - _EPS:
                yield at_s, decoded

    def _decoded(self) -> "Iterator[tuple[float, VideoFrame | None]]":
        step = 1 / float(self._stream.average_rate or 25)
        at_s = -step
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
                frames = packet.decode()
            except StopIteration:
                return
            except EOFError:
                return
            except _ffmpeg_error():
                if not _goes_on(packets):
                    yield at_s, None
                    return
                yield at_s, None
                continue
            for frame in frames:
                at_s = at_s + step if frame.pts is None else self._seconds(frame.pts)
                yield at_s, None if frame.is_corrupt else frame

    def _seconds(self, pts: int) -> float:
        return float((pts - (self._stream.start_time or 0)) * self._base)

    @property
    def _base(self) -> Fraction:
        return self._stream.time_base or Fraction(1, 90_000)

    def _upright(self, frame: "VideoFrame") -> Pixels:
        if frame.width * frame.height > self.max_pixels:
            raise _too_many(frame.width, frame.height, self.max_pixels)
        pixels = (
            frame.reformat(width=self._wide(frame.width), height=frame.height, format="rgb24")
            .to_ndarray()
            .astype(np.uint8, copy=False)
        )
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels

    def _wide(self, width: int) -> int:
        """The width with square pixels."""
        ratio = self._stream.codec_context.sample_aspect_ratio
        return width if not ratio or not 0.2 < ratio < 5 else round(width * ratio)

    def _read_facts(self) -> Facts:
        stream, container = self._stream, self._container
        if stream.duration is not None:
            duration: float | None = float(stream.duration * self._base)
        else:
            duration = container.duration / 1_000_000 if container.duration else None
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > self.max_pixels:
            raise _too_many(width, height, self.max_pixels)
        if not width or not height:
            raise VideoDamagedError("the video's header names no frame size")
        made = stream.metadata.get("creation_time") or container.metadata.get("creation_time")
        return Facts(duration, (self._wide(width), height), _instant(made), stream.codec_context.name)


def _opened(path: Path) -> "tuple[InputContainer, VideoStream]":
    try:
        import av
    except ImportError as error:
        raise VideoNotInstalledError("video needs PyAV and OpenCV: install the extra `video`") from error
    _check_file(path)
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(_CONTAINERS)}
    try:
        container = av.open(str(path), mode="r", container_options=options, metadata_errors="replace")
    except av.error.InvalidDataError as error:
        if _looks_like_mp4(path):
            raise VideoDamagedError(
                "the video's index is missing: the recording was cut off before it was finished, or not copied whole"
            ) from error
        raise NotAVideoError("the content is no video in a container that is read (MP4, MOV, MKV, AVI, ...)") from error
    except (av.error.FFmpegError, ValueError) as error:
        raise NotAVideoError(f"the content cannot be opened as a video: {error}") from error
    if not set(container.format.name.split(",")) & set(_CONTAINERS) or not container.streams.video:
        container.close()
        raise NotAVideoError("the file holds no video stream in a container that is read")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        container.close()
        raise VideoDamagedError("no decoder is known for the video: the header is damaged, or the codec rare")
    stream.thread_type = "AUTO"
    return container, stream


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise FileMissingError(f"{path.name} does not exist (any more)") from None
    except OSError as error:
        raise FileUnreadableError(f"{path.name} cannot be read: {error.strerror}") from error
    if not size:
        raise VideoEmptyError("the file is empty (0 bytes)")


def _looks_like_mp4(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(12)[4:8] in (b"ftyp", b"moov", b"mdat", b"wide")


def _too_many(width: int, height: int, most: int) -> VideoTooLargeError:
    return VideoTooLargeError(f"frames have {width} x {height} pixels; at most {most:,} are accepted")


def _instant(value: str | None) -> datetime | None:
    """`creation_time`, unless it is the zero of some recorder's clock."""
    try:
        found = datetime.fromisoformat(value) if value else None
        if found is None or found.year < _FIRST_YEAR:
            return None
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _ffmpeg_error() -> type[Exception]:
    import av

    error: type[Exception] = av.error.FFmpegError
    return error


def _goes_on(packets: object) -> bool:
    """Whether a generator is still alive: one that raised is not."""
    return getattr(packets, "gi_frame", None) is not None or not hasattr(packets, "gi_frame")
