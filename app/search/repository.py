"""All SQL of a search: which images lie in its scope, and whose they are."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, func, select
from sqlalchemy.orm import Session

from app.database.packed import attributes, instant, packed, unpacked
from app.database.tables import Collection, Identity, Image
from app.gallery.repository import pieces
from app.identities.schemas import image_addresses
from app.search.conditions import conditions
from app.search.scope import Scope

# Every search asks these. They are made once, for making a statement takes as long as asking it.
_IDS: BindParameter[int] = bindparam("ids", expanding=True)
_OWNERS = select(packed(Image.id, Image.identity_id)).select_from(Image)
_OF_IMAGES, _OF_IDENTITIES = _OWNERS.where(Image.id.in_(_IDS)), _OWNERS.where(Image.identity_id.in_(_IDS))
_NEWEST = select(func.coalesce(func.max(Image.id), 0))
_IMAGE = (
    *(Image.id, Image.identity_id, Image.width, Image.height, Image.camera, Image.captured_at, Image.track),
    *(Image.description, Image.attributes, Image.source_name, Image.near_duplicate_of, Image.created_at),
)
_IDENTITY = (Identity.id, Identity.external_id, Identity.attributes, Identity.provisional, Identity.created_at)
_PAGE = (
    select(packed(*_IMAGE, Collection.name, *_IDENTITY))
    .select_from(Image)
    .join(Identity, Identity.id == Image.identity_id)
    .join(Collection, Collection.id == Image.collection_id)
    .where(Image.id.in_(_IDS))
)
_IMAGE_FIELDS = (*(column.key for column in _IMAGE), "collection")
_IDENTITY_FIELDS = tuple(column.key for column in _IDENTITY)
_PERSON = len(_IMAGE_FIELDS)
"""Where the identity begins in a row."""

Fields = dict[str, Any]


class SearchRepository:
    """Reads the images of one scope."""

    def __init__(self, session: Session, scope: Scope) -> None:
        self._session = session
        dialect, bounds = session.get_bind().dialect.name, _bounds(scope)
        self._all = [*bounds, *conditions(scope.filters, dialect)]
        self._of_given = [*bounds, *conditions(scope.filters, dialect, given=True)]

    def newest(self) -> int:
        """The id of the newest image of the gallery; 0 without one."""
        return int(self._session.execute(_NEWEST).scalar_one())

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

    def page(self, image_ids: Iterable[int]) -> dict[int, tuple[Fields, Fields]]:
        """The fields of `ImageOut` and of its `IdentityOut` of some images that exist, by image id.

        No objects: to make those of a page took longer than all else of a search.
        """
        found: dict[int, tuple[Fields, Fields]] = {}
        people: dict[int, Fields] = {}
        for part in pieces(image_ids):
            for row in unpacked(self._session, _PAGE, ids=part):
                image = _fields(_IMAGE_FIELDS, row) | image_addresses(row[0])
                image["captured_at"] = instant(image["captured_at"])
                if (person := people.get(row[_PERSON])) is None:
                    person = people[row[_PERSON]] = _fields(_IDENTITY_FIELDS, row[_PERSON:])
                found[row[0]] = image, person
        return found

    def _owners(self, statement: Select[str], ids: Iterable[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        limited = statement.where(*self._of_given) if self._of_given else statement
        for part in pieces(ids):
            found.update((row[0], row[1]) for row in unpacked(self._session, limited, ids=part))
        return found


def _fields(names: tuple[str, ...], row: list[Any]) -> Fields:
    found = dict(zip(names, row, strict=False))
    found["attributes"], found["created_at"] = attributes(found["attributes"]), instant(found["created_at"])
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
