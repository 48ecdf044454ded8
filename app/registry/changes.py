"""Changes of the version that answers, as endpoints, verbs and jobs ask for them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.database.sessions import Database
from app.errors import NoPredecessorError
from app.jobs.order import awaited, overtake, superseded
from app.jobs.repository import JobRepository
from app.jobs.schemas import JobOut
from app.jobs.service import JobService
from app.registry.repository import ModelRepository
from app.registry.service import ModelService, remainder
from app.settings import Settings
from app.vectors.repository import LogRepository


def activate_later(database: Database, version_id: int, *, despite_gate: bool = False) -> JobOut:
    """Queue the job that encodes what a version lacks and then switches to it; or return the one that is open.

    Either way it is asked for now: what was asked for earlier does not switch any more.
    """
    with database.write() as session:
        return JobOut.of(JobService(session).activation(version_id, despite_gate=despite_gate), {})


@dataclass(frozen=True, slots=True)
class Place:
    """When an activation was asked for that is made without a job: who answered then, and since when."""

    version_id: int
    active_id: int | None
    activated_at: datetime | None

    def kept(self, session: Session) -> bool:
        """True: nobody asked for another version since.

        Raises:
            ActivationSupersededError: another version was asked for since.
        """
        found, wanted = _place(session, self.version_id), awaited(JobRepository(session))
        if found != self and found.active_id not in (None, self.version_id):
            at = {} if found.activated_at is None else {"at": found.activated_at.isoformat()}
            raise superseded(self.version_id, {"version": found.active_id, **at})
        if wanted is not None and wanted.parameters["version"] != self.version_id:
            raise superseded(self.version_id, wanted.parameters)
        return True


def ask(database: Database, version_id: int, *, despite_gate: bool = False) -> Place:
    """Ask for a version that this process will switch to when it is encoded, which may take long.

    Raises:
        ModelNotFoundError, ModelRefusedError: there is none, or it may not be activated.
    """
    with database.write() as session:
        ModelService(session).admitted(version_id, despite_gate=despite_gate)
        overtake(JobRepository(session), version_id)
        return _place(session, version_id)


def _place(session: Session, version_id: int) -> Place:
    active = LogRepository(session).head().active_version_id
    row = None if active is None else ModelRepository(session).get(active)
    return Place(version_id, active, None if row is None else row.activated_at)


def encode_later(database: Database, version_id: int) -> JobOut:
    """Queue the job that encodes what a version lacks, without a switch; or return the one that encodes it already."""
    with database.write() as session:
        jobs = (job for job in JobRepository(session).open() if job.kind == "indexing" and not job.cancel_requested)
        same = (job for job in jobs if job.parameters["version"] == version_id and not job.parameters.get("rebuild"))
        found = next(same, None) or JobService(session).create("indexing", {"version": version_id})
        return JobOut.of(found, {})


def predecessor_of(database: Database, version_id: int) -> int:
    """The version that a rollback of this one returns to.

    Raises:
        ModelNotFoundError: there is no such version.
        NoPredecessorError: it does not answer, or none answered before it.
    """
    with database.read() as session:
        models = ModelService(session)
        row, active = models.find(version_id), LogRepository(session).head().active_version_id
        if row.id != active:
            raise NoPredecessorError(f"model version {row.id} ({row.name}) does not answer: version {active} does")
        if (before := models.predecessor()) is None:
            raise NoPredecessorError(f"no version answered before {row.id} ({row.name})")
        return before.id


def keep_standby(database: Database, settings: Settings) -> str | None:
    """Let a job encode what came since for the version before, so that a rollback stays immediate; its id.

    Not while pictures are being ingested: those go first.
    """
    if not settings.standby:
        return None
    with database.read() as session:
        before = _behind(session, settings)
    if before is None:
        return None
    with database.write() as session:
        if any(job.kind in ("ingest", "indexing") for job in JobRepository(session).open()):
            return None
        return JobService(session).create("indexing", {"version": before, "standby": True}).id


def _behind(session: Session, settings: Settings) -> int | None:
    models = ModelService(session)
    before = models.predecessor()
    if before is None or before.retired_at is not None:
        return None
    return before.id if models.missing(before) > remainder(settings) else None
