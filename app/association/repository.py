"""All SQL about association runs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.database.tables import AssociationGroup, AssociationRun, Embedding, Identity, Image
from app.gallery.repository import pieces
from app.vectors.contract import Half

PAGE = 5000


@dataclass(frozen=True, slots=True)
class Sighting:
    """One image of a provisional identity, without its vector."""

    image_id: int
    identity_id: int
    collection_id: int
    camera: str | None
    captured_at: datetime | None
    near_duplicate_of: int | None


class AssociationRepository:
    """Reads and writes association runs, and reads what they group."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, run_id: int) -> AssociationRun | None:
        """One run."""
        return self._session.get(AssociationRun, run_id)

    def page(self, limit: int, before: int | None) -> list[AssociationRun]:
        """Runs, newest first."""
        statement = select(AssociationRun).order_by(AssociationRun.id.desc()).limit(limit)
        if before is not None:
            statement = statement.where(AssociationRun.id < before)
        return list(self._session.scalars(statement))

    def add(self, run: AssociationRun) -> None:
        """Insert a run; it has an id then."""
        self._session.add(run)
        self._session.flush()

    def add_groups(self, run_id: int, groups: Sequence[list[int]]) -> None:
        """List what a run found to be one person each; positions count from 0."""
        if groups:
            rows: list[dict[str, Any]] = [
                {"run_id": run_id, "position": position, "identity_ids": ids} for position, ids in enumerate(groups)
            ]
            self._session.execute(insert(AssociationGroup), rows)

    def groups(self, run_id: int, positions: Iterable[int]) -> dict[int, list[int]]:
        """The identities of some groups of a run, by position."""
        found: dict[int, list[int]] = {}
        for part in pieces(positions):
            where = (AssociationGroup.run_id == run_id, AssociationGroup.position.in_(part))
            for row in self._session.scalars(select(AssociationGroup).where(*where)):
                found[row.position] = list(row.identity_ids)
        return found

    def count_candidates(self, collection_id: int) -> int:
        """How many provisional identities have an image in a collection."""
        statement = select(func.count(Image.identity_id.distinct())).join(Identity, Identity.id == Image.identity_id)
        where = (Image.collection_id == collection_id, Identity.provisional, Identity.external_id.is_(None))
        return int(self._session.execute(statement.where(*where)).scalar_one())

    def sightings(self, collection_id: int) -> list[Sighting]:
        """Every image, also of other collections, of the provisional identities of one, by image id."""
        here = select(Image.identity_id).where(Image.collection_id == collection_id)
        statement = (
            select(
                Image.id,
                Image.identity_id,
                Image.collection_id,
                Image.camera,
                Image.captured_at,
                Image.near_duplicate_of,
            )
            .join(Identity, Identity.id == Image.identity_id)
            .where(Identity.provisional, Identity.external_id.is_(None), Identity.id.in_(here))
            .order_by(Image.id)
        )
        return [Sighting(*row) for row in self._session.execute(statement)]

    def vectors(
        self, image_ids: Sequence[int], version_id: int, space: str, dim: int
    ) -> Iterator[tuple[list[int], Half]]:
        """The vectors of images, in pieces: ids and (n, dim) float16. Images without one are left out."""
        for start in range(0, len(image_ids), PAGE):
            rows = self._session.execute(
                select(Embedding.image_id, Embedding.vector).where(
                    Embedding.image_id.in_(image_ids[start : start + PAGE]),
                    Embedding.model_version_id == version_id,
                    Embedding.space == space,
                )
            ).all()
            matrix = np.frombuffer(b"".join(row.vector for row in rows), "<f2").reshape(len(rows), dim)
            yield [row.image_id for row in rows], matrix
