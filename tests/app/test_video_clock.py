"""When a video began, by whoever knows it best."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ConfigurationError, VideoStartError
from app.video.clock import read_start, start_of, zone_of

TEN = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    ["20261121_100000.mp4", "front-2026-11-21T10-00-00Z.mkv", "2026-11-21 10.00.00.mov", "cam1_20261121100000_x.avi",
     "VID_20261121_100000.mp4", "ch01-2026_11_21-10_00_00.ts"],
)  # fmt: skip
def test_names_of_recorders_tell_the_time(name: str) -> None:
    found = start_of(Path(name), None, None)
    assert (found.at, found.known_by) == (TEN, "name")


@pytest.mark.parametrize("name", ["holiday.mp4", "20261332_100000.mp4", "123456789012345678.mp4", "2026-11-21.mp4"])
def test_other_names_tell_nothing(name: str) -> None:
    assert start_of(Path(name), None, None).at is None
    assert start_of(Path(name), None, None).known_by == "unknown"


def test_who_says_it_wins_over_the_container_and_that_over_the_name() -> None:
    name, hour = Path("20261121_100000.mp4"), timedelta(hours=1)
    assert start_of(name, TEN - hour, TEN + hour).at == TEN - hour
    assert start_of(name, None, TEN + hour).known_by == "container"


def test_times_in_names_are_in_the_zone_of_the_recorder() -> None:
    assert start_of(Path("20261121_110000.mp4"), None, None, ZoneInfo("Europe/Paris")).at == TEN
    assert start_of(Path("20261121_100000Z.mp4"), None, None, ZoneInfo("Europe/Paris")).at == TEN


@given(st.datetimes(datetime(1990, 1, 1), datetime(2099, 12, 31)))
def test_every_second_can_be_read_from_a_name(at: datetime) -> None:
    whole = at.replace(microsecond=0, tzinfo=UTC)
    assert start_of(Path(f"cam_{whole:%Y%m%d_%H%M%S}.mp4"), None, None).at == whole


def test_a_start_is_an_instant() -> None:
    assert read_start("2026-11-21T10:00:00") == read_start("2026-11-21T12:00:00+02:00") == TEN
    with pytest.raises(VideoStartError):
        read_start("ten o'clock")
    with pytest.raises(ConfigurationError):
        zone_of("Mars/Olympus")
