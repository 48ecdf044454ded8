"""All SQL about collections."""

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.database.tables import Collection, Image


class CollectionRepository:
    """Reads and writes collections."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def by_name(self, name: str) -> Collection | None:
        """The collection of a name."""
        return self._session.scalars(select(Collection).where(Collection.name == name)).one_or_none()

    def add(self, name: str) -> int:
        """Insert a collection and return its id."""
        return int(self._session.scalars(insert(Collection).returning(Collection.id), [{"name": name}]).one())

    def all(self) -> list[tuple[Collection, int]]:
        """Every collection with the number of its images, oldest first."""
        counts = select(Image.collection_id, func.count().label("images")).group_by(Image.collection_id).subquery()
        statement = select(Collection, func.coalesce(counts.c.images, 0)).outerjoin(
            counts, counts.c.collection_id == Collection.id
        )
        return [(row, int(images)) for row, images in self._session.execute(statement.order_by(Collection.id))]
