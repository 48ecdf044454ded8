"""The kind `indexing`: the vectors of a model version, or the index of one, made behind the requests.

Vectors: what the gallery lacks for a version is encoded beside the version that answers, one transaction a chunk with
the progress in it; idle workers take shards of it (`app.jobs.shards`). Then, if that was asked for, its confidence is
learnt unless it came with it, and the version is switched to in the transaction that ends the job; not if another one
was asked for since (`app.jobs.order`). A killed worker goes on with the images that have no vector yet.

Index: the views of a version are built anew from the database. Small enough to begin again after a kill.
"""

import time
from typing import Any

from sqlalchemy.orm import Session

from app.errors import ModelIncompleteError
from app.gallery.repository import ImageRepository
from app.jobs.duty import Duty
from app.jobs.encoding import ShardWork
from app.jobs.kinds import Hands, Work
from app.jobs.order import superseded
from app.jobs.repository import JobRepository
from app.registry.calibration import GalleryCalibration
from app.registry.encoding import LOOK_S
from app.registry.service import ModelService, remainder


def indexing_job(hands: Hands) -> Work:
    """The work of one job; its parameters say which of the two it is."""
    return RebuildJob(hands) if Duty(hands).parameters.get("rebuild") else EncodingJob(hands)


class EncodingJob:
    """Encodes what a version lacks (`version`), shard by shard beside whoever helps, then switches (`activate`)."""

    def __init__(self, hands: Hands) -> None:
        self._duty, self._core, self._hands = Duty(hands), hands.core, hands
        self._version: int = self._duty.parameters["version"]
        self._activation = hands.core.activation
        self._work: ShardWork | None = None
        self._calibrated = False

    def prepare(self) -> None:
        """Count the images that the version lacks.

        Raises:
            ModelNotFoundError, CheckpointError: there is none, or its weights cannot be loaded.
            MemoryShortError: its indexes would not fit into the memory of this machine.
        """
        self._core.active.admit(self._version)
        self._opened()
        self._duty.expect(self._activation.missing(self._version))

    def advance(self) -> bool:
        """Encode until nothing lacks, and switch.

        Raises:
            ModelIncompleteError: pictures cannot be read; the items name them, all others are encoded.
            StorageError: the image store does not answer.
        """
        if self._duty.halted or not self._encode():
            return self._duty.stop()
        missing, unreadable = self._activation.missing(self._version), self._unreadable()
        if missing > unreadable + remainder(self._core.settings):
            return True  # images came meanwhile
        if unreadable:
            raise ModelIncompleteError(
                f"{unreadable:,} stored pictures cannot be read, the items of the job say which and why; all others "
                "are encoded. Restore them from a backup or delete the images, then retry the job"
            )
        self._duty.tell(phase="completion")
        activate = bool(self._duty.parameters.get("activate"))
        if activate and not self._calibrate():
            return self._duty.stop()
        try:
            self._complete(activate=activate)
        except ModelIncompleteError:
            return True  # images came meanwhile
        return False

    def _complete(self, *, activate: bool) -> None:
        """End the job, and switch if nobody asked for another version since."""
        done, note = self._duty.row().done, dict[str, Any]()

        def still(session: Session) -> bool:
            note.update(self._duty.overtaken(session) or {})
            return not note

        def record(session: Session, count: int) -> None:
            if note:
                self._duty.supersede(session, done + count, superseded(self._version, note))
            else:
                self._duty.succeed(session, done + count)

        self._activation.complete(
            self._version,
            activate=activate,
            encoder=self._opened().encoder,
            despite_gate=bool(self._duty.parameters.get("despite_gate")),
            still=still,
            record=record,
        )

    def _encode(self) -> bool:
        """Until every shard is done, whoever does it; False if the job was halted."""
        work = self._opened()
        work.shards.begin()
        while not self._duty.halted:
            if work.one(lambda: not self._hands.stopping.is_set()) is None:
                if not work.shards.open():
                    return True
                time.sleep(LOOK_S)  # others have the last ones; what they lose is taken over
        return False

    def _unreadable(self) -> int:
        """How many images of the job's rejected items lack a vector still."""
        with self._core.database.read() as session:
            version = ModelService(session).find(self._version)
            rejected = JobRepository(session).rejected_images(self._duty.job_id)
            return len(ImageRepository(session).still_lacking(version, rejected))

    def _calibrate(self) -> bool:
        """Learn the version's confidence unless it has it; False if the job was halted."""
        if not self._calibrated:
            learning = GalleryCalibration(self._core.database)
            learnt = learning.learn(self._version, self._opened().encoder, lambda: not self._duty.halted)
            if learnt is None:
                return False
            for level, words in learnt.lines():
                self._duty.say(words, level)
            self._calibrated = True
        return True

    def _opened(self) -> ShardWork:
        if self._work is None:
            self._work = ShardWork(self._core, self._duty.job_id, self._hands.worker, self._version)
        return self._work


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
