"""Collections within one unit of work."""

from sqlalchemy.orm import Session

from app.collections.repository import CollectionRepository
from app.collections.schemas import CollectionOut
from app.database.tables import NAME_CHARS
from app.database.visible import limited
from app.errors import CollectionNameError, CollectionNameTakenError, CollectionNotFoundError
from app.values import check_text


class CollectionService:
    """Finds and makes collections. What makes them belongs into a `Database.write` block."""

    def __init__(self, session: Session) -> None:
        self._collections = CollectionRepository(session)

    def find(self, name: str) -> int:
        """The id of a collection.

        Raises:
            CollectionNotFoundError: none has the name.
        """
        # No text that could not have been stored may reach the database: drivers refuse it in their own ways.
        try:
            row = self._collections.by_name(_checked(name))
        except CollectionNameError:
            row = None
        if row is None:
            raise CollectionNotFoundError(name)
        return row.id

    def resolve(self, name: str) -> int:
        """The id of a collection, which is made if it does not exist.

        Raises:
            CollectionNameError: the text cannot be a name.
            CollectionNotFoundError: whoever asks is limited to some collections, and this is none of them.
        """
        name = _checked(name)
        row = self._collections.by_name(name)
        if row is None and limited():
            raise CollectionNotFoundError(name)
        return self._collections.add(name) if row is None else row.id

    def create(self, name: str) -> CollectionOut:
        """Make a collection.

        Raises:
            CollectionNameError: the text cannot be a name.
            CollectionNameTakenError: it exists.
        """
        name = _checked(name)
        if limited():
            raise CollectionNotFoundError(name)
        if self._collections.by_name(name) is not None:
            raise CollectionNameTakenError(name)
        self._collections.add(name)
        return next(found for found in self.all() if found.name == name)

    def all(self) -> list[CollectionOut]:
        """Every collection, oldest first."""
        return [
            CollectionOut(id=row.id, name=row.name, images=images, created_at=row.created_at)
            for row, images in self._collections.all()
        ]


def _checked(name: str) -> str:
    try:
        checked = check_text(name, "name", NAME_CHARS)
    except ValueError as error:
        raise CollectionNameError(f"this cannot be the name of a collection: {error}") from None
    if checked is None or not checked.isprintable():
        raise CollectionNameError("the name of a collection needs a character that can be seen, and no others")
    return checked
