"""The kind `indexing`: the vectors of a model version, or the index of one, made behind the requests.

Vectors: what the gallery lacks for a version is encoded beside the version that answers, one transaction a chunk with
the progress in it; then, if that was asked for, its confidence is learnt unless it came with it, and the version is
switched to in the transaction that ends the job. A killed worker goes on with the images that have no vector yet.

Index: the views of a version are built anew from the database. Small enough to begin again after a kill.
"""

from sqlalchemy.orm import Session

from app.embedding.service import EncoderService
from app.errors import ModelIncompleteError
from app.jobs.duty import Duty
from app.jobs.kinds import Hands, Work
from app.registry.calibration import GalleryCalibration


def indexing_job(hands: Hands) -> Work:
    """The work of one job; its parameters say which of the two it is."""
    return RebuildJob(hands) if Duty(hands).parameters.get("rebuild") else EncodingJob(hands)


class EncodingJob:
    """Encodes what a version lacks (`version`), then switches to it (`activate`)."""

    def __init__(self, hands: Hands) -> None:
        self._duty, self._core = Duty(hands), hands.core
        self._version: int = self._duty.parameters["version"]
        self._activation = hands.core.activation
        self._encoder: EncoderService | None = None
        self._calibrated = False

    def prepare(self) -> None:
        """Count the images that the version lacks.

        Raises:
            ModelNotFoundError, CheckpointError: there is none, or its weights cannot be loaded.
            MemoryShortError: its indexes would not fit into the memory of this machine.
        """
        self._core.active.admit(self._version)
        self._loaded()
        self._duty.expect(self._activation.missing(self._version))

    def advance(self) -> bool:
        """Encode until nothing lacks, and switch.

        Raises:
            StorageError: a stored picture cannot be read.
        """
        if self._duty.halted:
            return self._duty.stop()
        done = self._duty.row().done

        def record(session: Session, count: int) -> bool:
            nonlocal done
            done += count
            return self._duty.reach(session, done)

        if not self._activation.encode_missing(self._version, self._loaded(), record=record):
            return self._duty.stop()
        if self._duty.parameters.get("activate") and not self._calibrate():
            return self._duty.stop()
        try:
            self._activation.complete(
                self._version,
                activate=bool(self._duty.parameters.get("activate")),
                encoder=self._loaded(),
                despite_gate=bool(self._duty.parameters.get("despite_gate")),
                record=lambda session, count: self._duty.succeed(session, done + count),
            )
        except ModelIncompleteError:
            return True  # images came meanwhile
        return False

    def _calibrate(self) -> bool:
        """Learn the version's confidence unless it has it; False if the job was halted."""
        if not self._calibrated:
            learning = GalleryCalibration(self._core.database, self._core.settings)
            learnt = learning.learn(self._version, self._loaded(), lambda: not self._duty.halted)
            if learnt is None:
                return False
            for level, words in learnt.lines():
                self._duty.say(words, level)
            self._calibrated = True
        return True

    def _loaded(self) -> EncoderService:
        if self._encoder is None:
            _, _, self._encoder = self._core.active.load_encoder(self._version)
        return self._encoder


class RebuildJob:
    """Builds the index of a version (`version`) anew, one view for each stored space."""

    def __init__(self, hands: Hands) -> None:
        self._duty, self._core = Duty(hands), hands.core
        self._views = hands.core.active.views(self._duty.parameters["version"])

    def prepare(self) -> None:
        """Count the images with vectors.

        Raises:
            MemoryShortError: the indexes would not fit into memory.
        """
        self._core.active.admit(self._duty.parameters["version"])
        self._duty.expect(next(iter(self._views.values())).stored())

    def advance(self) -> bool:
        """Build every view. One that is built when the job is cancelled stays: it is right."""
        count = 0
        for place, view in enumerate(self._views.values()):
            try:
                view.rebuild(lambda seen, place=place: self._progress(place, seen))  # type: ignore[misc]
            except _HaltedError:
                return self._duty.stop()
            count = view.count
            self._duty.say(f"{view.key.space}: {count:,} vectors, up to {view.sequence:,} of the log")
        with self._duty.database.write() as session:
            self._duty.succeed(session, count)
        return False

    def _progress(self, place: int, seen: int) -> None:
        total = self._duty.row().total or 0
        with self._duty.database.write() as session:
            if not self._duty.reach(session, (place * total + min(seen, total)) // len(self._views)):
                raise _HaltedError


class _HaltedError(Exception):
    """Leaves `rebuild` before anything is written."""
