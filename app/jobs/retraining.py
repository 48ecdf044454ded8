"""The kind `retraining`: a data set of the gallery, `python -m training train` as a process of its own, the gate, and
the candidate in the registry. Each phase finds by itself what of it is done already.

Everything lies in `retraining/<job>` of the data folder: `data/` (removed when the job ends), the run itself, which
resumes from its last saved state when the same command is given again, and `gate/` with the figures. A retry goes on in
the folder of the first try.

Parameters: `recipe` (name or file), and optionally `set` (overrides), `data` (folder of a data set), `device`,
`processes`. With `gallery` (see `app.retraining.service`) the data are the gallery's, and gate and registry follow;
without, the job ends with the training.
"""

import shutil
from pathlib import Path

from app.errors import ServiceError
from app.jobs.duty import Duty
from app.jobs.kinds import Hands
from app.jobs.training_process import TrainingProcess, training_command
from app.retraining.dataset import GalleryDataset, Summary
from app.retraining.outcome import Outcome
from app.retraining.places import BEST, DATA, GATE, LEFT, STATE_FILES

_FINGERPRINT = "data.sha256"


class RetrainingJob:
    """One retraining job in the hands of one worker."""

    def __init__(self, hands: Hands) -> None:
        self._duty, self._core = Duty(hands), hands.core
        parameters = self._duty.parameters
        self._folder = (hands.core.settings.retraining_dir / parameters.get("first", hands.job_id)).resolve()
        self._gallery = parameters.get("gallery")
        self._dataset = self._outcome = None
        base: Path | None = None
        if self._gallery is not None:
            data = self._folder / DATA
            own, also = self._gallery["collections"], self._gallery["also"]
            learnt = bool(self._gallery.get("feedback"))
            self._dataset = GalleryDataset(hands.core, data, own, also, feedback=learnt)
            parameters = {**parameters, "data": str(data)}
            self._outcome = Outcome(hands.core, self._duty, self._folder)
            base = self._outcome.checkpoint_of(self._gallery["base"])
        self.command = training_command(parameters, self._folder, base=base)
        self._process = TrainingProcess(self.command, self._folder, self._duty, hands.core.settings)

    def prepare(self) -> None:
        """Nothing: how many steps there are is told by the run."""

    def advance(self) -> bool:
        """Do the next phase, or as much of it as can be done before the job is cancelled or the worker stops.

        Raises:
            TrainingFailedError: a training process ended with an error, which is named.
            ServiceError: there is too little data, or the disk is full. The pictures are removed then.
        """
        if self._duty.halted:
            return self._stop()
        try:
            return self._advance()
        except ServiceError:
            if self._duty.mine:
                self._discard()
            raise

    def _advance(self) -> bool:
        summary = None
        if self._dataset is not None and (summary := self._data(self._dataset)) is None:
            return self._stop()
        if not (self._folder / "trained").is_file():
            end = self._process.run()
            if end == "halted":
                return self._stop()
            if end == "again":
                return True
            if self._outcome is not None:
                (self._folder / "trained").touch()
        steps = max(self._process.steps, self._process.step, self._duty.row().total or 0)
        if self._outcome is None or summary is None:
            with self._duty.database.write() as session:
                self._duty.succeed(session, steps)
            return False
        end = self._outcome.settle(summary, steps)
        if end == "halted":
            return self._stop()
        if end == "done":
            self._clear()
        return end == "again"

    def _data(self, dataset: GalleryDataset) -> Summary | None:
        """The data set, which is written unless it is there; a run on other data begins anew."""
        if (found := dataset.made()) is None:
            self._duty.tell(phase="data")
            found = dataset.make(
                lambda: not self._duty.halted, lambda done, total: self._duty.tell(phase="data", images=done, of=total)
            )
            if found is None:
                return None
            counts = ", ".join(f"{count:,} {split}" for split, count in found.images.items())
            self._duty.say(f"{len(found.image_ids):,} images of the gallery: {counts}")
        mark = self._folder / _FINGERPRINT
        if not mark.is_file() or mark.read_text() != found.fingerprint:
            if mark.is_file():
                self._duty.say("the gallery has changed since the last try: the training begins anew", "warning")
            for name in STATE_FILES:
                (self._folder / name).unlink(missing_ok=True)
            for name in (BEST, GATE):
                shutil.rmtree(self._folder / name, ignore_errors=True)
            mark.write_text(found.fingerprint)
        return found

    def _stop(self) -> bool:
        goes_on = self._duty.stop()
        if not goes_on:
            self._discard()
        return goes_on

    def _discard(self) -> None:
        """People's pictures stay no longer than they are needed; a retry exports them again."""
        if self._dataset is not None:
            self._dataset.discard()

    def _clear(self) -> None:
        """What the registry has now, and the pictures; log, recipe and figures stay."""
        self._discard()
        for name in LEFT:
            (self._folder / name).unlink(missing_ok=True)
        shutil.rmtree(self._folder / BEST, ignore_errors=True)
