"""All SQL about erasures: the ledger, and what other tables keep of a person besides its own rows."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Text, cast, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from app.database.mentions import Names
from app.database.privacy import ERASED, Erasure
from app.database.tables import Feedback, JobItem, Query
from app.gallery.repository import pieces
from app.identifications.repository import IdentificationRepository

Entry = tuple[str, int, datetime]
"""Kind (identity or image), its number, and when."""


class ErasureRepository:
    """Appends and reads the ledger; forgets."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def note(self, kind: str, numbers: Iterable[int]) -> None:
        """Write into the ledger what is erased in this unit of work."""
        if rows := [{"kind": kind, "number": number} for number in numbers]:
            self._session.execute(insert(Erasure), rows)

    def last(self) -> int:
        """The id of the last entry; 0 without one."""
        return int(self._session.execute(select(func.coalesce(func.max(Erasure.id), 0))).scalar_one())

    def listed(self, after: int = 0) -> list[Entry]:
        """The entries above an id, oldest first."""
        statement = select(Erasure.kind, Erasure.number, Erasure.at).where(Erasure.id > after).order_by(Erasure.id)
        return [(row.kind, row.number, row.at) for row in self._session.execute(statement)]

    def known(self) -> set[tuple[str, int]]:
        """What the ledger names."""
        return {(row.kind, row.number) for row in self._session.execute(select(Erasure.kind, Erasure.number))}

    def take(self, entries: Sequence[Entry]) -> None:
        """Write entries of another ledger into this one, with their times."""
        if entries:
            self._session.execute(
                insert(Erasure), [dict(zip(("kind", "number", "at"), e, strict=True)) for e in entries]
            )

    def forget_files(self, image_ids: Iterable[int]) -> None:
        """Erase what the files of images were called where they came from: names of files name people."""
        for part in pieces(image_ids):
            where = JobItem.image_id.in_(part)
            self._session.execute(update(JobItem).where(where).values(name=ERASED, message=None))

    def forget_queries(self, identity_ids: Sequence[int], image_ids: Sequence[int]) -> None:
        """Erase queries that found people, as far as they tell who it is: vectors of pictures, name and purpose."""
        found = select(Feedback.query_id).where(Feedback.verdict == "confirm")
        mine = [found.where(Feedback.identity_id.in_(part)) for part in pieces(identity_ids)]
        mine += [found.where(Feedback.image_id.in_(part)) for part in pieces(image_ids)]
        for one in mine:
            gone = {"vectors": None, "name": None, "saved_at": None, "purpose": None}
            self._session.execute(update(Query).where(Query.id.in_(one)).values(gone))

    def forget_named(self, names: Iterable[str | None]) -> None:
        """Erase what people wrote with some names in it: queries whose words have one, as a whole; else the name and
        purpose of a query, notes of verdicts and what was said of identifications."""
        wanted = Names(names)
        if not wanted:
            return
        named, worded = list[str](), list[str]()
        for row in self._session.execute(_perhaps_naming(wanted)):
            if wanted.held_by(row.definition):
                worded.append(row.id)
            elif wanted.held_by([row.name, row.purpose]):
                named.append(row.id)
        notes = self._session.execute(select(Feedback.id, Feedback.note).where(wanted.maybe_in_text(Feedback.note)))
        for part in pieces(row.id for row in notes.all() if wanted.held_by(row.note)):
            self._session.execute(update(Feedback).where(Feedback.id.in_(part)).values(note=None))
        identifications = IdentificationRepository(self._session)
        identifications.forget_words(wanted)
        for query_id in worded:
            identifications.query_gone(query_id)
        for part in pieces(named):
            gone = {"name": None, "saved_at": None, "purpose": None}
            self._session.execute(update(Query).where(Query.id.in_(part)).values(gone))
        for part in pieces(worded):
            self._session.execute(delete(Feedback).where(Feedback.query_id.in_(part)))
            self._session.execute(delete(Query).where(Query.id.in_(part)))


def _perhaps_naming(names: Names) -> Select[tuple[str, str | None, str | None, dict[str, Any]]]:
    words = names.maybe_in_json(cast(Query.definition, Text))
    statement = select(Query.id, Query.name, Query.purpose, Query.definition)
    return statement.where(or_(words, names.maybe_in_text(Query.name), names.maybe_in_text(Query.purpose)))
