"""All SQL about rules of retention."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, insert, or_, select
from sqlalchemy.orm import Session

from app.database.privacy import RetentionRule
from app.database.tables import Collection, Image


class RetentionRepository:
    """Reads and replaces rules, and finds what they say is due."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def all(self) -> list[tuple[str, str | None, int]]:
        """Every rule: name of the collection, camera or None, days."""
        statement = select(Collection.name, RetentionRule.camera, RetentionRule.days)
        statement = statement.join(Collection, Collection.id == RetentionRule.collection_id)
        order = (Collection.name, RetentionRule.camera.nulls_first())
        return [(row[0], row[1], row[2]) for row in self._session.execute(statement.order_by(*order))]

    def put(self, collection_id: int, camera: str | None, days: int | None) -> None:
        """Set a rule; None takes it away."""
        same = RetentionRule.camera.is_(None) if camera is None else RetentionRule.camera == camera
        self._session.execute(delete(RetentionRule).where(RetentionRule.collection_id == collection_id, same))
        if days is not None:
            row = {"collection_id": collection_id, "camera": camera, "days": days}
            self._session.execute(insert(RetentionRule), [row])

    def has_images(self, collection_id: int, camera: str) -> bool:
        """Whether any image is of that camera, in that collection."""
        wanted = select(Image.id).where(Image.collection_id == collection_id, Image.camera == camera).limit(1)
        return self._session.execute(wanted).first() is not None

    def clear(self) -> None:
        """Take every rule away."""
        self._session.execute(delete(RetentionRule))

    def rules(self) -> list[RetentionRule]:
        """Every rule, as rows."""
        return list(self._session.scalars(select(RetentionRule).order_by(RetentionRule.id)))

    def due(self, rule: RetentionRule, at: datetime, limit: int) -> list[int]:
        """The oldest images that a rule says have been kept long enough, up to a number of them."""
        statement = select(Image.id).where(*self._where(rule, at)).order_by(Image.id).limit(limit)
        return list(self._session.scalars(statement))

    def count(self, rule: RetentionRule, at: datetime) -> int:
        """How many images a rule says are due."""
        statement = select(func.count()).select_from(Image).where(*self._where(rule, at))
        return int(self._session.execute(statement).scalar_one())

    def _where(self, rule: RetentionRule, at: datetime) -> tuple[ColumnElement[bool], ...]:
        taken = func.coalesce(Image.captured_at, Image.created_at, type_=Image.created_at.type)
        old = taken < at - timedelta(days=rule.days)
        if rule.camera is not None:
            return (Image.collection_id == rule.collection_id, Image.camera == rule.camera, old)
        own = select(RetentionRule.camera).where(
            RetentionRule.collection_id == rule.collection_id, RetentionRule.camera.is_not(None)
        )
        return (Image.collection_id == rule.collection_id, or_(Image.camera.is_(None), Image.camera.not_in(own)), old)
