"""What every kind of work does with the row of its job."""

from typing import Any

from sqlalchemy.orm import Session

from app.database.tables import Job
from app.jobs.kinds import Hands
from app.jobs.order import OVERTAKEN
from app.jobs.repository import JobRepository
from app.jobs.service import JobService
from models.errors import DescryError


class Duty:
    """The row of one job, as the worker that has it may use it."""

    def __init__(self, hands: Hands) -> None:
        self.job_id, self.database = hands.job_id, hands.core.database
        self._worker, self._stopping = hands.worker, hands.stopping

    def row(self) -> Job:
        """The job as it is now."""
        with self.database.read() as session:
            return JobService(session).find(self.job_id)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the job was asked to do."""
        return self.row().parameters

    @property
    def halted(self) -> bool:
        """Whether the work should return at its next safe point: a cancel, the end of the worker, or another one."""
        return self._stopping.is_set() or self._lost(job := self.row()) or job.cancel_requested

    @property
    def mine(self) -> bool:
        """Whether this worker has the job still."""
        return not self._lost(self.row())

    def _lost(self, job: Job) -> bool:
        return job.worker != self._worker or job.state != "running"

    def expect(self, total: int) -> None:
        """Set the number of units, unless that was done before."""
        with self.database.write() as session:
            job = self.owned(session)
            if job.total is None:
                job.total = total

    def owned(self, session: Session) -> Job:
        """The job for a change.

        Raises:
            JobTakenError: another worker has it now.
        """
        return JobService(session).owned(self.job_id, self._worker)

    def reach(self, session: Session, done: int) -> bool:
        """Note progress within a transaction; False if the work should return after it.

        Raises:
            JobTakenError: another worker has it now.
        """
        job = self.owned(session)
        if done > job.done:
            job.attempts = 1  # getting back to where it was is no progress
        job.done = done
        if job.total is not None:
            job.total = max(job.total, done)  # what came meanwhile is done too
        return not (job.cancel_requested or self._stopping.is_set())

    def tell(self, **progress: Any) -> None:  # noqa: ANN401  JSON
        """Replace what the job tells beside its counts."""
        with self.database.write() as session:
            self.owned(session).progress = progress

    def say(self, message: str, level: str = "info") -> None:
        """Write a line into the job's log."""
        with self.database.write() as session:
            self.owned(session)
            JobRepository(session).log(self.job_id, message, level)

    def succeed(self, session: Session, done: int) -> None:
        """End the job in the transaction that makes its result true.

        Raises:
            JobTakenError: another worker has it now.
        """
        job = self.owned(session)
        job.done = job.total = done
        JobService(session).finish(job, "succeeded")

    def overtaken(self, session: Session) -> dict[str, Any] | None:
        """What was asked for since, instead of what the job would let answer; see `app.jobs.order`.

        Raises:
            JobTakenError: another worker has it now.
        """
        found: dict[str, Any] | None = self.owned(session).parameters.get(OVERTAKEN)
        return found

    def supersede(self, session: Session, done: int, error: DescryError) -> None:
        """End the job as one that did its work, of which another choice has taken the effect.

        Raises:
            JobTakenError: another worker has it now.
        """
        job = self.owned(session)
        job.done = job.total = done
        JobService(session).finish(job, "superseded", error)

    def stop(self) -> bool:
        """After `halted`: end a job that is to be cancelled. Returns whether the work goes on after a restart."""
        with self.database.write() as session:
            job = self.owned(session)
            if not job.cancel_requested:
                return True
            JobService(session).finish(job, "cancelled")
            return False
