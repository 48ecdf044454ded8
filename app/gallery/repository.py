"""All SQL about images."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.database.tables import Embedding, Identity, Image, ModelVersion
from app.gallery.likeness import NEAR, Look, distances

IN_LIMIT = 10_000
"""Values in one IN list: every database allows that many."""

_BANDS = (Image.look_0, Image.look_1, Image.look_2, Image.look_3)


def pieces(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Cut values into lists that fit an IN list."""
    items = list(values)
    return (items[start : start + IN_LIMIT] for start in range(0, len(items), IN_LIMIT))


class ImageRepository:
    """Reads and writes images."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, image_id: int) -> Image | None:
        """One image."""
        return self._session.get(Image, image_id)

    def count(self) -> int:
        """Number of images."""
        return int(self._session.execute(select(func.count()).select_from(Image)).scalar_one())

    def add(self, images: Sequence[dict[str, Any]]) -> list[int]:
        """Insert images (columns by name) and return their ids in the same order."""
        if not images:
            return []
        # In any order: in that of the rows, SQLite would get a statement for each of them.
        rows = self._session.execute(insert(Image).returning(Image.store_name, Image.id), images)
        made = {row.store_name: row.id for row in rows}
        return [made[image["store_name"]] for image in images]

    def known(self, hashes: Iterable[str], collection_id: int) -> dict[str, int]:
        """Those SHA-256 hashes that are in a collection, with the image of each."""
        found: dict[str, int] = {}
        for part in pieces(hashes):
            statement = select(Image.sha256, Image.id).where(Image.collection_id == collection_id)
            rows = self._session.execute(statement.where(Image.sha256.in_(part)))
            found.update((row.sha256, row.id) for row in rows)
        return found

    def referenced(self, names: Iterable[str]) -> set[str]:
        """Those store names that an image has."""
        found: set[str] = set()
        for part in pieces(names):
            found.update(self._session.scalars(select(Image.store_name).where(Image.store_name.in_(part))))
        return found

    def identity_of(self, image_ids: Iterable[int]) -> dict[int, int]:
        """The identity of each image that exists."""
        found: dict[int, int] = {}
        for part in pieces(image_ids):
            rows = self._session.execute(select(Image.id, Image.identity_id).where(Image.id.in_(part)))
            found.update((row.id, row.identity_id) for row in rows)
        return found

    def mark_near_duplicates(self, looks: dict[int, Look], collection_id: int) -> dict[int, int]:
        """Mark those new images (id to hash) that look like an earlier one of their collection; returns which."""
        nearest: dict[int, tuple[int, int]] = {}
        for band, column in enumerate(_BANDS):
            others = self._with_band(column, {own[band] for own in looks.values()}, collection_id)
            bands = others[:, 1 + band]
            for image_id, own in looks.items():
                # Only those with the same band, sorted by it: all others of the chunk share nothing with this one.
                first, last = np.searchsorted(bands, (own[band], own[band] + 1))
                rows = others[first:last]
                rows = rows[rows[:, 0] < image_id]
                if not len(rows):
                    continue
                far = distances(rows[:, 1:].astype(np.uint16), own)
                best = int(far.argmin())
                if far[best] <= NEAR:
                    candidate = int(far[best]), int(rows[best, 0])
                    nearest[image_id] = min(candidate, nearest.get(image_id, candidate))
        found = {image_id: original for image_id, (_, original) in nearest.items()}
        for image_id, original in found.items():
            self._session.execute(update(Image).where(Image.id == image_id).values(near_duplicate_of=original))
        return found

    def _with_band(
        self, column: InstrumentedAttribute[int | None], values: set[int], collection_id: int
    ) -> NDArray[np.int64]:
        """Ids and hashes (N, 5) of the images of a collection that have one of some values in a band, sorted by it."""
        found: list[Any] = []
        for part in pieces(sorted(values)):
            where = (column.in_(part), Image.collection_id == collection_id)
            found += self._session.execute(select(Image.id, *_BANDS).where(*where).order_by(column, Image.id)).all()
        return np.array(found, np.int64).reshape(len(found), 5)

    def delete(self, image_ids: Iterable[int]) -> None:
        """Delete image rows; their embeddings must be gone."""
        for part in pieces(image_ids):
            copies = update(Image).where(Image.near_duplicate_of.in_(part)).values(near_duplicate_of=None)
            self._session.execute(copies)
            self._session.execute(delete(Image).where(Image.id.in_(part)))

    def last_id(self) -> int:
        """The highest id of an image; 0 if there is none."""
        return int(self._session.execute(select(func.coalesce(func.max(Image.id), 0))).scalar_one())

    def count_in(self, collection_id: int | None, *, last: int) -> int:
        """Number of images of a collection, or of all, up to an id."""
        statement = select(func.count()).select_from(Image).where(Image.id <= last, *_within(collection_id))
        return int(self._session.execute(statement).scalar_one())

    def listed(self, collection_id: int | None, *, after: int, last: int, limit: int) -> list[tuple[int, int, str]]:
        """The next images (id, collection id, store name) of a collection, or of all, above an id and up to another."""
        where = (Image.id > after, Image.id <= last, *_within(collection_id))
        statement = select(Image.id, Image.collection_id, Image.store_name).where(*where).order_by(Image.id)
        return [(row[0], row[1], row[2]) for row in self._session.execute(statement.limit(limit))]

    def cameras(self, collection_id: int | None, *, limit: int) -> list[tuple[str, int]]:
        """Cameras of a collection, or of all, with the number of their images; those with the most first."""
        count = func.count()
        statement = select(Image.camera, count).where(Image.camera.is_not(None), *_within(collection_id))
        statement = statement.group_by(Image.camera).order_by(count.desc(), Image.camera).limit(limit)
        return [(str(name), int(images)) for name, images in self._session.execute(statement)]

    def times(self, collection_id: int | None) -> tuple[datetime | None, datetime | None]:
        """When the first and the last image of a collection, or of all, was taken."""
        statement = select(func.min(Image.captured_at), func.max(Image.captured_at)).where(*_within(collection_id))
        first, last = self._session.execute(statement).one()
        return first, last

    def newest_attributes(
        self, collection_id: int | None, *, limit: int
    ) -> list[tuple[int, dict[str, Any], dict[str, Any]]]:
        """Identity id, attributes of the image and attributes of the identity, of the newest images."""
        statement = select(Image.identity_id, Image.attributes, Identity.attributes)
        statement = statement.join(Identity, Identity.id == Image.identity_id).where(*_within(collection_id))
        rows = self._session.execute(statement.order_by(Image.id.desc()).limit(limit))
        return [(row[0], row[1], row[2]) for row in rows]

    def lacking(
        self, version: ModelVersion, *, after: int = 0, upto: int | None = None, limit: int
    ) -> list[tuple[int, str]]:
        """The next images (id, store name) above an id, and on request up to one, that lack a vector under a model
        version, in any space."""
        statement = select(Image.id, Image.store_name).where(Image.id > after, _lacks(version))
        if upto is not None:
            statement = statement.where(Image.id <= upto)
        rows = self._session.execute(statement.order_by(Image.id).limit(limit))
        return [(row.id, row.store_name) for row in rows]

    def count_lacking(self, version: ModelVersion) -> int:
        """How many images lack a vector under a model version, in any of its stored spaces."""
        statement = select(func.count()).select_from(Image).where(_lacks(version))
        return int(self._session.execute(statement).scalar_one())

    def still_lacking(self, version: ModelVersion, image_ids: Iterable[int]) -> set[int]:
        """Which of these images exist and lack a vector under a model version."""
        found: set[int] = set()
        for part in pieces(image_ids):
            found.update(self._session.scalars(select(Image.id).where(Image.id.in_(part), _lacks(version))))
        return found


def _within(collection_id: int | None) -> tuple[ColumnElement[bool], ...]:
    return () if collection_id is None else (Image.collection_id == collection_id,)


def _lacks(version: ModelVersion) -> ColumnElement[bool]:
    mine = (Embedding.image_id == Image.id, Embedding.model_version_id == version.id)
    return or_(*(~exists().where(*mine, Embedding.space == space) for space in version.stored_spaces))
