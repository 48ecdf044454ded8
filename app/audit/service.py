"""What can be done with the audit: read, verify, export, and empty of what people wrote."""

from collections.abc import Iterator

from sqlalchemy.orm import Session

from app.audit.chain import Head, verified
from app.audit.repository import AuditRepository, Wanted
from app.audit.schemas import EntryOut, EntryPage, Verification


class AuditService:
    """Works in one session."""

    def __init__(self, session: Session) -> None:
        self._audit = AuditRepository(session)

    def page(self, wanted: Wanted, *, limit: int, before: int | None) -> EntryPage:
        """Entries below a number, newest first."""
        rows = self._audit.page(wanted, limit, before)
        more = rows[-1].sequence if len(rows) == limit else None
        return EntryPage(entries=[EntryOut.of(row) for row in rows], next_before=more)

    def verify(self, noted: Head | None = None) -> Verification:
        """Whether nothing was changed, removed, put in, moved, or (against a head noted elsewhere) cut off."""
        return Verification.of(verified(self._audit.all(), noted))

    def export(self) -> Iterator[EntryOut]:
        """Every entry, in order."""
        for row in self._audit.all():
            yield EntryOut.of(row)

    def erase_words(self, identity_id: int) -> int:
        """Erase what people wrote in entries that name an identity; that they were made, stays. Returns how many."""
        count, before = 0, None
        while rows := self._audit.page(Wanted(identity=identity_id), 500, before):
            before = rows[-1].sequence
            count += self._audit.forget_words([row.sequence for row in rows])
        return count
