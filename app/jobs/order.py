"""Who asked last for a version to answer has it.

Whoever asks (by a request that switches at once, by a job, at the command line) notes in each open job that would let
another version answer that it is overtaken. Such a job does its work but does not switch. All of this happens in units
of work, of which there is one at a time: the notes are in the order in which people were answered.
"""

from datetime import datetime
from typing import Any

from app.database.tables import Job, now
from app.errors import ActivationSupersededError
from app.jobs.repository import JobRepository

OVERTAKEN = "overtaken"
"""The parameter of a job that notes it: the `version` that was asked for since, and `at` what instant."""


def activates(job: Job) -> bool:
    """Whether a job encodes a version and lets it answer then."""
    return job.kind == "indexing" and bool(job.parameters.get("activate"))


def overtake(jobs: JobRepository, version_id: int, *, trainings: bool = True) -> None:
    """A version is asked for: open jobs that would let another one answer do not. Those of the version may again.

    Args:
        trainings: also retrainings that would let their candidate answer, which nobody knows yet.
    """
    note = {"version": version_id, "at": now().isoformat()}
    for job in jobs.open():
        known = job.parameters.get(OVERTAKEN)
        if activates(job) and job.parameters["version"] == version_id:
            if known is not None:
                job.parameters = plain(job.parameters)
                jobs.log(job.id, f"version {version_id} is asked for again: the job lets it answer")
        elif activates(job) or (trainings and job.kind == "retraining" and job.parameters.get("activate") == "auto"):
            job.parameters = {**job.parameters, OVERTAKEN: note}
            if known is None or known["version"] != version_id:
                words = f"version {version_id} was asked for since: the job goes on, but its version will not answer"
                jobs.log(job.id, words, "warning")


def awaited(jobs: JobRepository) -> Job | None:
    """The open job that will let its version answer; there is one at most."""
    return next((job for job in jobs.open() if activates(job) and OVERTAKEN not in job.parameters), None)


def plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """What a job was asked to do, whoever has overtaken it."""
    return {name: value for name, value in parameters.items() if name != OVERTAKEN}


def superseded(version_id: int, note: dict[str, Any]) -> ActivationSupersededError:
    """Why a version does not answer that is ready to; `note` names the other `version`, and `at` if that is known."""
    at = f", at {datetime.fromisoformat(note['at']):%Y-%m-%d %H:%M:%S} UTC" if "at" in note else ""
    return ActivationSupersededError(
        f"model version {version_id} is encoded and ready, but does not answer: version {note['version']} was asked "
        f"for since{at}; activate version {version_id} again if it is to answer"
    )
