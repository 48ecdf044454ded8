"""Errors that every room shares: typed, with a stable code, saying what was wrong and what to do.

    DescryError
    +-- CheckpointError        a checkpoint folder cannot be read, or does not fit
    +-- BackboneError          weights or a backbone cannot be had
    +-- DeviceError            the device that was asked for is none, or not of this machine

`app` and `training` derive their own errors from `DescryError`.
"""

from typing import ClassVar


class DescryError(Exception):
    """The root of all errors that Descry raises on purpose.

    `code` is stable (programs may match on it), `str(error)` says what was wrong with what and what to do about it.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CheckpointError(DescryError):
    """A checkpoint folder is missing, damaged, of an unknown method, or does not fit its own spec."""

    code = "checkpoint_invalid"


class BackboneError(DescryError):
    """A backbone cannot be built, or its pretrained weights cannot be had."""

    code = "backbone_unavailable"


class DeviceError(DescryError):
    """The device that was asked for is none, or not of this machine."""

    code = "device_unusable"
