"""All SQL about model versions."""

from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.database.tables import ModelVersion, now


class ModelRepository:
    """Reads and writes model versions."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, version_id: int) -> ModelVersion | None:
        """One version."""
        return self._session.get(ModelVersion, version_id)

    def by_name(self, name: str) -> ModelVersion | None:
        """The version of a name."""
        return self._session.scalars(select(ModelVersion).where(ModelVersion.name == name)).one_or_none()

    def by_fingerprint(self, fingerprint: str) -> ModelVersion | None:
        """The version whose checkpoint has a fingerprint."""
        return self._session.scalars(select(ModelVersion).where(ModelVersion.fingerprint == fingerprint)).one_or_none()

    def all(self) -> list[ModelVersion]:
        """Every version, oldest first."""
        return list(self._session.scalars(select(ModelVersion).order_by(ModelVersion.id)))

    def add(self, **columns: Any) -> int:  # noqa: ANN401  columns of the table
        """Insert a version and return its id."""
        return int(self._session.scalars(insert(ModelVersion).returning(ModelVersion.id), [columns]).one())

    def mark_activated(self, version_id: int) -> None:
        """Note when a version became active."""
        self._session.execute(update(ModelVersion).where(ModelVersion.id == version_id).values(activated_at=now()))

    def calibrate(self, version_id: int, calibration: dict[str, Any]) -> None:
        """Replace what is known of a version's scores."""
        statement = update(ModelVersion).where(ModelVersion.id == version_id).values(calibration=calibration)
        self._session.execute(statement)

    def refresh(self, row: ModelVersion) -> None:
        """Read a row again."""
        self._session.refresh(row)
