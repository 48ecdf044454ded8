"""The kind `retraining`: `python -m training train` as a process of its own, whose events become the job's progress.

The run lies in `retraining/<job>` of the data folder and resumes by itself from its last saved state when the same
command is given again: after a kill of the worker, and in a retry, which goes on in the folder of the first try.

Parameters: `recipe` (name or file), and optionally `set` (overrides), `data` (folder of the data set), `device`.
"""

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.errors import TrainingFailedError
from app.jobs.children import Child
from app.jobs.duty import Duty
from app.jobs.kinds import Hands

_LOOK_S, _PATIENCE_S = 0.25, 10.0
_NOTE_S, _QUALITY_S, _WORDS_S = 1.0, 10.0, 60.0
"""Least seconds between two notes of progress, two evaluations and two steps in the job's log."""
_TYPED = re.compile(r"error: (?P<message>.+) \[(?P<code>[a-z_]+)\]")
_SHOWN_LINES = 10


class RetrainingJob:
    """One retraining job in the hands of one worker."""

    def __init__(self, hands: Hands) -> None:
        self._duty = Duty(hands)
        parameters = self._duty.parameters
        self._folder = (hands.core.settings.retraining_dir / parameters.get("first", hands.job_id)).resolve()
        self.command = training_command(parameters, self._folder)
        self._step, self._steps = 0, 0
        self._noted = self._spoke = self._judged = 0.0
        self._quality = ""

    def prepare(self) -> None:
        """Nothing: how many steps there are is told by the run."""

    def advance(self) -> bool:
        """Run the training to its end, or until the job is cancelled or the worker stops.

        Raises:
            TrainingFailedError: it ended with an error, which is named.
        """
        if self._duty.halted:
            return self._duty.stop()
        with Child(self.command, self._folder) as child:
            self._await_start(child)
            while child.running:
                self._follow(child)
                if self._duty.halted:
                    child.end()
                    return self._duty.stop()
                time.sleep(_LOOK_S)
            self._follow(child)
            if child.code != 0:
                raise self._failure(child)
        with self._duty.database.write() as session:
            self._duty.succeed(session, max(self._steps, self._step))
        return False

    def _await_start(self, child: Child) -> None:
        patience = time.monotonic() + _PATIENCE_S
        while not child.started and child.running and not self._duty.halted:
            time.sleep(_LOOK_S)
            if time.monotonic() > patience:
                patience = float("inf")
                self._duty.say("waits for the training of another worker in the same folder to end", "warning")

    def _follow(self, child: Child) -> None:
        last: dict[str, Any] = {}
        for event in child.events():
            if event.get("event") in ("start", "resume"):
                self._begin(event)
            elif event.get("event") == "step":
                last = event
            elif event.get("event") == "evaluation":
                metrics = {name: value for name, value in event.get("metrics", {}).items() if isinstance(value, float)}
                words = ", ".join(f"{name} {value:.2f}" for name, value in metrics.items())
                self._quality = f"epoch {event.get('epoch', 0) + 1} on {event.get('split')}: {words}"
        self._tell_quality(at_once=not child.running)
        if last:
            self._step = int(last["step"])
            self._tell(last)

    def _tell_quality(self, *, at_once: bool) -> None:
        """The newest evaluation; a run of many short epochs must not fill the log."""
        if self._quality and (at_once or time.monotonic() - self._judged >= _QUALITY_S):
            self._duty.say(self._quality)
            self._quality, self._judged = "", time.monotonic()

    def _begin(self, event: dict[str, Any]) -> None:
        self._step, self._steps = int(event["step"]), int(event["steps"])
        self._duty.expect(self._steps)
        how = f"resumes at step {self._step:,}" if event["event"] == "resume" else "starts"
        self._duty.say(f"{event.get('recipe')} {how} of {self._steps:,} on {event.get('device')}, {self._folder.name}")

    def _tell(self, event: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._noted >= _NOTE_S:
            self._noted = now
            with self._duty.database.write() as session:  # the last step counts when the run has ended well
                self._duty.reach(session, min(self._step, max(self._steps - 1, 0)))
        if now - self._spoke >= _WORDS_S:
            self._spoke = now
            losses = ", ".join(f"{name} {value:.3f}" for name, value in event.get("losses", {}).items())
            left = event.get("seconds", 0.0) / max(self._step, 1) * (self._steps - self._step)
            self._duty.say(f"step {self._step:,}: {losses}; {left / 60:.0f} min left")

    def _failure(self, child: Child) -> TrainingFailedError:
        lines = child.complaints()
        for line in lines[-_SHOWN_LINES:]:
            self._duty.say(line[:1000], "error")
        if found := next((match for line in reversed(lines) if (match := _TYPED.fullmatch(line))), None):
            return TrainingFailedError(f"{found['code']}: {found['message']}")
        code = child.code or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        return TrainingFailedError(f"the training process {how}; {self._folder / 'stderr.log'} has what it said")


def training_command(parameters: dict[str, Any], folder: Path) -> Sequence[str]:
    """The command line of a run."""
    command = [sys.executable, "-m", "training", "train", "--out", str(folder)]
    for override in parameters.get("set", []):
        command += ["--set", str(override)]
    for option in ("data", "device"):
        if parameters.get(option) is not None:
            command += [f"--{option}", str(parameters[option])]
    return [*command, "--", str(parameters["recipe"])]
