"""Model versions within one unit of work: registering, listing, and who may answer."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from app.database.tables import NAME_CHARS, ModelVersion
from app.errors import InvalidError, ModelNameTakenError, ModelNotFoundError, ModelRefusedError
from app.gallery.repository import ImageRepository
from app.jobs.order import OVERTAKEN
from app.jobs.repository import JobRepository
from app.registry.repository import ModelRepository
from app.registry.schemas import ModelList, ModelOut
from app.settings import Settings
from app.vectors.repository import LogRepository

if TYPE_CHECKING:
    from models.checkpoint import CheckpointInfo  # with PyTorch behind it, which a worker that waits does without

_REMAINDER = 32


def remainder(settings: Settings) -> int:
    """Most images that a version may lack and still be switched to at once. They are encoded within the write lock,
    which nobody else has meanwhile: seconds, at worst."""
    return min(_REMAINDER, settings.ingest_chunk)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a version comes from.

    Attributes:
        recipe: what it was trained with.
        data_fingerprint: hex digest of what it was trained on, at most 64 characters.
        parent_id: the version that it was trained from.
        job_id: the retraining that made it.
        metrics: figures on a held-out split.
        candidate: whether a gate has to judge it before it may be activated.
    """

    recipe: dict[str, Any] | None = None
    data_fingerprint: str | None = None
    parent_id: int | None = None
    job_id: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    candidate: bool = False


OUTSIDE = Origin()
"""Of a checkpoint that somebody brings."""


class ModelService:
    """Model versions within one unit of work."""

    def __init__(self, session: Session) -> None:
        self._models = ModelRepository(session)
        self._images = ImageRepository(session)
        self._jobs = JobRepository(session)
        self._log = LogRepository(session)

    def find(self, wanted: int | str) -> ModelVersion:
        """A version by id or name.

        Raises:
            ModelNotFoundError: there is none.
        """
        by_id = self._models.get(int(wanted)) if str(wanted).isdecimal() and len(str(wanted)) < 19 else None
        found = by_id or self._models.by_name(str(wanted))
        if found is None:
            raise ModelNotFoundError(wanted)
        return found

    def describe(self, row: ModelVersion) -> ModelOut:
        """A version with its present status."""
        active = self._log.head().active_version_id == row.id
        return ModelOut.of(row, active=active, encoding=row.id in self.encoding(), missing=self.missing(row))

    def missing(self, row: ModelVersion) -> int:
        """How many images lack a vector in the space in which most do: counted apart, which a million images allow."""
        return self._images.count() - min(self._log.count(row.id, space) for space in row.stored_spaces)

    def all(self) -> list[ModelOut]:
        """Every version with its present status, oldest first."""
        return [self.describe(row) for row in self._models.all()]

    def listed(self) -> ModelList:
        """`all`, with who answers and who would after a rollback."""
        predecessor = self.predecessor()
        return ModelList(
            models=self.all(),
            active_id=self._log.head().active_version_id,
            predecessor_id=None if predecessor is None else predecessor.id,
        )

    def encoding(self, *, to_activate: bool = False) -> set[int]:
        """Versions that an open job encodes; on request only those that it will then activate."""
        jobs = [job.parameters for job in self._jobs.open() if job.kind == "indexing"]
        return {
            found["version"]
            for found in jobs
            if not found.get("rebuild") and ((found.get("activate") and OVERTAKEN not in found) or not to_activate)
        }

    def predecessor(self) -> ModelVersion | None:
        """The version that answered before the active one: where a rollback goes."""
        former = self._models.former(self._log.head().active_version_id)
        return former[0] if former else None

    def admitted(self, version_id: int, *, despite_gate: bool = False) -> ModelVersion:
        """A version that may be activated.

        Raises:
            ModelNotFoundError: there is none.
            ModelRefusedError: the gate refused it, or has not judged it, and nobody insists.
        """
        row = self.find(version_id)
        if row.standing != "registered" and not despite_gate:
            why = "was refused by its gate" if row.standing == "refused" else "has not been judged by its gate yet"
            raise ModelRefusedError(
                f"model version {row.id} ({row.name}) {why}; look at what was measured, and activate it with "
                "`despite_gate` (--despite-gate) if you want it all the same"
            )
        return row

    def judge(self, version_id: int, *, accepted: bool, gate: dict[str, Any]) -> ModelVersion:
        """Write down what a gate found, and whether the candidate may be activated.

        Raises:
            ModelNotFoundError: there is no such version.
        """
        row = self.find(version_id)
        self._models.change(version_id, standing="registered" if accepted else "refused", gate=gate)
        self._models.refresh(row)
        return row

    def register(self, info: "CheckpointInfo", name: str, origin: Origin = OUTSIDE) -> ModelVersion:
        """Make a row for a checkpoint that `adopt` copied. The same checkpoint again gives its present row, with the
        calibration that it has now, if it has one; where it came from first stays.

        Raises:
            ModelNameTakenError: another version has the name.
        """
        if present := self._models.by_fingerprint(info.fingerprint):
            if info.calibration:
                self._models.calibrate(present.id, info.calibration)
                self._models.refresh(present)
            return present
        if not name.strip() or len(name) > NAME_CHARS:
            raise InvalidError(f"a model name has 1 to {NAME_CHARS} characters")
        if self._models.by_name(name):
            raise ModelNameTakenError(f"another model version is called {name!r}; choose a name with --name")
        version_id = self._models.add(
            name=name,
            fingerprint=info.fingerprint,
            spec=info.spec.to_dict(),
            folder=info.path.name,
            metrics=origin.metrics,
            calibration=info.calibration,
            standing="candidate" if origin.candidate else "registered",
            recipe=origin.recipe,
            data_fingerprint=origin.data_fingerprint,
            parent_id=origin.parent_id,
            job_id=origin.job_id,
        )
        return self.find(version_id)
