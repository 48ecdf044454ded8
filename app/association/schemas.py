"""What the API says about association."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.database.tables import DEFAULT_COLLECTION, NAME_CHARS, AssociationRun
from models.calibration import Linkage

RunState = Literal["waiting", "grouped", "undone"]


class AssociationRequest(BaseModel):
    """How to group the images of a collection that nobody has named.

    What an identity has already stays together: tracks, merges, earlier runs. Identities with a name are never
    touched, and what somebody split is not joined directly again. Without a threshold the one of the active model
    version's calibration is taken.
    """

    model_config = ConfigDict(extra="forbid")

    collection: str = Field(default=DEFAULT_COLLECTION, max_length=NAME_CHARS)
    threshold: Annotated[float, Field(gt=-1, lt=1)] | None = None
    """Cosine from which on two groups are one person."""
    linkage: Linkage | None = None
    """What counts of two groups: the `average` over their pairs of identities, or the least similar pair
    (`complete`). Only together with a threshold."""
    window_s: Annotated[float, Field(gt=0, le=1e10)] | None = None
    """Camera metadata: one person's images lie within so many seconds (a visit). Images without a time may join
    anyone."""
    instants_apart: bool = False
    """Camera metadata: two images that one camera took at the same instant show two people. Only where the times are
    exact: not with times that are rounded, or days alone."""
    dry_run: bool = False
    """Only count: nothing is merged."""


class AssociationFound(BaseModel):
    """What the grouping found. `sizes`: number of persons by number of images, those of one image included."""

    images: int = 0
    identities: int = 0
    persons: int = 0
    groups: int = 0
    """Persons of more than one identity: what is to be merged."""
    without_vector: int = 0
    """Images that are not encoded under the version, and were not looked at."""
    cut: int = 0
    """Parts that were too large to be grouped exactly, and were cut apart at a stricter threshold first."""
    crowded_instants: int = 0
    """Instants of one camera with so many images that `instants_apart` does not believe them."""
    sizes: dict[int, int] = {}


class AssociationUndo(BaseModel):
    """What an undo did; `deleted`, `moved` and `kept` (the person was named meanwhile) images were left alone."""

    identities: int = 0
    images: int = 0
    deleted: int = 0
    moved: int = 0
    kept: int = 0
    names_taken: int = 0


class AssociationOut(BaseModel):
    """A run. `found` is complete when the state is `grouped`; how far it is applied, the job says."""

    id: int
    job_id: str | None
    state: RunState
    collection: str | None
    model_version_id: int
    threshold: float
    linkage: Linkage
    window_s: float | None
    instants_apart: bool
    dry_run: bool
    found: AssociationFound
    undo: AssociationUndo | None
    created_at: datetime
    undone_at: datetime | None

    @classmethod
    def of(cls, row: AssociationRun, collection: str | None) -> "AssociationOut":
        """Describe a row of a collection of that name, if it still exists."""
        plain = ("id", "job_id", "state", "model_version_id", "threshold", "linkage", "window_s", "instants_apart")
        values: dict[str, Any] = {name: getattr(row, name) for name in (*plain, "dry_run", "created_at", "undone_at")}
        return cls.model_validate(
            values | {"collection": collection, "found": row.found, "undo": row.undo if row.undone_at else None}
        )


class AssociationList(BaseModel):
    """A page of runs, newest first; `next_before` asks for the one after it."""

    runs: list[AssociationOut]
    next_before: int | None
