"""When a video began: by what somebody says, else by its container, else by its file name."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.errors import ConfigurationError, VideoStartError

Known = Literal["parameter", "container", "name", "unknown"]
_NAMED = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)[-_T. ]{0,3}([0-2]\d)[-_:.h]?([0-5]\d)[-_:.m]?([0-5]\d)"
    r"(?:[.,]\d{1,6})?(Z)?(?!\d)"
)
"""20261121_100000, 2026-11-21T10-00-00Z, 2026-11-21 10.00.00, ... anywhere in a name."""


@dataclass(frozen=True, slots=True)
class Start:
    """When the first frame was taken (None if nobody knows), and who says so."""

    at: datetime | None
    known_by: Known


def start_of(path: Path, told: datetime | None, created_at: datetime | None, zone: tzinfo = UTC) -> Start:
    """The start of a video.

    Args:
        path: whose name may hold a time.
        told: what somebody says; it wins.
        created_at: what the container says.
        zone: of times in file names that do not end in Z.
    """
    if told is not None:
        return Start(told, "parameter")
    if created_at is not None:
        return Start(created_at, "container")
    named = _named(path.stem, zone)
    return Start(named, "name") if named is not None else Start(None, "unknown")


def read_start(text: str) -> datetime:
    """An ISO 8601 instant; without a zone it is taken as UTC.

    Raises:
        VideoStartError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise VideoStartError(f"not an ISO 8601 time, such as 2026-11-21T10:00:00+01:00: {text!r:.80}") from None


def zone_of(name: str) -> tzinfo:
    """A time zone by its IANA name.

    Raises:
        ConfigurationError: there is none of this name.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(f"DESCRY_VIDEO_TIMEZONE: there is no time zone {name!r}") from None


def _named(stem: str, zone: tzinfo) -> datetime | None:
    for found in _NAMED.finditer(stem):
        *numbers, zulu = found.groups()
        try:
            year, month, day, hour, minute, second = (int(number) for number in numbers)
            at = datetime(year, month, day, hour, minute, second, tzinfo=UTC if zulu else zone)
            return at.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None
