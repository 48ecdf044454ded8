"""All SQL of a search: which images lie in its scope, and whose they are."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.database.tables import Image
from app.gallery.repository import pieces
from app.search.conditions import conditions
from app.search.scope import Scope


class SearchRepository:
    """Reads the images of one scope."""

    def __init__(self, session: Session, scope: Scope) -> None:
        self._session = session
        dialect, bounds = session.get_bind().dialect.name, _bounds(scope)
        self._all = [*bounds, *conditions(scope.filters, dialect)]
        self._of_given = [*bounds, *conditions(scope.filters, dialect, given=True)]

    def newest(self) -> int:
        """The id of the newest image of the gallery; 0 without one."""
        return int(self._session.execute(select(func.coalesce(func.max(Image.id), 0))).scalar_one())

    def some(self, limit: int) -> dict[int, int]:
        """Images of the scope, at most `limit` of them: image id to identity id."""
        statement = select(Image.id, Image.identity_id).where(*self._all).limit(limit)
        return {row[0]: row[1] for row in self._session.execute(statement)}

    def identity_of(self, image_ids: Iterable[int]) -> dict[int, int]:
        """The identity of each of some images that exists and lies in the scope."""
        found: dict[int, int] = {}
        for part in pieces(image_ids):
            statement = select(Image.id, Image.identity_id).where(Image.id.in_(part), *self._of_given)
            found.update((row.id, row.identity_id) for row in self._session.execute(statement))
        return found

    def of_identities(self, identity_ids: Iterable[int]) -> dict[int, int]:
        """Every image of some identities that lies in the scope: image id to identity id."""
        found: dict[int, int] = {}
        for part in pieces(identity_ids):
            statement = select(Image.id, Image.identity_id).where(Image.identity_id.in_(part), *self._of_given)
            found.update((row.id, row.identity_id) for row in self._session.execute(statement))
        return found


def _bounds(scope: Scope) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if scope.collection_id is not None:
        found.append(Image.collection_id == scope.collection_id)
    if scope.newest is not None:
        found.append(Image.id <= scope.newest)
    if scope.without_images:
        found.append(Image.id.not_in(scope.without_images))
    if scope.without_identities:
        found.append(Image.identity_id.not_in(scope.without_identities))
    return found
