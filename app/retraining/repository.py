"""All SQL about what a retraining takes from the gallery."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from app.database.tables import Identity, Image, Job
from app.gallery.repository import pieces
from app.retraining.splits import Member, Split


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is described: images, their pixels together, and identities."""

    images: int
    pixels: int
    identities: int


class RetrainingRepository:
    """Reads images with descriptions, and writes down on which side they stand."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def members(self, collection_ids: Sequence[int] | None) -> list[Member]:
        """Every image with a description, of some collections or of all, oldest first."""
        statement = (
            select(Image.id, Image.identity_id, Identity.external_id, Image.sha256, Image.split)
            .join(Identity, Identity.id == Image.identity_id)
            .where(*_described(collection_ids))
            .order_by(Image.id)
        )
        return [Member(*row) for row in self._session.execute(statement)]

    def members_of(self, image_ids: Iterable[int], collection_ids: Sequence[int] | None) -> list[Member]:
        """Some images, as far as they lie in some collections, or all of them, oldest first."""
        found: list[Member] = []
        for part in pieces(sorted(image_ids)):
            statement = (
                select(Image.id, Image.identity_id, Identity.external_id, Image.sha256, Image.split)
                .join(Identity, Identity.id == Image.identity_id)
                .where(Image.id.in_(part), *_within(collection_ids))
                .order_by(Image.id)
            )
            found += [Member(*row) for row in self._session.execute(statement)]
        return found

    def record(self, sides: dict[int, Split]) -> None:
        """Write down the side of each image."""
        for side in ("train", "val", "test"):
            for part in pieces(image_id for image_id, own in sides.items() if own == side):
                self._session.execute(update(Image).where(Image.id.in_(part)).values(split=side))

    def extent(self, collection_ids: Sequence[int] | None) -> Extent:
        """How much is described."""
        sums = (func.count(), func.coalesce(func.sum(Image.width * Image.height), 0))
        people = func.count(Image.identity_id.distinct())
        row = self._session.execute(select(*sums, people).where(*_described(collection_ids))).one()
        return Extent(int(row[0]), int(row[1]), int(row[2]))

    def last_pace(self, recipe: str, device: str) -> float | None:
        """Images a second of the newest retraining with a recipe on a device that told any."""
        statement = select(Job.parameters, Job.progress).where(Job.kind == "retraining", Job.progress.is_not(None))
        for parameters, progress in self._session.execute(statement.order_by(Job.created_at.desc()).limit(50)):
            if parameters.get("recipe") == recipe and parameters.get("device", "auto") == device:
                pace = (progress or {}).get("images_per_second")
                if pace:
                    return float(pace)
        return None


def _described(collection_ids: Sequence[int] | None) -> tuple[ColumnElement[bool], ...]:
    told = (Image.description.is_not(None), Image.description != "")
    return (*told, *_within(collection_ids))


def _within(collection_ids: Sequence[int] | None) -> tuple[ColumnElement[bool], ...]:
    return () if collection_ids is None else (Image.collection_id.in_(collection_ids),)
