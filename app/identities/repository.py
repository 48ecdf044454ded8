"""All SQL about identities, and the one query that fetches everything a page of answers shows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from app.database.tables import Identity, Image
from app.gallery.repository import pieces

Track = tuple[str | None, str | None]
"""Camera and the number that its tracker gave: one person, within a collection."""


@dataclass(frozen=True, slots=True)
class Shot:
    """When and where an image was taken.

    Attributes:
        place: collection id and camera. Cameras of different collections are different ones, whatever they are called.
        pixels: width x height.
    """

    image_id: int
    at: datetime | None
    place: tuple[int, str | None]
    pixels: int


class IdentityRepository:
    """Reads and writes identities."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, identity_id: int) -> Identity | None:
        """One identity."""
        return self._session.get(Identity, identity_id)

    def count(self) -> int:
        """Number of identities."""
        return int(self._session.execute(select(func.count()).select_from(Identity)).scalar_one())

    def by_external_id(self, external_id: str) -> Identity | None:
        """The identity with an external id."""
        return self._session.scalars(select(Identity).where(Identity.external_id == external_id)).one_or_none()

    def resolve(self, external_ids: Iterable[str]) -> dict[str, int]:
        """The identity of each external id; those that do not exist yet are made."""
        wanted = list(dict.fromkeys(external_ids))
        found: dict[str, int] = {}
        for part in pieces(wanted):
            statement = select(Identity.external_id, Identity.id).where(Identity.external_id.in_(part))
            for name, identity_id in self._session.execute(statement):
                found[str(name)] = identity_id
        new = [name for name in wanted if name not in found]
        found.update(zip(new, self._add(new), strict=True))
        return found

    def add_provisional(self, count: int) -> list[int]:
        """Make identities for pictures whose person nobody has named."""
        return self._add([None] * count)

    def of_tracks(self, tracks: Iterable[Track], collection_id: int) -> dict[Track, int]:
        """The identity that the next image of each track (camera, number) belongs to, for tracks that are known.

        It is the provisional one that the track's oldest image has. Where there is none, because a person was named,
        it is that of the newest image.
        """
        wanted = set(tracks)
        found: dict[Track, tuple[bool, int]] = {}
        for part in pieces({number for _, number in wanted}):
            statement = select(Image.camera, Image.track, Image.identity_id, Identity.provisional)
            statement = statement.join(Identity, Identity.id == Image.identity_id)
            where = (Image.collection_id == collection_id, Image.track.in_(part))
            for camera, number, identity_id, provisional in self._session.execute(
                statement.where(*where).order_by(Image.id)
            ):
                key = (camera, number)
                if key in wanted and not (key in found and found[key][0]):
                    found[key] = (provisional, identity_id)
        return {key: identity_id for key, (_, identity_id) in found.items()}

    def _add(self, external_ids: Sequence[str | None]) -> list[int]:
        if not external_ids:
            return []
        rows: list[dict[str, Any]] = [
            {"external_id": name, "attributes": {}, "provisional": name is None} for name in external_ids
        ]
        # In any order: in that of the rows, SQLite would get a statement for each of them.
        made = self._session.execute(insert(Identity).returning(Identity.external_id, Identity.id), rows).all()
        if external_ids[0] is None:
            return sorted(row.id for row in made)
        by_name = {row.external_id: row.id for row in made}
        return [by_name[name] for name in external_ids]

    def images(self, identity_id: int) -> list[Image]:
        """Every image of an identity, oldest first."""
        return list(self._session.scalars(select(Image).where(Image.identity_id == identity_id).order_by(Image.id)))

    def shots(self, identity_id: int, collection_id: int | None = None) -> list[Shot]:
        """When and where each image of an identity was taken, by time and id; those without a time come last."""
        columns = (Image.id, Image.captured_at, Image.collection_id, Image.camera, Image.width, Image.height)
        where = [Image.identity_id == identity_id]
        if collection_id is not None:
            where.append(Image.collection_id == collection_id)
        rows = self._session.execute(select(*columns).where(*where).order_by(Image.captured_at.nulls_last(), Image.id))
        return [Shot(row[0], row[1], (row[2], row[3]), row[4] * row[5]) for row in rows]

    def has_images(self, identity_id: int) -> bool:
        """Whether any image of an identity is left."""
        return (
            self._session.execute(select(Image.id).where(Image.identity_id == identity_id).limit(1)).first() is not None
        )

    def delete(self, *identity_ids: int) -> None:
        """Delete the rows of identities that have no images."""
        for part in pieces(identity_ids):
            self._session.execute(delete(Identity).where(Identity.id.in_(part)))

    def several(self, identity_ids: Iterable[int]) -> dict[int, Identity]:
        """Those of some identities that exist, by id."""
        found: dict[int, Identity] = {}
        for part in pieces(identity_ids):
            found.update((row.id, row) for row in self._session.scalars(select(Identity).where(Identity.id.in_(part))))
        return found

    def images_of(self, identity_ids: Iterable[int]) -> dict[int, list[int]]:
        """Ids of the images of each of some identities, ascending; those without images are left out."""
        found: dict[int, list[int]] = {}
        for part in pieces(identity_ids):
            statement = select(Image.id, Image.identity_id).where(Image.identity_id.in_(part)).order_by(Image.id)
            for image_id, identity_id in self._session.execute(statement):
                found.setdefault(identity_id, []).append(image_id)
        return found

    def move(self, owners: dict[int, int]) -> None:
        """Give images (by id) to identities."""
        if owners:
            rows = [{"id": image_id, "identity_id": identity_id} for image_id, identity_id in owners.items()]
            self._session.execute(update(Image), rows)

    def bring_back(self, rows: Sequence[dict[str, Any]]) -> None:
        """Insert identities that existed before, under their old ids (columns by name)."""
        if rows:
            self._session.execute(insert(Identity), list(rows))

    def page(self, image_ids: Iterable[int]) -> dict[int, tuple[Image, Identity]]:
        """Images with their identities, in one query for a page: by image id."""
        found: dict[int, tuple[Image, Identity]] = {}
        for part in pieces(image_ids):
            statement = select(Image, Identity).join(Identity, Identity.id == Image.identity_id)
            for image, identity in self._session.execute(statement.where(Image.id.in_(part))):
                found[image.id] = (image, identity)
        return found
