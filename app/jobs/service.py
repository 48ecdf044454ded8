"""Jobs within one unit of work: made, cancelled, retried, and moved from state to state by the worker."""

import uuid
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.database.tables import Job, now
from app.database.visible import asked_by
from app.errors import (
    IdempotencyKeyError,
    JobFinishedError,
    JobGivenUpError,
    JobNotFoundError,
    JobNotRetryableError,
    JobTakenError,
)
from app.jobs.kinds import KINDS
from app.jobs.order import activates, overtake, plain
from app.jobs.repository import FINAL, JobRepository, NewItem, State, retry_key
from models.errors import DescryError

MOST_ATTEMPTS = 5


class JobService:
    """What users and workers may do with jobs."""

    def __init__(self, session: Session) -> None:
        self._jobs = JobRepository(session)

    def find(self, job_id: str) -> Job:
        """One job.

        Raises:
            JobNotFoundError: there is none.
        """
        if (found := self._jobs.get(job_id)) is None:
            raise JobNotFoundError(job_id)
        return found

    def known(self, key: str, fingerprint: str | None) -> Job | None:
        """The job that the same request made before, under the same idempotency key.

        Raises:
            IdempotencyKeyError: the key came with another request.
        """
        found = self._jobs.by_key(_own(key))
        if found is not None and found.fingerprint != fingerprint:
            raise IdempotencyKeyError("this Idempotency-Key was used with another request; take a new one")
        return found

    def create(
        self,
        kind: str,
        parameters: dict[str, Any],
        *,
        job_id: str | None = None,
        key: str | None = None,
        fingerprint: str | None = None,
    ) -> Job:
        """Queue a job; or return the one that the same idempotency key made.

        Raises:
            IdempotencyKeyError: the key came with another request.
        """
        if key is not None and (found := self.known(key, fingerprint)) is not None:
            return found
        return self._queue(
            Job(
                id=job_id or str(uuid.uuid4()),
                kind=kind,
                parameters=parameters,
                idempotency_key=None if key is None else _own(key),
                key_id=asked_by(),
                fingerprint=fingerprint,
            )
        )

    def _queue(self, job: Job) -> Job:
        job.resource, job.state = KINDS[job.kind].resource, "queued"
        self._jobs.add(job)
        self._jobs.log(job.id, "queued")
        return job

    def create_once(self, kind: str, parameters: dict[str, Any]) -> Job:
        """Queue a job; or return the one with the same parameters that waits or runs, unless it is being cancelled."""
        same = (job for job in self._jobs.open() if job.kind == kind and job.parameters == parameters)
        return next((job for job in same if not job.cancel_requested), None) or self.create(kind, parameters)

    def activation(self, version_id: int, *, despite_gate: bool = False, trainings: bool = True) -> Job:
        """Queue the job that encodes what a version lacks and then lets it answer; what was asked for earlier is
        overtaken. If one is open for the version it is that one, unless it is being cancelled.
        """
        same = (job for job in self._jobs.open() if activates(job) and job.parameters["version"] == version_id)
        found = next((job for job in same if not job.cancel_requested), None)
        if found is None:
            found = self.create("indexing", {"version": version_id, "activate": True})
        if despite_gate:
            found.parameters = {**found.parameters, "despite_gate": True}
        overtake(self._jobs, version_id, trainings=trainings)
        return found

    def cancel(self, job_id: str) -> Job:
        """End a job that waits, or ask the worker of one that runs to end it after the present chunk.

        Raises:
            JobNotFoundError, JobFinishedError: there is none, or it has ended.
        """
        job = self.find(job_id)
        if job.state in FINAL:
            raise JobFinishedError(f"the job has {job.state} already")
        if not job.cancel_requested:
            job.cancel_requested = True
            self._jobs.log(job_id, "cancel requested")
        if job.state == "queued":
            self.finish(job, "cancelled")
        return job

    def retry(self, job_id: str) -> Job:
        """Queue a new run over what is still to do. Asking twice gives the same run.

        Of an ingest, that is the items rejected and the items never reached; of a batch, whose files nobody can
        correct, without those that would be rejected again. Every other kind is run again when it failed or was
        cancelled: its work finds by itself what is done already. Asking again after that run has ended retries what
        it left.

        Raises:
            JobNotFoundError: there is none.
            JobNotRetryableError: it has not ended, or there is nothing that could end better.
        """
        job = self.find(job_id)
        if job.state not in FINAL:
            raise JobNotRetryableError("the job has not ended; cancel it first")
        if (before := self._jobs.by_key(retry_key(job_id))) is not None:
            return self.retry(before.id) if before.state in FINAL and self._unfinished(before) else before
        if not KINDS[job.kind].listed:
            if job.state == "succeeded":
                raise JobNotRetryableError("the job did all that it had to do")
            if job.state == "superseded":
                raise JobNotRetryableError("the version of the job is encoded; activate it if it is to answer")
            if "folder" in job.parameters and not Path(job.parameters["folder"]).exists():
                raise JobNotRetryableError("the file of the job is gone; send it again")
            return self._again(job, first=job.parameters.get("first", job_id))
        failed = self._left(job)
        if job.total is not None and not failed:
            raise JobNotRetryableError(
                "no item of the job could end otherwise: correct the files that were rejected, and send them anew"
                if self._jobs.counts([job_id])[job_id].get("lasting")
                else "every item of the job is in the gallery"
            )
        if "folder" in job.parameters and not Path(job.parameters["folder"]).exists():
            raise JobNotRetryableError("the files of the job are gone; send those that failed as a new batch")
        again = self._again(job)
        if job.total is not None:
            self._jobs.add_items(again.id, failed)
            again.total = len(failed)
        return again

    def _again(self, job: Job, **parameters: Any) -> Job:  # noqa: ANN401  JSON
        """A retry has the holder of the job that it repeats, whoever asks for it: there is one, and they see it.

        It is asked for now: what has overtaken the job before it has not overtaken the retry.
        """
        again = self._queue(
            Job(
                id=str(uuid.uuid4()),
                kind=job.kind,
                parameters={**plain(job.parameters), "retry_of": job.id, **parameters},
                idempotency_key=retry_key(job.id),
                key_id=job.key_id,
            )
        )
        if activates(again):
            overtake(self._jobs, again.parameters["version"])
        return again

    def needed(self, job: Job) -> list[str] | None:
        """Names of the staged files that a retry of a job would take again; None: all of them."""
        if not KINDS[job.kind].listed:
            return [] if job.state == "succeeded" else None
        return None if job.total is None else [item.name for item in self._left(job)]

    def _unfinished(self, job: Job) -> bool:
        if not KINDS[job.kind].listed:
            return job.state not in ("succeeded", "superseded")
        return job.total is None or bool(self._left(job))

    def _left(self, job: Job) -> list[NewItem]:
        staged = bool(job.parameters.get("staged"))
        return self._jobs.unsettled(job.id, with_rejected=True, same_bytes=staged)

    def claim(self, worker: str) -> Job | None:
        """Take the oldest job that can run now. Two workers at once: the database lets one through."""
        if (job := self._jobs.next_queued()) is not None:
            job.state, job.worker, job.started_at, job.heartbeat_at = "running", worker, now(), now()
            self._jobs.log(job.id, f"started by {worker}")
        return job

    def begin(self, job_id: str, worker: str) -> bool:
        """A worker starts or goes on with a job, which is its own from now on; False if the job has ended.

        Raises:
            JobGivenUpError: it was begun `MOST_ATTEMPTS` times without progress.
        """
        job = self.find(job_id)
        if job.state != "running":
            return False
        if job.attempts or job.worker != worker:
            self._jobs.log(job_id, f"goes on with {worker} at {job.done:,} {KINDS[job.kind].unit}", "warning")
        job.worker, job.heartbeat_at, job.attempts = worker, now(), job.attempts + 1
        if job.attempts > MOST_ATTEMPTS:
            where = f"{job.done:,} {KINDS[job.kind].unit}"
            error = JobGivenUpError(f"started {MOST_ATTEMPTS} times without getting on at {where}")
            self.finish(job, "failed", error)
            return False
        return True

    def owned(self, job_id: str, worker: str) -> Job:
        """The job, if this worker still has it: what a worker that was thought dead wrote late must not count.

        Raises:
            JobTakenError: another one has it now.
        """
        job = self.find(job_id)
        if job.worker != worker or job.state != "running":
            raise JobTakenError(f"{job.worker or 'nobody'} has the job now, and it is {job.state}")
        return job

    def adopt(self, job: Job, worker: str) -> None:
        """Take over a job whose worker is silent."""
        self._jobs.log(job.id, f"{job.worker} gave no sign of life; {worker} takes over", "warning")
        job.worker, job.heartbeat_at = worker, now()

    def finish(self, job: Job, state: State, error: DescryError | None = None) -> None:
        """End a job."""
        job.state, job.finished_at = state, now()
        if error is not None:
            job.error_code, job.error_message = error.code, error.message
        level = "info" if error is None else "warning" if state == "superseded" else "error"
        self._jobs.log(job.id, f"{state}: {error.message}" if error else state, level)


def _own(key: str) -> str:
    """An idempotency key beside the access key that it came with: two clients may choose the same."""
    return key if (who := asked_by()) is None else f"{who}:{key}"
