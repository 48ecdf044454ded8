"""All SQL about the history of identities: which images went from one to another, when, and how to take it back."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import insert, or_, select, update
from sqlalchemy.orm import Session

from app.database.tables import IdentityEvent, now
from app.gallery.repository import pieces

MERGES = ("merge", "association")
"""Events after which `from_id` is gone."""


class HistoryRepository:
    """Reads and appends the history."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, events: Sequence[dict[str, Any]]) -> list[int]:
        """Append events (columns by name); returns their ids."""
        if not events:
            return []
        statement = insert(IdentityEvent).returning(IdentityEvent.id, sort_by_parameter_order=True)
        return list(self._session.scalars(statement, events))

    def get(self, event_id: int) -> IdentityEvent | None:
        """One event."""
        return self._session.get(IdentityEvent, event_id)

    def page(self, identity_id: int, *, after: int, limit: int) -> list[IdentityEvent]:
        """What happened to an identity, oldest first, beginning behind an event."""
        about = or_(IdentityEvent.from_id == identity_id, IdentityEvent.to_id == identity_id)
        statement = select(IdentityEvent).where(about, IdentityEvent.id > after).order_by(IdentityEvent.id)
        return list(self._session.scalars(statement.limit(limit)))

    def of_run(self, run_id: int) -> list[IdentityEvent]:
        """What an association run did and what was not undone since."""
        done = (IdentityEvent.event == "association", IdentityEvent.undone_at.is_(None))
        statement = select(IdentityEvent).where(IdentityEvent.run_id == run_id, *done)
        return list(self._session.scalars(statement.order_by(IdentityEvent.id)))

    def splits(self, identity_ids: Iterable[int]) -> list[tuple[int, int]]:
        """Pairs of identities that somebody split."""
        found: list[tuple[int, int]] = []
        for part in pieces(identity_ids):
            statement = select(IdentityEvent.from_id, IdentityEvent.to_id).where(IdentityEvent.event == "split")
            rows = self._session.execute(statement.where(IdentityEvent.from_id.in_(part)))
            found.extend((row.from_id, row.to_id) for row in rows)
        return found

    def mark_undone(self, event_ids: Iterable[int]) -> None:
        """Note that events were taken back."""
        for part in pieces(event_ids):
            where = IdentityEvent.id.in_(part)
            self._session.execute(update(IdentityEvent).where(where).values(undone_at=now()))

    def heir(self, identity_id: int) -> int | None:
        """The last identity in the chain of merges that begins with one that is gone; it may be gone as well."""
        found: int | None = None
        while (following := self._merged_into(identity_id if found is None else found)) is not None:
            found = following
        return found

    def forget(self, identity_id: int) -> dict[int, str | None]:
        """Erase what the history keeps of an identity besides numbers, and of all that were merged into it.

        Returns:
            The ids of those, also where the merge was undone, and what they were called.
        """
        pending, merged = [identity_id], dict[int, str | None]()
        columns = (IdentityEvent.id, IdentityEvent.from_id, IdentityEvent.to_id, IdentityEvent.before)
        while pending:
            part, pending = pending[:1000], pending[1000:]
            # From itself: it was merged into another one, and that was undone.
            about = or_(IdentityEvent.to_id.in_(part), IdentityEvent.from_id.in_(part))
            rows = self._session.execute(select(*columns).where(about, IdentityEvent.before.is_not(None))).all()
            for ids in pieces(row.id for row in rows):
                self._session.execute(update(IdentityEvent).where(IdentityEvent.id.in_(ids)).values(before=None))
            into = [row for row in rows if row.to_id in part]
            merged |= {row.from_id: row.before.get("external_id") for row in into}
            pending += [row.from_id for row in into]
        return merged

    def _merged_into(self, identity_id: int) -> int | None:
        where = (
            IdentityEvent.from_id == identity_id,
            IdentityEvent.event.in_(MERGES),
            IdentityEvent.undone_at.is_(None),
        )
        statement = select(IdentityEvent.to_id).where(*where).order_by(IdentityEvent.id.desc()).limit(1)
        return self._session.scalars(statement).one_or_none()
