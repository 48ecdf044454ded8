"""All SQL about jobs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ColumnElement, and_, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from app.database.privacy import ERASED
from app.database.tables import Image, Job, JobItem, JobLog, now
from app.errors import (
    DamagedImageError,
    EmptyFileError,
    EntryError,
    FileMissingError,
    FormatError,
    NotAnImageError,
    PathOutsideError,
    ServiceError,
)
from app.gallery.repository import pieces

if TYPE_CHECKING:
    from app.gallery.ingest import Outcome  # with PyTorch behind it

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "superseded"]
_ALONE = {"synchronize_session": False}
FINAL = frozenset({"succeeded", "failed", "cancelled", "superseded"})
LASTING = tuple(
    error.code
    for error in (
        EmptyFileError,
        NotAnImageError,
        FormatError,
        DamagedImageError,
        FileMissingError,
        PathOutsideError,
        EntryError,
    )
)
"""Codes of rejections that the same bytes under the same manifest meet again, whatever the settings."""


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item that waits."""

    position: int
    name: str


def retry_key(job_id: str) -> str:
    """The idempotency key of the one retry of a job, whoever asks for it."""
    return f"retry:{job_id}"


class JobRepository:
    """Reads and writes jobs, their items and their log."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, job_id: str) -> Job | None:
        """One job."""
        return self._session.get(Job, job_id)

    def by_key(self, key: str) -> Job | None:
        """The job that an idempotency key made."""
        return self._session.scalars(select(Job).where(Job.idempotency_key == key)).one_or_none()

    def add(self, job: Job) -> None:
        """Insert a job."""
        self._session.add(job)
        self._session.flush()

    def page(self, limit: int, before: Job | None, state: str | None) -> list[Job]:
        """Jobs, newest first; `before` is the last one of the page before."""
        statement = select(Job).order_by(Job.created_at.desc(), Job.id.desc()).limit(limit)
        if state is not None:
            statement = statement.where(Job.state == state)
        if before is not None:
            at, same = before.created_at, and_(Job.created_at == before.created_at, Job.id < before.id)
            statement = statement.where(or_(Job.created_at < at, same))
        return list(self._session.scalars(statement))

    def counts(self, job_ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """Number of items by job and status; under `lasting` those rejected for what their bytes are, under `retried`
        whether there is a retry of the job."""
        found: dict[str, dict[str, int]] = defaultdict(dict)
        # Who watches a job asks this several times a second, so it stays within the index on job and status; a rejected
        # item is the exception.
        settled = select(JobItem.job_id, JobItem.status, func.count()).group_by(JobItem.job_id, JobItem.status)
        hopeless = select(JobItem.job_id, func.count()).group_by(JobItem.job_id)
        hopeless = hopeless.where(JobItem.status == "rejected", JobItem.code.in_(LASTING))
        for part in pieces(job_ids):
            for job_id, status, count in self._session.execute(settled.where(JobItem.job_id.in_(part))):
                if status is not None:
                    found[job_id][status] = count
            for job_id, count in self._session.execute(hopeless.where(JobItem.job_id.in_(part))):
                found[job_id]["lasting"] = count
            keys = {retry_key(job_id): job_id for job_id in part}
            for key in self._session.scalars(select(Job.idempotency_key).where(Job.idempotency_key.in_(keys))):
                found[keys[key or ""]]["retried"] = 1
        return found

    def items(self, job_id: str, *, after: int, limit: int, status: str | None = None) -> list[JobItem]:
        """Items of a job in the order of the source, beginning behind a position."""
        statement = select(JobItem).where(JobItem.job_id == job_id, JobItem.position > after)
        if status is not None:
            statement = statement.where(JobItem.status == status)
        return list(self._session.scalars(statement.order_by(JobItem.position).limit(limit)))

    def unsettled(
        self, job_id: str, *, with_rejected: bool = False, same_bytes: bool = False, limit: int | None = None
    ) -> list[NewItem]:
        """Items without an outcome; on request also the rejected ones, or of these only those that the same bytes could
        get past another time."""
        wanted: ColumnElement[bool] = JobItem.status.is_(None)
        if with_rejected:
            again = JobItem.status == "rejected"
            wanted = or_(wanted, and_(again, JobItem.code.not_in(LASTING)) if same_bytes else again)
        statement = select(JobItem.position, JobItem.name).where(JobItem.job_id == job_id, wanted)
        rows = self._session.execute(statement.order_by(JobItem.position).limit(limit))
        return [NewItem(position, name) for position, name in rows]

    def add_items(self, job_id: str, items: Sequence[NewItem]) -> None:
        """List what a job has to do."""
        if items:
            rows = [{"job_id": job_id, "position": item.position, "name": item.name} for item in items]
            self._session.execute(insert(JobItem), rows)

    def settle(self, job_id: str, positions: Sequence[int], outcomes: "Sequence[Outcome]") -> None:
        """Write outcomes of items."""
        rows: list[dict[str, Any]] = [
            {
                "job_id": job_id,
                "position": position,
                "status": outcome.status,
                "image_id": outcome.image_id,
                "code": outcome.code,
                "message": outcome.message,
            }
            for position, outcome in zip(positions, outcomes, strict=True)
        ]
        self._session.execute(update(JobItem), rows)
        for part in pieces(row["position"] for row in rows if row["status"] == "duplicate"):
            # What it is a duplicate of may have been erased since they were compared: the name must not outlive that.
            mine = JobItem.job_id == job_id, JobItem.position.in_(part), ~exists().where(Image.id == JobItem.image_id)
            self._session.execute(update(JobItem).where(*mine).values(name=ERASED), execution_options=_ALONE)

    def mark(self, job_id: str, statuses: dict[int, str]) -> None:
        """Write the status of items, by position."""
        if statuses:
            rows = [{"job_id": job_id, "position": place, "status": status} for place, status in statuses.items()]
            self._session.execute(update(JobItem), rows)

    def rejected_images(self, job_id: str) -> list[int]:
        """Images that rejected items of a job name."""
        statement = select(JobItem.image_id).where(JobItem.job_id == job_id, JobItem.status == "rejected")
        return [image_id for image_id in self._session.scalars(statement) if image_id is not None]

    def add_rejected(self, job_id: str, errors: Mapping[int, tuple[str, ServiceError]]) -> int:
        """List images that a job could not use, by id with name and error, unless they are; returns how many are new.

        The session must write: their places follow the last one.
        """
        known: set[int | None] = set()
        for part in pieces(errors):
            statement = select(JobItem.image_id).where(JobItem.job_id == job_id, JobItem.image_id.in_(part))
            known.update(self._session.scalars(statement))
        last = self._session.scalar(select(func.max(JobItem.position)).where(JobItem.job_id == job_id))
        rows = [
            {"job_id": job_id, "name": name, "status": "rejected", "image_id": image_id}
            | {"code": error.code, "message": error.message}
            for image_id, (name, error) in errors.items()
            if image_id not in known
        ]
        for place, row in enumerate(rows, -1 if last is None else last):
            row["position"] = place + 1
        if rows:
            self._session.execute(insert(JobItem), rows)
        return len(rows)

    def log(self, job_id: str, message: str, level: str = "info") -> None:
        """Add a line to a job's log."""
        self._session.add(JobLog(job_id=job_id, level=level, message=message))

    def lines(self, job_id: str, *, after: int = 0, limit: int = 200) -> list[JobLog]:
        """Lines of a job's log, oldest first, beginning behind an id."""
        statement = select(JobLog).where(JobLog.job_id == job_id, JobLog.id > after).order_by(JobLog.id)
        return list(self._session.scalars(statement.limit(limit)))

    def next_queued(self) -> Job | None:
        """The oldest queued job whose resource no running job has."""
        busy = select(Job.resource).where(Job.state == "running")
        statement = select(Job).where(Job.state == "queued", Job.resource.not_in(busy))
        return self._session.scalars(statement.order_by(Job.created_at, Job.id).limit(1)).one_or_none()

    def staged(self, keep_s: float) -> list[Job]:
        """Jobs over staged files that wait or run, or ended less than `keep_s` seconds ago."""
        recent = Job.finished_at > now() - timedelta(seconds=keep_s)
        rows = self._session.scalars(select(Job).where(or_(Job.state.in_(("queued", "running")), recent)))
        return [job for job in rows if job.parameters.get("staged")]

    def open(self) -> list[Job]:
        """Jobs that wait or run."""
        return list(self._session.scalars(select(Job).where(Job.state.in_(("queued", "running")))))

    def running(self, *, worker: str | None = None, silent_since: datetime | None = None) -> list[Job]:
        """Running jobs: of one worker, or whose worker gave no sign of life since an instant."""
        statement = select(Job).where(Job.state == "running")
        if worker is not None:
            statement = statement.where(Job.worker == worker)
        if silent_since is not None:
            statement = statement.where(Job.heartbeat_at < silent_since)
        return list(self._session.scalars(statement.order_by(Job.created_at)))

    def beat(self, job_ids: Sequence[str], worker: str) -> None:
        """A sign of life for the jobs that a worker is at."""
        mine = and_(Job.id.in_(job_ids), Job.worker == worker, Job.state == "running")
        self._session.execute(update(Job).where(mine).values(heartbeat_at=now()))
