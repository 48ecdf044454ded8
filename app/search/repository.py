"""All SQL of a search: which images lie in its scope, whose they are, and what the answer says of them."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal_column, select
from sqlalchemy.orm import Session

from app.database.packed import IDS, Prepared, among, document, joined, numbers, packed, rows, unpacked
from app.database.tables import Collection, Identity, Image
from app.identities.schemas import image_addresses
from app.search.conditions import conditions
from app.search.scope import Scope


def _named(**columns: ColumnElement[Any]) -> document:
    return document(*(part for name, column in columns.items() for part in (literal_column(f"'{name}'"), column)))


def _columns(*columns: Any) -> dict[str, ColumnElement[Any]]:  # noqa: ANN401  columns of a table are typed as values
    return {column.key: column for column in columns}


def _address(template: str) -> ColumnElement[str]:
    before, after = template.split("0")
    return literal_column(f"'{before}'", Text) + cast(Image.id, Text) + literal_column(f"'{after}'", Text)


_OWNERS = select(packed(Image.id, Image.identity_id)).select_from(Image)
_OF_IMAGES = Prepared(_OWNERS.where(among(Image.id, IDS)))
_OF_IDENTITIES = Prepared(_OWNERS.where(among(Image.identity_id, IDS)))
_NEWEST = Prepared(select(func.coalesce(func.max(Image.id), 0)))
_IMAGE = _named(
    **_columns(Image.id, Image.identity_id),
    collection=Collection.name.expression,
    **_columns(Image.width, Image.height, Image.camera, Image.captured_at, Image.track, Image.description),
    **_columns(Image.attributes, Image.source_name, Image.near_duplicate_of, Image.created_at),
    **{name: _address(template) for name, template in image_addresses(0).items()},
)
_IDENTITY = _named(
    **_columns(Identity.id, Identity.external_id, Identity.attributes, Identity.provisional, Identity.created_at)
)
_PAGE = Prepared(
    select(joined(Image.id, _IMAGE, _IDENTITY))
    .select_from(Image)
    .join(Identity, Identity.id == Image.identity_id)
    .join(Collection, Collection.id == Image.collection_id)
    .where(among(Image.id, IDS))
)


class SearchRepository:
    """Reads the images of one scope."""

    def __init__(self, session: Session, scope: Scope) -> None:
        self._session = session
        dialect, bounds = session.get_bind().dialect.name, _bounds(scope)
        self._all = [*bounds, *conditions(scope.filters, dialect)]
        self._of_given = [*bounds, *conditions(scope.filters, dialect, given=True)]

    def newest(self) -> int:
        """The id of the newest image of the gallery; 0 without one."""
        return int(_NEWEST.one(self._session)[0])

    def some(self, limit: int) -> dict[int, int]:
        """Images of the scope, at most `limit` of them: image id to identity id."""
        statement = select(Image.id, Image.identity_id).where(*self._all).limit(limit)
        return {row[0]: row[1] for row in self._session.execute(statement)}

    def identity_of(self, image_ids: Iterable[int]) -> dict[int, int]:
        """The identity of each of some images that exists and lies in the scope."""
        return self._owners(_OF_IMAGES, image_ids)

    def of_identities(self, identity_ids: Iterable[int]) -> dict[int, int]:
        """Every image of some identities that lies in the scope: image id to identity id."""
        return self._owners(_OF_IDENTITIES, identity_ids)

    def page(self, image_ids: Iterable[int]) -> dict[int, tuple[str, str]]:
        """`ImageOut` and its `IdentityOut` of some images that exist, each as JSON, by image id.

        The database writes them: to make objects of a page, to check them and to write them took longer than all else
        of a search.
        """
        found = _PAGE.one(self._session, ids=numbers(self._session, list(image_ids)))[0]
        return {int(image_id): (image, person) for image_id, image, person in rows(found)}

    def _owners(self, statement: Prepared, ids: Iterable[int]) -> dict[int, int]:
        values = {"ids": numbers(self._session, list(ids))}
        if self._of_given:
            limited = statement.statement.where(*self._of_given)
            found = self._session.execute(limited, values).scalar_one()
        else:
            found = statement.one(self._session, **values)[0]
        return {row[0]: row[1] for row in unpacked(found)}


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
