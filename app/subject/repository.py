"""All SQL about what is kept of one person, read together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.identification_tables import Identification
from app.database.tables import Embedding, Feedback, Image, ModelVersion, Query, now
from app.gallery.repository import pieces
from app.identifications.acts import state_of
from app.identifications.repository import IdentificationRepository


class SubjectRepository:
    """Reads."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def images(self, identity_id: int) -> list[Image]:
        """Every image of a person, oldest first."""
        return list(self._session.scalars(select(Image).where(Image.identity_id == identity_id).order_by(Image.id)))

    def vectors(self, image_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        """The vectors of each image under every version, as numbers."""
        found: dict[int, list[dict[str, Any]]] = {}
        for part in pieces(image_ids):
            statement = select(Embedding, ModelVersion.name)
            statement = statement.join(ModelVersion, ModelVersion.id == Embedding.model_version_id)
            rows = self._session.execute(statement.where(Embedding.image_id.in_(part)).order_by(Embedding.sequence))
            for row, name in rows:
                values = [round(float(value), 5) for value in np.frombuffer(row.vector, "<f2")]
                told = {"model_version": name, "space": row.space, "vector": values}
                found.setdefault(row.image_id, []).append(told)
        return found

    def identified(self, identity_id: int) -> list[dict[str, Any]]:
        """What was said of the person as the one who was looked for: what for, in which words, what became of it."""
        mine = select(Identification).where(Identification.identity_id == identity_id).order_by(Identification.id)
        rows, at = self._session.scalars(mine).all(), now()
        images = IdentificationRepository(self._session).images([row.id for row in rows])
        return [
            {
                "query_id": row.query_id,
                "state": state_of(row, at),
                "purpose": row.purpose,
                "proposed_at": row.proposed_at.isoformat(),
                "note": row.note,
                "decided_at": row.decided_at and row.decided_at.isoformat(),
                "decision_note": row.decision_note,
                "ended_at": row.ended_at and row.ended_at.isoformat(),
                "end_note": row.end_note,
                "image_ids": images[row.id],
            }
            for row in rows
        ]

    def judged(self, identity_id: int) -> list[dict[str, Any]]:
        """Queries in whose answers somebody judged the person, with what was asked, why and when."""
        statement = select(Feedback, Query).join(Query, Query.id == Feedback.query_id)
        rows = self._session.execute(statement.where(Feedback.identity_id == identity_id).order_by(Feedback.id))
        return [
            {
                "query_id": query.id,
                "asked_at": query.created_at.isoformat(),
                "asked": query.definition,
                "purpose": query.purpose,
                "saved_as": query.name,
                "verdict": verdict.verdict,
                "image_id": verdict.image_id,
                "note": verdict.note,
                "judged_at": verdict.at.isoformat(),
            }
            for verdict, query in rows
        ]
