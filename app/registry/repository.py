"""All SQL about model versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.orm import Session

from app.database.tables import Embedding, ModelVersion, now


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

    def former(self, active_id: int | None) -> list[ModelVersion]:
        """Versions that have answered and do not now, the last one first. The first is the one to roll back to."""
        statement = select(ModelVersion).where(ModelVersion.activated_at.is_not(None))
        if active_id is not None:
            statement = statement.where(ModelVersion.id != active_id)
        return list(self._session.scalars(statement.order_by(ModelVersion.activated_at.desc(), ModelVersion.id.desc())))

    def before(self, active_id: int) -> tuple[int, datetime | None] | None:
        """The id of the first of `former`, and when it was retired. Servers ask every second."""
        columns = select(ModelVersion.id, ModelVersion.retired_at).where(ModelVersion.activated_at.is_not(None))
        latest = (ModelVersion.activated_at.desc(), ModelVersion.id.desc())
        row = self._session.execute(columns.where(ModelVersion.id != active_id).order_by(*latest).limit(1)).first()
        return None if row is None else (row.id, row.retired_at)

    def calibration(self, version_id: int) -> dict[str, Any]:
        """What is known of a version's scores, alone."""
        found = self._session.scalar(select(ModelVersion.calibration).where(ModelVersion.id == version_id))
        return found or {}

    def has_vectors(self, version_id: int) -> bool:
        """Whether any image is encoded for a version."""
        return bool(self._session.scalar(select(exists().where(Embedding.model_version_id == version_id))))

    def add(self, **columns: Any) -> int:  # noqa: ANN401  columns of the table
        """Insert a version and return its id."""
        return int(self._session.scalars(insert(ModelVersion).returning(ModelVersion.id), [columns]).one())

    def mark_activated(self, version_id: int) -> None:
        """Note when a version became active."""
        self.change(version_id, activated_at=now())

    def change(self, version_id: int, **columns: Any) -> None:  # noqa: ANN401  columns of the table
        """Replace what is known of a version."""
        self._session.execute(update(ModelVersion).where(ModelVersion.id == version_id).values(**columns))

    def calibrate(self, version_id: int, calibration: dict[str, Any]) -> None:
        """Replace what is known of a version's scores."""
        self.change(version_id, calibration=calibration)

    def delete(self, version_id: int) -> None:
        """Remove a version; its vectors must be gone."""
        self._session.execute(delete(ModelVersion).where(ModelVersion.id == version_id))

    def refresh(self, row: ModelVersion) -> None:
        """Read a row again."""
        self._session.refresh(row)
