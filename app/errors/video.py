"""What is wrong with a video, or with the detector that is to look at it."""

from typing import ClassVar

from app.errors.base import ConfigurationError, InvalidError

__all__ = [
    "DetectorError",
    "NotAVideoError",
    "VideoDamagedError",
    "VideoEmptyError",
    "VideoError",
    "VideoNotInstalledError",
    "VideoStartError",
    "VideoTooLargeError",
]


class VideoError(InvalidError):
    """A file that gives no people because it gives no pictures."""

    code, title = "video_unreadable", "The video cannot be read"


class VideoEmptyError(VideoError):
    """The file holds no byte."""

    code, title = "video_empty", "The video is empty"


class NotAVideoError(VideoError):
    """The content is no video, whatever the name says, or in a container that Descry does not open."""

    code, title = "not_a_video", "Not a video"


class VideoDamagedError(VideoError):
    """A video of which nothing can be decoded."""

    code, title = "video_damaged", "The video is damaged"


class VideoTooLargeError(VideoError):
    """More bytes than `max_video_bytes`, or frames of more than `max_pixels`; refused before decoding."""

    status: ClassVar[int] = 413
    code, title = "video_too_large", "The video is too large"


class VideoStartError(InvalidError):
    """A start time that is none, or one for several videos."""

    code, title = "video_start_invalid", "The start time cannot be used"


class VideoNotInstalledError(ConfigurationError):
    """A library for video is not installed."""

    code, title = "video_not_installed", "Video support is not installed"


class DetectorError(ConfigurationError):
    """A detector's file or its description cannot be used."""

    code, title = "detector_unusable", "The person detector cannot be used"
