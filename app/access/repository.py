"""All SQL about keys."""

from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from app.database.tables import AccessKey, AccessKeyCollection, Collection


class KeyRepository:
    """Reads and writes keys."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def exists(self) -> bool:
        """Whether a key was ever created: revoking the last one does not open the door."""
        return self._session.scalar(select(func.count()).select_from(AccessKey)) != 0

    def by_prefix(self, prefix: str) -> AccessKey | None:
        """The key with a prefix."""
        return self._session.scalars(select(AccessKey).where(AccessKey.prefix == prefix)).one_or_none()

    def find(self, key_id: int) -> AccessKey | None:
        """The key with an id."""
        return self._session.get(AccessKey, key_id)

    def all(self) -> list[AccessKey]:
        """Every key, oldest first, revoked ones too."""
        return list(self._session.scalars(select(AccessKey).order_by(AccessKey.id)))

    def names(self) -> dict[int, str]:
        """What each key is called, by id; revoked ones too."""
        return {row.id: row.name for row in self._session.execute(select(AccessKey.id, AccessKey.name))}

    def collections(self, key_id: int) -> list[Collection]:
        """The collections that a key is limited to; none: it is not."""
        statement = (
            select(Collection)
            .join(AccessKeyCollection, AccessKeyCollection.collection_id == Collection.id)
            .where(AccessKeyCollection.key_id == key_id)
            .order_by(Collection.id)
        )
        return list(self._session.scalars(statement))

    def add(self, values: dict[str, object], collection_ids: list[int]) -> int:
        """Insert a key and return its id."""
        key_id = int(self._session.scalars(insert(AccessKey).returning(AccessKey.id), [values]).one())
        if collection_ids:
            rows = [{"key_id": key_id, "collection_id": number} for number in collection_ids]
            self._session.execute(insert(AccessKeyCollection), rows)
        return key_id

    def revoke(self, key_id: int, at: datetime) -> None:
        """Note that a key is no longer valid."""
        self._session.execute(
            update(AccessKey).where(AccessKey.id == key_id, AccessKey.revoked_at.is_(None)).values(revoked_at=at)
        )

    def replace(self, key_id: int, prefix: str, digest: str) -> None:
        """Give a key another secret."""
        self._session.execute(update(AccessKey).where(AccessKey.id == key_id).values(prefix=prefix, digest=digest))

    def used(self, key_id: int, at: datetime) -> None:
        """Note when a key was used."""
        self._session.execute(update(AccessKey).where(AccessKey.id == key_id).values(last_used_at=at))
