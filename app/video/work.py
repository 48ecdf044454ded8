"""The kind `video`: one video, a piece of time after the other, each with its state on disk.

A worker that is killed goes on with the piece that it was at. The crops of a piece are in the gallery before its state
is kept; a piece that is looked at again finds the same tracks with the same crops, which are told by their bytes.
"""

import math
import time

from sqlalchemy.orm import Session

from app.errors import VideoDamagedError
from app.jobs.duty import Duty
from app.jobs.kinds import Hands
from app.video.kept import Kept
from app.video.plan import Plan
from app.video.taking import Tally, VideoTaking

PIECES_A_STEP = 32
_LOOK_S = 0.5


class VideoJob:
    """One video job in the hands of one worker."""

    def __init__(self, hands: Hands) -> None:
        self._duty, self._core = Duty(hands), hands.core
        parameters = self._duty.parameters
        self._plan = Plan.of(parameters)
        folder = self._core.settings.video_dir / parameters.get("first", hands.job_id)
        self._kept = Kept(folder, self._core.settings.min_free_bytes)
        self._taking: VideoTaking | None = None
        self._looked = 0.0
        self._told = 0

    def prepare(self) -> None:
        """Open the video and set the job's total, in seconds of video.

        Raises:
            VideoError: it cannot be opened.
        """
        facts = self._opened().footage.facts
        self._duty.expect(max(1, math.ceil(facts.duration_s or 0.0)))

    def advance(self) -> bool:
        """Take the next pieces in; ends the job after the last.

        Raises:
            ServiceError: the job cannot go on.
        """
        taking = self._opened()
        try:
            for _ in range(PIECES_A_STEP):
                if self._duty.halted:
                    raise InterruptedError
                if not taking.run(self._going, self._done):
                    return self._finish(taking)
        except InterruptedError:
            self._close()
            return self._duty.stop()
        return True

    def _finish(self, taking: VideoTaking) -> bool:
        self._tell_losses(taking)
        total = self._duty.row().total or 1
        if taking.tally.frames == 0:
            raise VideoDamagedError("no frame of the video can be decoded")
        with self._duty.database.write() as session:
            self._note(session, taking.tally, float(total))
            self._duty.succeed(session, total)
        self._close()
        self._kept.remove()
        return False

    def _done(self, session: Session | None, tally: Tally, upto_s: float) -> None:
        if session is not None:
            self._duty.owned(session)  # before the rows of a worker that was thought dead count
            return
        with self._duty.database.write() as own:
            self._note(own, tally, upto_s)
        if self._taking is not None:
            self._tell_losses(self._taking)

    def _note(self, session: Session, tally: Tally, upto_s: float) -> None:
        job = self._duty.owned(session)
        done = math.floor(upto_s) if job.total is None else min(job.total, math.floor(upto_s))
        self._duty.reach(session, max(job.done, done))
        job.attempts = 1
        job.progress = {"phase": "looking", **tally.to_json(), "share": round(done / max(1, job.total or 1), 4)}
        if self._taking is not None:
            job.progress |= {"lost": self._taking.losses[:100]}

    def _tell_losses(self, taking: VideoTaking) -> None:
        losses = taking.losses
        for loss in losses[self._told : 100]:
            self._duty.say(
                f"{_clock(loss['from_s'])} to {_clock(loss['to_s'])} of the video cannot be decoded; the rest is taken",
                "warning",
            )
        self._told = len(losses)

    def _going(self) -> bool:
        if time.monotonic() - self._looked < _LOOK_S:
            return True
        self._looked = time.monotonic()
        return not self._duty.halted

    def _opened(self) -> VideoTaking:
        if self._taking is None:
            self._taking = VideoTaking(self._core, self._plan, self._kept, again=self._duty.row().attempts > 1)
            self._told = len(self._taking.losses)
        return self._taking

    def _close(self) -> None:
        if self._taking is not None:
            self._taking.close()
            self._taking = None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"
