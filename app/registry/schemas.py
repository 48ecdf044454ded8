"""What the API says about model versions."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.database.tables import ModelVersion

Status = Literal["registered", "candidate", "refused", "encoding", "ready", "active", "retired"]
Standing = Literal["registered", "candidate", "refused"]


class ModelOut(BaseModel):
    """A model version.

    `status`: `candidate` waits for its gate, which makes it `registered` or `refused`. A `registered` version may be
    activated: it is `encoding` while a job does that, `ready` when every image of the gallery has its vectors, `active`
    when it answers. Once its vectors were removed to save room it is `retired`, and can be activated like a registered
    one. `missing`: images of the gallery that lack a vector under it.

    `calibration`: what was learnt about its scores. Without the section `association`, images can only be grouped at a
    threshold that the request names; without `confidence`, answers have none. An activation that encodes learns that
    on the gallery; `uncalibrated` says why it could not."""

    id: int
    name: str
    status: Status
    missing: int
    method: str
    backbone: str
    fingerprint: str
    metrics: dict[str, Any]
    calibration: dict[str, Any]
    recipe: dict[str, Any] | None
    data_fingerprint: str | None
    parent_id: int | None = Field(description="The version that it was trained from.")
    job_id: str | None = Field(description="The retraining that made it.")
    gate: dict[str, Any] | None = Field(description="What the gate measured and decided.")
    created_at: datetime
    activated_at: datetime | None
    retired_at: datetime | None

    @classmethod
    def of(cls, row: ModelVersion, *, active: bool, encoding: bool, missing: int) -> "ModelOut":
        """Describe a row."""
        plain = ("id", "name", "fingerprint", "metrics", "recipe", "data_fingerprint", "parent_id", "job_id", "gate")
        return cls.model_validate(
            {
                **{name: getattr(row, name) for name in (*plain, "created_at", "activated_at", "retired_at")},
                "status": _status(row, active=active, encoding=encoding, missing=missing),
                "missing": missing,
                "method": str(row.spec.get("method")),
                "backbone": str(row.spec.get("backbone")),
                "calibration": row.calibration or {},
            }
        )


def _status(row: ModelVersion, *, active: bool, encoding: bool, missing: int) -> str:
    if active:
        return "active"
    if encoding:
        return "encoding"
    if row.standing != "registered":
        return row.standing
    if missing == 0:
        return "ready"
    return "retired" if row.retired_at is not None else "registered"


class ModelList(BaseModel):
    """Every model version, oldest first; the one that answers, and the one that a rollback would return to."""

    models: list[ModelOut]
    active_id: int | None
    predecessor_id: int | None


class ActivationIn(BaseModel):
    """How a version is activated."""

    model_config = ConfigDict(extra="forbid")

    despite_gate: bool = Field(default=False, description="Also a version that the gate refused, or has not judged.")
