"""Association runs within one unit of work: asked for, and undone."""

from sqlalchemy.orm import Session

from app.association.repository import AssociationRepository
from app.association.schemas import AssociationOut, AssociationRequest
from app.collections.service import CollectionService
from app.database.tables import AssociationRun, now
from app.errors import (
    AssociationNotFoundError,
    AssociationRunningError,
    AssociationUndoneError,
    InvalidError,
    ModelNotCalibratedError,
    NoActiveModelError,
)
from app.identities.changes import IdentityChanges
from app.jobs.repository import FINAL, JobRepository
from app.jobs.service import JobService
from app.registry.repository import ModelRepository
from app.vectors.repository import LogRepository
from models.calibration import Linkage, association_rule

DEFAULT_LINKAGE: Linkage = "complete"
"""With a threshold and no linkage: of the two it does better where it was measured."""


class AssociationService:
    """Asks for runs and takes them back. What changes something belongs into a `Database.write` block."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._runs = AssociationRepository(session)

    def find(self, run_id: int) -> AssociationRun:
        """One run.

        Raises:
            AssociationNotFoundError: there is none.
        """
        if (found := self._runs.get(run_id)) is None:
            raise AssociationNotFoundError(run_id)
        return found

    def describe(self, row: AssociationRun) -> AssociationOut:
        """A run as it is told."""
        names = {found.id: found.name for found in CollectionService(self._session).all()}
        return AssociationOut.of(row, names.get(row.collection_id))

    def page(self, limit: int, before: int | None = None) -> list[AssociationOut]:
        """Runs, newest first."""
        names = {found.id: found.name for found in CollectionService(self._session).all()}
        return [AssociationOut.of(row, names.get(row.collection_id)) for row in self._runs.page(limit, before)]

    def ask(self, request: AssociationRequest) -> AssociationRun:
        """Make a run and queue its job.

        Raises:
            CollectionNotFoundError, NoActiveModelError: there is no such collection, or no active model version.
            ModelNotCalibratedError: nobody said a threshold.
            InvalidError: a linkage without a threshold: the calibrated threshold holds for its own linkage.
        """
        collection_id = CollectionService(self._session).find(request.collection)
        version_id = LogRepository(self._session).head().active_version_id
        version = ModelRepository(self._session).get(version_id) if version_id is not None else None
        if version is None:
            raise NoActiveModelError
        if request.threshold is not None:
            linkage, threshold = request.linkage or DEFAULT_LINKAGE, request.threshold
        elif request.linkage is not None:
            raise InvalidError("a linkage needs a threshold of its own; the calibrated one holds for its own linkage")
        elif (rule := association_rule(version.calibration or {})) is not None:
            linkage, threshold = rule.linkage, rule.threshold
        else:
            raise ModelNotCalibratedError(
                f"model version {version.id} ({version.name}) has no calibrated threshold: run `python -m training "
                "calibrate CHECKPOINT --data FOLDER` and register the checkpoint again, or name a threshold"
            )
        run = AssociationRun(
            collection_id=collection_id,
            model_version_id=version.id,
            linkage=linkage,
            threshold=threshold,
            window_s=request.window_s,
            instants_apart=request.instants_apart,
            dry_run=request.dry_run,
            state="waiting",
            found={},
            undo={},
        )
        self._runs.add(run)
        run.job_id = JobService(self._session).create("association", {"association": run.id}).id
        return run

    def undo(self, run_id: int, actor: str | None = None) -> AssociationRun:
        """Take a run back: all of it in this unit of work. What people did to its identities since stays.

        Raises:
            AssociationNotFoundError: there is none.
            AssociationRunningError: its job has not ended.
            AssociationUndoneError: it was undone already.
        """
        run = self.find(run_id)
        if run.state == "undone":
            raise AssociationUndoneError(f"association run {run_id} was undone already")
        job = JobRepository(self._session).get(run.job_id) if run.job_id is not None else None
        if job is not None and job.state not in FINAL:
            raise AssociationRunningError(f"its job {job.id} is {job.state}; wait for it, or cancel it first")
        run.undo = IdentityChanges(self._session, actor).undo_run(run_id).to_dict()
        run.state, run.undone_at = "undone", now()
        return run
