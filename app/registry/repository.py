"""All SQL about model versions."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.database.tables import Embedding, Identity, Image, ModelVersion, now
from app.gallery.repository import pieces


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
        """Note when a version became active, or was asked for again while it is."""
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


@dataclass(frozen=True, slots=True)
class Described:
    """An image with a description, and whom it shows."""

    image_id: int
    identity_id: int
    description: str


class KnownRepository:
    """Reads images of which it is known whom they show: somebody named the person, or a retraining went by it.

    Of the others two may show one person without anybody having said so. A near-duplicate of another picture of its
    person is left out: it is found by that one, which says nothing.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def described(self, *, held_out: bool, most: int) -> list[Described]:
        """Images with a description of people whom no retraining was trained on, or else of people with a name.

        Whole people, evenly over the gallery, with about `most` images together.
        """
        side = Image.split.in_(("val", "test")) if held_out else Identity.provisional.is_(False)
        where = (~_again(), Image.description.is_not(None), Image.description != "", side)
        statement = select(Image.id, Image.identity_id, Image.description)
        statement = statement.join(Identity, Identity.id == Image.identity_id)
        statement = statement.where(*where, self._some(most, *where)).order_by(Image.id)
        return [Described(row[0], row[1], str(row[2])) for row in self._session.execute(statement)]

    def images(self, *, most: int, people: Collection[int]) -> dict[int, int]:
        """Image id to identity id: whole people, evenly over the gallery, with about `most` images; and some people.

        Of the same bytes in several collections, one image.
        """
        known = or_(Identity.provisional.is_(False), Image.split.is_not(None))
        where = (~_again(), known)
        statement = select(Image.id, Image.identity_id, Image.sha256)
        statement = statement.join(Identity, Identity.id == Image.identity_id).order_by(Image.id)
        choices = [self._some(most, *where), *(Image.identity_id.in_(part) for part in pieces(people))]
        found = {row.id: row for choice in choices for row in self._session.execute(statement.where(*where, choice))}
        first: dict[str, int] = {}
        for image_id in sorted(found):
            first.setdefault(found[image_id].sha256, image_id)
        return {image_id: found[image_id].identity_id for image_id in first.values()}

    def _some(self, most: int, *where: ColumnElement[bool]) -> ColumnElement[bool]:
        count = select(func.count()).select_from(Image).join(Identity, Identity.id == Image.identity_id).where(*where)
        step = max(1, -(-int(self._session.execute(count).scalar_one()) // most))
        return Image.identity_id % step == 0


def _again() -> ColumnElement[bool]:
    original = aliased(Image)
    return exists().where(original.id == Image.near_duplicate_of, original.identity_id == Image.identity_id)
