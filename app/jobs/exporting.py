"""The kind `export`: a zip of pictures and manifests, see `app.exports.package`; its cursor is in its folder."""

from sqlalchemy.orm import Session

from app.errors import ServiceError
from app.exports.package import Export
from app.exports.results import result_path
from app.jobs.duty import Duty
from app.jobs.kinds import Hands

CHUNKS_A_STEP = 16


class ExportJob:
    """One export job in the hands of one worker."""

    def __init__(self, hands: Hands) -> None:
        self._duty, core = Duty(hands), hands.core
        target = result_path(core.settings, hands.job_id)
        asked = self._duty.parameters
        collection, originals = asked.get("collection"), bool(asked.get("originals"))
        self._export = Export(core.database, core.store, core.settings, target, collection, originals=originals)
        self._begun = False

    def prepare(self) -> None:
        """Count the images.

        Raises:
            CollectionNotFoundError: the collection does not exist.
        """
        self._duty.expect(self._begin())
        if self._export.blurred:
            self._duty.say("heads in the pictures are blurred (DESCRY_BLUR_FACES)")

    def advance(self) -> bool:
        """Copy pictures; when none is left, pack them and give the export its name in the job's last transaction.

        Raises:
            ServiceError: it is too large, or the disk is full; nothing of it is left then.
        """
        try:
            return self._advance()
        except ServiceError:
            if self._duty.mine:
                self._export.discard()  # an unfinished export must not keep a full disk full
            raise

    def _advance(self) -> bool:
        if not self._begun:
            self._begin()
        for _ in range(CHUNKS_A_STEP):
            if self._duty.halted:
                return self._stop()
            lost = len(self._export.lost)
            if not self._export.copy():
                return self._publish()
            for image_id in self._export.lost[lost:]:
                self._duty.say(f"the picture of image {image_id} is not in the store; it is left out", "warning")
            with self._duty.database.write() as session:
                self._duty.reach(session, self._export.done)
        return True

    def _publish(self) -> bool:
        def record(session: Session, count: int) -> None:
            self._duty.succeed(session, count)

        if self._export.publish(record, going=lambda: not self._duty.halted):
            return False
        return self._stop() if self._duty.halted else True

    def _stop(self) -> bool:
        if goes_on := self._duty.stop():
            return goes_on
        self._export.discard()
        return False

    def _begin(self) -> int:
        total, self._begun = self._export.begin(), True
        return total
