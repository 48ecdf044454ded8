"""One training process: started, followed, and what it means when it ends."""

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from app.errors import (
    TrainingDiskError,
    TrainingFailedError,
    TrainingKilledError,
    TrainingMemoryError,
    TrainingNotFiniteError,
)
from app.jobs.children import Child
from app.jobs.curve import Curve
from app.jobs.duty import Duty
from app.settings import Settings

LOOK_S, PATIENCE_S = 0.25, 10.0
_NOTE_S, _QUALITY_S, _WORDS_S = 1.0, 10.0, 60.0
"""Least seconds between two notes of progress, two evaluations and two steps in the job's log."""
_MOST_KILLS = 3
_TYPED = re.compile(r"error: (?P<message>.+) \[(?P<code>[a-z_]+)\]")
_NO_MEMORY = re.compile(r"bad_alloc|can(?:'|no)t allocate memory|out of memory", re.IGNORECASE)
_SHOWN_LINES = 10
_ROOM = 2**20
_CODES: dict[str, type[TrainingFailedError]] = {
    "loss_not_finite": TrainingNotFiniteError,
    "out_of_memory": TrainingMemoryError,
    "disk_full": TrainingDiskError,
}
_STATUS: dict[int, type[TrainingFailedError]] = {12: TrainingMemoryError, 28: TrainingDiskError}
"""Exit statuses with which the training package says why, where no words could be written (ENOMEM, ENOSPC)."""
End = Literal["done", "halted", "again"]


def started(command: Sequence[str], folder: Path, settings: Settings) -> Child:
    """A process of the training package, with its limits."""
    return Child(
        command,
        folder,
        nice=settings.training_niceness,
        memory=settings.training_memory_bytes,
        environment=thread_limit(settings),
    )


def thread_limit(settings: Settings) -> dict[str, str]:
    """Variables that bound the threads of a process of the training package."""
    return {"OMP_NUM_THREADS": str(settings.training_threads or max(1, (os.cpu_count() or 1) // 2))}


def await_start(child: Child, duty: Duty) -> None:
    """Wait until an earlier process of the same folder is gone."""
    patience = time.monotonic() + PATIENCE_S
    while not child.started and child.running and not duty.halted:
        time.sleep(LOOK_S)
        if time.monotonic() > patience:
            patience = float("inf")
            duty.say("waits for the training of another worker in the same folder to end", "warning")


def failure(child: Child, folder: Path, duty: Duty) -> TrainingFailedError:
    """Why a process ended, in its own words where it had any; the last lines go into the job's log."""
    lines = child.complaints()
    for line in lines[-_SHOWN_LINES:]:
        duty.say(line[:1000], "error")
    if found := next((match for line in reversed(lines) if (match := _TYPED.fullmatch(line))), None):
        kind = _CODES.get(found["code"])
        return kind(found["message"]) if kind else TrainingFailedError(f"{found['code']}: {found['message']}")
    code = child.code or 0
    if kind := _STATUS.get(code):
        return kind(f"it ended with exit status {code} ({os.strerror(code)})")
    if shutil.disk_usage(folder).free < _ROOM:
        return TrainingDiskError(f"nothing is free on the disk of {folder}: make room and retry the job")
    if any(_NO_MEMORY.search(line) for line in lines):
        return TrainingMemoryError("it ended for want of memory: lower `batch`, or allow it more")
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
    return TrainingFailedError(f"the training process {how}; {folder / 'stderr.log'} has what it said")


def training_command(parameters: dict[str, Any], folder: Path, *, base: Path | None = None) -> Sequence[str]:
    """The command line of a run; in several processes, torchrun starts them."""
    command = [sys.executable, "-m"]
    if (processes := int(parameters.get("processes", 1))) > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    command += ["training", "train", "--out", str(folder)]
    for override in parameters.get("set", []):
        command += ["--set", str(override)]
    for option in ("data", "device"):
        if parameters.get(option) is not None:
            command += [f"--{option}", str(parameters[option])]
    if base is not None:
        command += ["--from", str(base)]
    return [*command, "--", str(parameters["recipe"])]


class TrainingProcess:
    """A run of `python -m training train`; its events become the job's progress and log."""

    def __init__(self, command: Sequence[str], folder: Path, duty: Duty, settings: Settings) -> None:
        self.command, self._folder, self._duty, self._settings = command, folder, duty, settings
        self.step, self.steps = 0, 0
        self._noted = self._spoke = self._judged = 0.0
        self._quality = ""
        self._last: dict[str, Any] = {}
        self._curve = Curve()
        self._kills, self._killed_at = 0, -1

    def run(self) -> End:
        """Train to the end, until the job is halted, or until the process is killed: it then goes on at the next call.

        Raises:
            TrainingFailedError: it ended with an error, which is named, or is killed each time.
        """
        with started(self.command, self._folder, self._settings) as child:
            await_start(child, self._duty)
            while child.running:
                self._follow(child)
                if self._duty.halted:
                    child.end()
                    return "halted"
                time.sleep(LOOK_S)
            self._follow(child)
            if child.code == 0:
                return "done"
            error = failure(child, self._folder, self._duty)
            if child.code != -signal.SIGKILL or type(error) is not TrainingFailedError:
                raise error
        self._count_kill()
        return "again"

    def _count_kill(self) -> None:
        self._kills = self._kills + 1 if self.step <= self._killed_at else 1
        self._killed_at = self.step
        why = "killed by signal 9 (kill -9, or the machine's memory has ended)"
        if self._kills >= _MOST_KILLS:
            raise TrainingKilledError(f"the training process was {why} {self._kills} times at step {self.step:,}")
        self._duty.say(f"the training process was {why}; it goes on from its last saved state", "warning")

    def _follow(self, child: Child) -> None:
        running, fresh = child.running, False
        for event in child.events():
            if event.get("event") in ("start", "resume"):
                self._begin(event)
            elif event.get("event") == "step":
                self._last, fresh = event, True
                self.step = int(event["step"])
                self._curve.lose(self.step, _numbers(event.get("losses")))
            elif event.get("event") == "evaluation":
                fresh, metrics = True, _numbers(event.get("metrics"))
                self._curve.measure(self.step, metrics)
                words = ", ".join(f"{name} {value:.2f}" for name, value in metrics.items())
                self._quality = f"epoch {event.get('epoch', 0) + 1} on {event.get('split')}: {words}"
        self._tell_quality(at_once=not running)
        if self._last and (fresh or not running):
            self._tell(self._last, at_once=not running)

    def _tell_quality(self, *, at_once: bool) -> None:
        """The newest evaluation; a run of many short epochs must not fill the log."""
        if self._quality and (at_once or time.monotonic() - self._judged >= _QUALITY_S):
            self._duty.say(self._quality)
            self._quality, self._judged = "", time.monotonic()

    def _begin(self, event: dict[str, Any]) -> None:
        self.step, self.steps = int(event["step"]), int(event["steps"])
        if event["event"] == "resume":
            self._curve = Curve((self._duty.row().progress or {}).get("curve"))
            self._curve.resume(self.step)
        else:
            self._curve = Curve()
        self._duty.expect(self.steps)
        how = f"resumes at step {self.step:,}" if event["event"] == "resume" else "starts"
        self._duty.say(f"{event.get('recipe')} {how} of {self.steps:,} on {event.get('device')}, {self._folder.name}")

    def _tell(self, event: dict[str, Any], *, at_once: bool) -> None:
        now = time.monotonic()
        losses, left = event.get("losses", {}), float(event.get("seconds_left", 0.0))
        if at_once or now - self._noted >= _NOTE_S:
            self._noted = now
            told = {name: event.get(name) for name in ("epoch", "lr", "images_per_second", "peak_memory")}
            with self._duty.database.write() as session:  # the last step counts when the run has ended well
                self._duty.reach(session, min(self.step, max(self.steps - 1, 0)))
                known = {"phase": "training", "step": self.step, "losses": losses, "seconds_left": left, **told}
                self._duty.owned(session).progress = {**known, "curve": self._curve.told()}
        if now - self._spoke >= _WORDS_S:
            self._spoke = now
            words = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
            self._duty.say(f"step {self.step:,}: {words}; {left / 60:.0f} min left")


def _numbers(values: Any) -> dict[str, float]:  # noqa: ANN401  JSON
    return {name: value for name, value in (values or {}).items() if isinstance(value, float)}
