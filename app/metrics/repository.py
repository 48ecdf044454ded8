"""All SQL of the metrics."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database.tables import Job, JobItem


@dataclass(frozen=True, slots=True)
class Counts:
    """What the database says about jobs.

    Attributes:
        jobs: number by (kind, state).
        items: number by (kind of the job, status); "waiting" has none yet.
        workers: that have a running job.
        oldest_beat: the oldest sign of life for a running job.
    """

    jobs: dict[tuple[str, str], int]
    items: dict[tuple[str, str], int]
    workers: int
    oldest_beat: datetime | None


class MetricsRepository:
    """Counts rows."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def counts(self) -> Counts:
        """Jobs and their items. It reads every item's row of an index: not to be asked more often than needed."""
        jobs = select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)
        per_job = select(JobItem.job_id, JobItem.status, func.count().label("number"))
        by_job = per_job.group_by(JobItem.job_id, JobItem.status).subquery()
        items = select(Job.kind, by_job.c.status, func.sum(by_job.c.number)).join(by_job, by_job.c.job_id == Job.id)
        running = select(func.count(Job.worker.distinct()), func.min(Job.heartbeat_at)).where(Job.state == "running")
        workers, oldest = self._session.execute(running).one()
        return Counts(
            jobs={(kind, state): int(count) for kind, state, count in self._session.execute(jobs)},
            items={
                (kind, status or "waiting"): int(count)
                for kind, status, count in self._session.execute(items.group_by(Job.kind, by_job.c.status))
            },
            workers=int(workers),
            oldest_beat=oldest,
        )
