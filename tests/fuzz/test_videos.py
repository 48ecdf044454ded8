"""Videos: frames, or an error by name. FFmpeg reads them in the test itself, whose process a crash would end."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np

from app.errors import VideoError
from app.video.clock import start_of
from app.video.footage import Footage
from tests.fuzz.harness import INPUTS, Record, fuzz, mutated, often
from tests.fuzz.samples import videos

MOST_PIXELS, MOST_FRAMES = 100_000, 30
TIMES = [
    b"2026-11-21T10:00:00Z",
    b"9999-12-31T23:59:59-14",
    b"0001-01-01T00:00:00+14",
    b"9999-12-31T23:59-09:00",
    b"\xff" * 20,
]
sound = st.deferred(lambda: st.sampled_from(videos()))
given = often((1, sound), (12, mutated(sound)), (1, st.binary(max_size=300)))


def test_videos_give_frames_or_are_refused(tmp_path: Path, record_property: Record) -> None:
    path = tmp_path / "2026-11-21_100000.mp4"

    def read(data: bytes) -> str:
        path.write_bytes(data)
        try:
            with Footage(path, MOST_PIXELS) as footage:
                start_of(path, None, footage.facts.created_at)
                for first in (0, 3):
                    for number, frame in enumerate(footage.frames(5.0, first)):
                        assert frame.pixels.dtype == np.uint8
                        assert frame.pixels.size <= 3 * 5 * MOST_PIXELS
                        if number == MOST_FRAMES:
                            break
                return "whole" if not footage.losses else "with losses"
        except VideoError as error:
            error.message.encode()
            return type(error).__name__

    seen = fuzz(given, read, record_property, inputs=max(40, INPUTS))
    assert {"whole", "NotAVideoError"} <= set(seen)
