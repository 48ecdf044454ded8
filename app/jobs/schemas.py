"""What the API says about jobs."""

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from app.database.tables import Job, JobItem, JobLog
from app.jobs.kinds import KINDS
from app.jobs.repository import FINAL, State
from app.jobs.shards import shown


class JobError(BaseModel):
    """Why a job failed, or was superseded."""

    code: str
    message: str


class JobCounts(BaseModel):
    """Items of an ingest by outcome; `waiting` has none yet."""

    ingested: int = 0
    duplicate: int = 0
    rejected: int = 0
    waiting: int = 0


class JobOut(BaseModel):
    """A job. `done` of `total` are what `unit` says; `total` is null until it is known.

    `state` `superseded`: the job was to let a model version answer, and encoded it; but another version was asked for
    since, which `error` names.

    `counts` is null for kinds without items. `result_url`: the file that a job left, until it is removed.
    `progress`: of a retraining, its `phase` with what is known of it (losses, speed, `seconds_left`), and `curve`: by
    name, lists of [step, value], `losses` and `quality` (percent, on the split that it is measured on); at the end
    `version`, `accepted` and `reasons` of the gate, and `overtaken` if it does not answer by itself because another
    `version` was asked for since. Of an encoding, speed and `shards`: who is at the images `after` an
    id `upto` another. Of a video, `share` (0..1 of its time), `frames`, `tracks`, `ingested`, `duplicate` and
    `rejected` crops, and the parts that are `lost`.
    """

    id: str
    kind: str
    state: State
    done: int
    total: int | None
    unit: str
    counts: JobCounts | None
    result_url: str | None
    progress: dict[str, Any] | None
    cancel_requested: bool
    retryable: bool
    """Whether a retry would find something to do."""
    retry_of: str | None
    error: JobError | None
    worker: str | None
    heartbeat_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Job, counts: dict[str, int]) -> "JobOut":
        """Describe a row with the number of its items by status."""
        kind, counts = KINDS[row.kind], dict(counts)
        lasting, retried = counts.pop("lasting", 0), counts.pop("retried", 0)
        waiting = (row.total or 0) - row.done
        plain = ("id", "kind", "done", "total", "cancel_requested", "worker", "heartbeat_at", "created_at")
        error = JobError(code=row.error_code, message=row.error_message or "") if row.error_code else None
        return cls.model_validate(
            {
                **{name: getattr(row, name) for name in (*plain, "state", "started_at", "finished_at")},
                "unit": kind.unit,
                "progress": shown(row.progress),
                "counts": JobCounts(**counts, waiting=waiting) if row.kind == "ingest" else None,
                "result_url": f"/v1/jobs/{row.id}/result" if kind.has_result and row.state == "succeeded" else None,
                "retryable": not retried and _retryable(row, counts.get("rejected", 0), lasting),
                "retry_of": row.parameters.get("retry_of"),
                "error": error,
            }
        )


def _retryable(row: Job, rejected: int, lasting: int) -> bool:
    if not KINDS[row.kind].listed:
        there = "folder" not in row.parameters or Path(row.parameters["folder"]).exists()
        return row.state in ("failed", "cancelled") and there
    again = rejected - lasting if row.parameters.get("staged") else rejected
    left = row.total is None or row.done < row.total or again > 0
    return row.state in FINAL and left and ("folder" not in row.parameters or Path(row.parameters["folder"]).exists())


class JobLine(BaseModel):
    """A line of a job's log."""

    id: int
    at: datetime
    level: str
    message: str

    @classmethod
    def of(cls, row: JobLog) -> "JobLine":
        """Describe a row."""
        return cls.model_validate(row, from_attributes=True)


class JobDetail(JobOut):
    """A job with the newest lines of its log."""

    log: list[JobLine]


class JobList(BaseModel):
    """A page of jobs, newest first; `next_before` asks for the one after it."""

    jobs: list[JobOut]
    next_before: str | None


class JobItemOut(BaseModel):
    """What became of one entry; `status` is null while it waits."""

    position: int
    name: str
    status: str | None
    image_id: int | None
    code: str | None
    message: str | None

    @classmethod
    def of(cls, row: JobItem) -> "JobItemOut":
        """Describe a row."""
        return cls.model_validate(row, from_attributes=True)


class JobItemList(BaseModel):
    """A page of items in the order of the source; `next_after` asks for the one after it."""

    items: list[JobItemOut]
    next_after: int | None
