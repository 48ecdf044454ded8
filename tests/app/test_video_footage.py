"""Frames out of real files: at the right times, upright, wherever one begins; and what is wrong with files, by name."""

from pathlib import Path

import numpy as np
import pytest

from app.errors import (
    FileMissingError,
    NotAVideoError,
    VideoDamagedError,
    VideoEmptyError,
    VideoError,
    VideoTooLargeError,
)
from app.video.footage import Footage
from tests.app.videos import Block, frame, write

MOST = 1_000_000


def times(path: Path, fps: float, first: int = 0) -> list[tuple[int, float]]:
    with Footage(path, MOST) as footage:
        return [(one.index, round(one.at_s, 3)) for one in footage.frames(fps, first)]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "mpeg4"), ("a.ts", "libx264")]
)
def test_frames_come_at_the_times_of_the_grid_from_wherever_one_begins(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, seconds=4.0, codec=codec)
    whole = times(path, 5.0)
    assert [index for index, _ in whole] == list(range(20))
    assert [at for _, at in whole] == pytest.approx([index / 5 for index in range(20)], abs=0.011)
    for first in (1, 7, 13, 19):
        assert times(path, 5.0, first) == whole[first:]


def test_a_frame_of_a_later_start_has_the_same_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [Block("red")])
    with Footage(path, MOST) as one, Footage(path, MOST) as other:
        late = list(one.frames(10.0))[23]
        assert np.array_equal(next(iter(other.frames(10.0, 23))).pixels, late.pixels)
    assert np.abs(late.pixels.astype(int) - frame([Block("red")], 2.3).astype(int)).mean() < 6


def test_more_times_than_frames_give_each_frame_once(tmp_path: Path) -> None:
    assert len(times(write(tmp_path / "a.mp4", seconds=2.0), 60.0)) == 20


def test_the_header_says_length_size_and_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", metadata={"creation_time": "2026-11-21T10:00:00Z"})
    with Footage(path, MOST) as footage:
        assert footage.facts.duration_s == pytest.approx(4.0, abs=0.11)
        assert footage.facts.size == (160, 120)
        assert footage.facts.created_at is not None
        assert footage.facts.created_at.isoformat() == "2026-11-21T10:00:00+00:00"


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "1904-01-01T00:00:00Z", "x"]
)
def test_an_impossible_time_is_none(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.mkv", codec="mpeg4", seconds=0.5, metadata={"creation_time": text})
    with Footage(path, MOST) as footage:
        assert footage.facts.created_at is None


def turned(path: Path, target: Path) -> Path:
    """The same file with a display matrix that turns it by 90 degrees, as a phone that was held upright writes it."""
    data = path.read_bytes()
    straight = b"".join(value.to_bytes(4, "big") for value in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
    quarter = b"".join(
        (value & 0xFFFFFFFF).to_bytes(4, "big") for value in (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    )
    head, tail = data.split(b"tkhd", 1)
    assert straight in tail
    target.write_bytes(head + b"tkhd" + tail.replace(straight, quarter, 1))
    return target


def test_a_turned_video_is_given_out_upright(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.mp4", seconds=0.5)
    with Footage(plain, MOST) as one, Footage(turned(plain, tmp_path / "turned.mp4"), MOST) as other:
        straight, upright = next(one.frames(5.0)).pixels, next(other.frames(5.0)).pixels
    assert upright.shape == (160, 120, 3)
    # Turned clockwise for display: what was at the top is at the right.
    assert np.array_equal(upright, np.rot90(straight, -1))


def test_files_that_are_no_videos_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video at all, whatever the name says\n" * 50)
    whole = write(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: whole.index(b"moov") - 4])
    for name, error in (
        ("empty.mp4", VideoEmptyError),
        ("text.mp4", NotAVideoError),
        ("cut.mp4", VideoDamagedError),
        ("absent.mp4", FileMissingError),
    ):
        with pytest.raises(error):
            Footage(tmp_path / name, MOST)


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.avi"])
def test_a_list_of_other_files_is_not_followed(tmp_path: Path, name: str) -> None:
    write(tmp_path / "secret.ts", codec="mpeg4")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{tmp_path / 'secret.ts'}\n#EXT-X-ENDLIST\n"
    (tmp_path / name).write_text(playlist)
    with pytest.raises(NotAVideoError):
        Footage(tmp_path / name, MOST)
    (tmp_path / "concat.mp4").write_text(f"ffconcat version 1.0\nfile '{tmp_path / 'secret.ts'}'\n")
    with pytest.raises(NotAVideoError):
        Footage(tmp_path / "concat.mp4", MOST)


def test_frames_above_the_limit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoTooLargeError):
        Footage(write(tmp_path / "a.mp4"), 160 * 119)


def test_a_truncated_video_gives_its_beginning_and_says_what_is_lost(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", [Block("red")], seconds=12.0, options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    with Footage(cut, MOST) as footage:
        seen = [one.at_s for one in footage.frames(5.0)]
        assert 2.0 < seen[-1] < 11.0
        (*_, tail) = footage.losses
        assert tail.from_s == pytest.approx(seen[-1], abs=0.31)
        assert tail.to_s == pytest.approx(12.0, abs=0.2)


@pytest.mark.parametrize("name", ["a.ts", "a.avi", "a.mkv"])
def test_a_damaged_middle_is_told_and_what_can_be_read_is_taken(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [Block("red", end=12.0)], seconds=12.0, codec="mpeg4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle - 1500 : middle + 1500] = bytes(3000)
    path.write_bytes(data)
    with Footage(path, MOST) as footage:
        seen = [one.at_s for one in footage.frames(5.0)]
        lost = footage.losses
    assert seen[0] == 0.0
    assert seen[-1] > 5.0
    assert lost
    assert seen[-1] > 11.0 or lost[-1].to_s == pytest.approx(12.0, abs=0.2)


@pytest.mark.parametrize("seed", range(12))
def test_noise_in_a_file_ends_in_frames_or_in_a_named_error(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = write(tmp_path / "a.mp4", [Block("red")], seconds=1.0)
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    places = rng.integers(0, len(data), 1 + 40 * (seed % 4))
    data[places] = rng.integers(0, 256, len(places))
    path.write_bytes(data.tobytes())
    try:
        with Footage(path, MOST) as footage:
            assert all(one.pixels.dtype == np.uint8 for one in footage.frames(5.0))
    except VideoError as error:
        assert error.message  # noqa: PT017  either way is right
