"""All SQL about erasures: the ledger, and what other tables keep of a person besides its own rows."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from app.database.privacy import Erasure
from app.database.tables import Feedback, JobItem, Query
from app.gallery.repository import pieces

Entry = tuple[str, int, datetime]
"""Kind (identity or image), its number, and when."""
ERASED = "(erased)"
_LEAST_NAME = 3
"""Characters of a name that is looked for in the words of queries; a shorter one is in too many of them."""


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

    def forget_queries(self, identity_id: int, image_ids: Sequence[int], name: str | None) -> None:
        """Erase queries that found a person, as far as they tell who it is, and those that name the person.

        A query with a picture that found the person loses the picture's vectors. Its name and purpose, which somebody
        wrote, go too. A query whose own words have the person's name goes as a whole.
        """
        confirm = Feedback.verdict == "confirm"
        mine = [select(Feedback.query_id).where(Feedback.identity_id == identity_id, confirm)]
        mine += [select(Feedback.query_id).where(Feedback.image_id.in_(part), confirm) for part in pieces(image_ids)]
        for found in mine:
            gone = {"vectors": None, "name": None, "saved_at": None, "purpose": None}
            self._session.execute(update(Query).where(Query.id.in_(found)).values(gone))
        if name is not None and len(name) >= _LEAST_NAME:
            self._forget_named(name)

    def _forget_named(self, name: str) -> None:
        wanted = name.casefold()
        named, worded = list[str](), list[str]()
        for row in self._session.execute(select(Query.id, Query.name, Query.purpose, Query.definition)):
            if _holds(row.definition, wanted):
                worded.append(row.id)
            elif wanted in f"{row.name or ''}\n{row.purpose or ''}".casefold():
                named.append(row.id)
        for part in pieces(named):
            gone = {"name": None, "saved_at": None, "purpose": None}
            self._session.execute(update(Query).where(Query.id.in_(part)).values(gone))
        for part in pieces(worded):
            self._session.execute(delete(Feedback).where(Feedback.query_id.in_(part)))
            self._session.execute(delete(Query).where(Query.id.in_(part)))


def _holds(value: object, wanted: str) -> bool:
    if isinstance(value, dict):
        return any(_holds(item, wanted) for item in value.values())
    if isinstance(value, list):
        return any(_holds(item, wanted) for item in value)
    return isinstance(value, str) and wanted in value.casefold()
