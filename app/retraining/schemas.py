"""What the API says about retraining."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.database.tables import NAME_CHARS
from app.retraining.gate import Policy

Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda)$")]


class DatasetIn(BaseModel):
    """A data set on the server: a folder of DESCRY_DATASETS_DIR, in a format that `descry datasets formats` lists."""

    model_config = ConfigDict(extra="forbid")

    format: str = Field(pattern=r"^[a-z0-9_]+$")
    folder: str = Field(min_length=1, max_length=500)


class BenchmarkIn(DatasetIn):
    """A split on which the candidate must not lose."""

    split: Literal["train", "val", "test"] = "test"


class NewRetraining(BaseModel):
    """A retraining on the images of the gallery that have a description.

    Identities are for the held-out measurements; DGCMIA, the method unless another one is named, trains without them.
    """

    model_config = ConfigDict(extra="forbid")

    recipe: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9._-]+$", description="A shipped recipe; by the base's backbone if absent."
    )
    method: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$", description="Instead of the recipe's.")
    set: list[str] = Field(default=[], max_length=100, description="Overrides of the recipe: section.field=value.")
    base: int | None = Field(default=None, ge=1, description="Model version to go on from; the active one if absent.")
    collections: list[str] | None = Field(default=None, min_length=1, description="Of the gallery; all if absent.")
    datasets: list[DatasetIn] = Field(default=[], max_length=20, description="Trained on beside the gallery.")
    feedback: bool = Field(
        default=False,
        description="Train also on the words of queries, as descriptions of the candidates that were confirmed. People "
        "who are held out get none.",
    )
    benchmarks: list[BenchmarkIn] = Field(
        default=[], max_length=20, description="Protected beside those of DESCRY_PROTECTED_SPLITS."
    )
    policy: Policy = Policy()
    activate: Literal["auto", "manual"] = Field(default="manual", description="Whether an accepted candidate answers.")
    name: str | None = Field(default=None, min_length=1, max_length=NAME_CHARS, description="Of the candidate.")
    device: Device = "auto"
    processes: int = Field(default=1, ge=1, le=64, description="Training processes of this machine.")
    dry_run: bool = Field(default=False, description="Check everything and estimate; queue nothing.")


class RetrainingPlan(BaseModel):
    """What a retraining would be.

    `images`: images of the gallery by side: those that are described, and with `feedback` confirmed candidates of
    queries in words. `pairs`: image-text pairs that are trained on, those of further data sets too. `seconds`: of its
    steps, at the pace of the last retraining of its kind (`recorded`) or of a step that was tried now (`measured`);
    null if neither could be had. `disk_bytes`: about what its folder will take.
    """

    recipe: str
    method: str
    base: int
    images: dict[str, int]
    identities: int
    pairs: int
    batch: int
    epochs: int
    steps: int
    seconds: float | None
    seconds_from: Literal["recorded", "measured"] | None
    disk_bytes: int
    disk_free_bytes: int
    command: dict[str, Any] = Field(description="What the job would be given.")
