"""All SQL about queries and the feedback on them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, insert, or_, select, tuple_, update
from sqlalchemy.orm import Session

from app.database.identification_tables import Identification
from app.database.tables import Feedback, Image, Query
from app.gallery.repository import pieces
from app.identifications.repository import STANDING, IdentificationRepository


class QueryRepository:
    """Reads and writes queries."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Insert queries (columns by name)."""
        if rows:
            self._session.execute(insert(Query), list(rows))

    def get(self, query_id: str) -> Query | None:
        """One query."""
        return self._session.get(Query, query_id)

    def several(self, query_ids: Iterable[str]) -> dict[str, Query]:
        """Those of some queries that exist, by id."""
        found: dict[str, Query] = {}
        for part in pieces(query_ids):
            found.update((row.id, row) for row in self._session.scalars(select(Query).where(Query.id.in_(part))))
        return found

    def known(self, query_ids: Iterable[str]) -> set[str]:
        """Those ids that a query has."""
        found: set[str] = set()
        for part in pieces(query_ids):
            found.update(self._session.scalars(select(Query.id).where(Query.id.in_(part))))
        return found

    def page(self, *, saved: bool | None, before: tuple[datetime, str] | None, limit: int) -> list[Query]:
        """Queries, newest first, behind a place (instant, id); with or without a name, or both."""
        statement = select(Query).order_by(Query.created_at.desc(), Query.id.desc()).limit(limit)
        if saved is not None:
            statement = statement.where(Query.saved_at.is_not(None) if saved else Query.saved_at.is_(None))
        if before is not None:
            statement = statement.where(tuple_(Query.created_at, Query.id) < before)
        return list(self._session.scalars(statement))

    def delete(self, query_id: str) -> None:
        """Delete a query with its feedback; who was proposed as its answer is not confirmed any more."""
        IdentificationRepository(self._session).query_gone(query_id)
        self._session.execute(delete(Feedback).where(Feedback.query_id == query_id))
        self._session.execute(delete(Query).where(Query.id == query_id))

    def stale(self, before: datetime) -> bool:
        """Whether `sweep` would remove anything."""
        return self._session.execute(select(Query.id).where(*_stale(before)).limit(1)).first() is not None

    def sweep(self, before: datetime) -> int:
        """Delete queries from before an instant without name and feedback that identify nobody; returns how many."""
        # Rows are counted by RETURNING: a bulk DELETE's rowcount is not typed.
        return len(self._session.scalars(delete(Query).where(*_stale(before)).returning(Query.id)).all())

    def forget_vectors(self, identity_id: int) -> None:
        """Erase the vectors of pictures with which somebody looked for a person and found it."""
        mine = select(Feedback.query_id).where(Feedback.identity_id == identity_id, Feedback.verdict == "confirm")
        self._session.execute(update(Query).where(Query.id.in_(mine)).values(vectors=None))


class FeedbackRepository:
    """Reads and writes feedback."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, rows: Sequence[dict[str, Any]]) -> list[int]:
        """Insert verdicts (columns by name), of which each replaces an earlier one on the same candidate."""
        for row in rows:
            same = (
                Feedback.query_id == row["query_id"],
                Feedback.judged_id == row["judged_id"],
                Feedback.image_id.is_(None) if row["image_id"] is None else Feedback.image_id == row["image_id"],
            )
            self._session.execute(delete(Feedback).where(*same))
        statement = insert(Feedback).returning(Feedback.id, sort_by_parameter_order=True)
        return list(self._session.scalars(statement, list(rows))) if rows else []

    def of_query(self, query_id: str) -> list[Feedback]:
        """What was said about a query's candidates, oldest first."""
        return list(self._session.scalars(select(Feedback).where(Feedback.query_id == query_id).order_by(Feedback.id)))

    def count(self, query_id: str) -> int:
        """How many verdicts a query has."""
        statement = select(func.count()).select_from(Feedback).where(Feedback.query_id == query_id)
        return int(self._session.execute(statement).scalar_one())

    def counts(self, query_ids: Sequence[str]) -> dict[str, int]:
        """How many verdicts each of some queries has; those without are left out."""
        where = Feedback.query_id.in_(query_ids)
        statement = select(Feedback.query_id, func.count()).where(where).group_by(Feedback.query_id)
        return {str(query_id): int(count) for query_id, count in self._session.execute(statement)}

    def remove(self, query_id: str, feedback_id: int) -> bool:
        """Delete one verdict; whether there was one."""
        where = (Feedback.query_id == query_id, Feedback.id == feedback_id)
        return self._session.scalars(delete(Feedback).where(*where).returning(Feedback.id)).one_or_none() is not None

    def forget_identity(self, identity_id: int) -> None:
        """Erase what was said about a person."""
        QueryRepository(self._session).forget_vectors(identity_id)
        self._session.execute(delete(Feedback).where(Feedback.identity_id == identity_id))

    def forget_image(self, image_id: int) -> None:
        """Erase what was said about an image."""
        self._session.execute(delete(Feedback).where(Feedback.image_id == image_id))

    def carry(self, sources: Iterable[int], into: int) -> None:
        """Give what was said about some identities to the one that they were merged into."""
        for part in pieces(sources):
            self._session.execute(update(Feedback).where(Feedback.identity_id.in_(part)).values(identity_id=into))

    def follow(self, image_ids: Iterable[int]) -> None:
        """Verdicts on images go where the images went."""
        for part in pieces(image_ids):
            owner = select(Image.identity_id).where(Image.id == Feedback.image_id).scalar_subquery()
            where = (Feedback.image_id.in_(part), exists().where(Image.id == Feedback.image_id))
            self._session.execute(
                update(Feedback).where(*where).values(identity_id=owner), execution_options=_NOT_IN_MEMORY
            )

    def give_back(self, judged_id: int, holder: int) -> None:
        """Verdicts on a person as a whole go back to the identity that they were given on."""
        where = (Feedback.judged_id == judged_id, Feedback.identity_id == holder, Feedback.image_id.is_(None))
        self._session.execute(update(Feedback).where(*where).values(identity_id=judged_id))

    def of_texts(self) -> list[tuple[Feedback, dict[str, Any]]]:
        """Every verdict on candidates of queries in words, with the query's definition, oldest first.

        Rejections too, for a later one takes a confirmation's place.
        """
        statement = select(Feedback, Query.definition).join(Query, Query.id == Feedback.query_id)
        rows = self._session.execute(statement.where(Query.kind == "text").order_by(Feedback.id))
        return [(row[0], row[1]) for row in rows]


_NOT_IN_MEMORY = {"synchronize_session": False}


def _stale(before: datetime) -> tuple[ColumnElement[bool], ...]:
    judged = exists().where(Feedback.query_id == Query.id)
    found = exists().where(Identification.query_id == Query.id, Identification.state.in_(STANDING))
    return (Query.created_at < before, Query.name.is_(None), ~or_(judged, found))
