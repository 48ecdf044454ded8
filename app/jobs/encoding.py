"""Encoding shard by shard: what the worker of an encoding job does, and any other one that has nothing else to do."""

import logging
from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from app.core import Core
from app.errors import JobTakenError
from app.jobs.shards import SEAT, Seat, Shards
from app.registry.encoding import LOOK_S, Unreadable
from app.registry.service import ModelService

_log = logging.getLogger(__name__)


class ShardWork:
    """One worker at the shards of one job."""

    def __init__(self, core: Core, job_id: str, worker: str, version_id: int, seat: Seat = SEAT) -> None:
        """Load the version's encoder.

        Raises:
            ModelNotFoundError, CheckpointError: there is none, or its weights cannot be loaded.
        """
        _, _, self.encoder = core.active.load_encoder(version_id)
        with core.database.read() as session:
            version = ModelService(session).find(version_id)
        self.shards = Shards(core.database, core.settings, job_id, worker, version, seat)
        self._encoding = core.activation.encoding(version_id, self.encoder)

    def one(self, more: Callable[[], bool]) -> bool | None:
        """Take a shard and encode it; `more` is asked whether to go on.

        Returns:
            Whether its end was reached; None if there is none to be had.

        Raises:
            JobTakenError: the job has ended.
            StorageError: the image store does not answer.
        """
        if not self.shards.seat.taken.acquire(timeout=LOOK_S):
            return False
        try:
            span = self.shards.take()
            return None if span is None else self._encode(*span, more)
        finally:
            self.shards.seat.taken.release()

    def _encode(self, after: int, upto: int, more: Callable[[], bool]) -> bool:
        named, done = 0, False

        def refuse(session: Session, unreadable: Sequence[Unreadable]) -> None:
            nonlocal named
            named = self.shards.refuse(session, unreadable)

        def record(session: Session, count: int) -> bool:
            nonlocal named
            known, named = named, 0
            return self.shards.reach(session, count - known) and more()

        def going() -> bool:
            return more() and self.shards.going()

        try:
            done = self._encoding.run(record, after=after, upto=upto, refuse=refuse, going=going)
        except JobTakenError as error:
            _log.warning("images %d to %d: %s", after + 1, upto, error.message)
        finally:
            self.shards.give_back(done=done)
        return done
