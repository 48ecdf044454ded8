"""Local time of day: which zones there are, and how far each is from UTC at any instant."""

import re
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, model_validator
from pydantic_core import PydanticCustomError

from app.errors import TimezoneUnknownError

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
DAY_S = 86_400


def _minute(text: str) -> str:
    if _TIME.fullmatch(text) is None:
        raise PydanticCustomError("time", "write the time of day as HH:MM, from 00:00 to 23:59")
    return text


def _zone(name: str) -> str:
    if name not in _zones():
        raise TimezoneUnknownError(
            f"filters.time_of_day.timezone: there is no zone {name[:60]!r}; use a name of the IANA list, such as "
            "Europe/Berlin or UTC"
        )
    return name


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


Minute = Annotated[StrictStr, AfterValidator(_minute)]


class TimeOfDay(BaseModel):
    """A part of every day by the clocks of a zone: from <= time < to. It passes midnight where `from` is after `to`.

    Summer time counts as the clocks there did at the instant. Offsets are known for 1970 to 2099; before and after that
    the first and the last of them hold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)

    start: Minute = Field(alias="from", examples=["22:00"])
    end: Minute = Field(alias="to", examples=["06:00"])
    timezone: Annotated[StrictStr, AfterValidator(_zone)] = Field(examples=["Europe/Berlin"])

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.start == self.end:
            raise PydanticCustomError(
                "time", "`from` and `to` are the same time; for the whole day leave the filter out"
            )
        return self

    @property
    def seconds(self) -> tuple[int, int]:
        """`from` and `to` as seconds of the day."""
        return _seconds(self.start), _seconds(self.end)


def _seconds(text: str) -> int:
    return int(text[:2]) * 3600 + int(text[3:]) * 60


@lru_cache(maxsize=64)
def offset_periods(zone: str) -> tuple[tuple[datetime, int], ...]:
    """Since when a zone is how many seconds ahead of UTC, ascending; the first period begins with 1970.

    Args:
        zone: a name that `TimeOfDay` accepted.
    """
    tz = ZoneInfo(zone)
    found = [(_FIRST, _offset(tz, _FIRST))]
    day = _FIRST
    while day < _LAST:
        following = day + timedelta(days=1)
        if (offset := _offset(tz, following)) != found[-1][1]:
            found.append((_change(tz, day, following), offset))
        day = following
    return tuple(found)


def _offset(tz: ZoneInfo, instant: datetime) -> int:
    return int((instant.astimezone(tz).utcoffset() or timedelta()).total_seconds())


def _change(tz: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second of the new offset, in a day in which it changes once."""
    old = _offset(tz, before)
    while (step := (after - before) // 2) >= timedelta(seconds=1):
        middle = before + timedelta(seconds=int(step.total_seconds()))
        before, after = (middle, after) if _offset(tz, middle) == old else (before, middle)
    return after
