"""What the API says about model versions."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from app.database.tables import ModelVersion

Status = Literal["active", "ready", "incomplete"]


class ModelOut(BaseModel):
    """A model version. `incomplete`: `missing` images of the gallery have no vector under it yet.

    `calibration`: what was learnt about its scores; without the section `association`, images can only be grouped at a
    threshold that the request names."""

    id: int
    name: str
    status: Status
    missing: int
    method: str
    backbone: str
    fingerprint: str
    metrics: dict[str, Any]
    calibration: dict[str, Any]
    created_at: datetime
    activated_at: datetime | None

    @classmethod
    def of(cls, row: ModelVersion, *, active: bool, missing: int) -> "ModelOut":
        """Describe a row."""
        return cls(
            id=row.id,
            name=row.name,
            status="active" if active else "incomplete" if missing else "ready",
            missing=missing,
            method=str(row.spec.get("method")),
            backbone=str(row.spec.get("backbone")),
            fingerprint=row.fingerprint,
            metrics=row.metrics,
            calibration=row.calibration or {},
            created_at=row.created_at,
            activated_at=row.activated_at,
        )


class ModelList(BaseModel):
    """Every model version, oldest first."""

    models: list[ModelOut]
