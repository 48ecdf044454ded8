"""What can be done with the audit: read, verify, export, and empty of what people wrote."""

import json
from collections.abc import Iterable, Iterator

from sqlalchemy.orm import Session

from app.audit.chain import Head, verified
from app.audit.repository import AuditRepository, Wanted
from app.audit.schemas import AuditEntryOut, AuditPage, AuditVerification
from app.database.mentions import Names

_OF_MANY = ("search.", "export.", "audit.", "view.queries")
"""Actions whose entries name many people."""


class AuditService:
    """Works in one session."""

    def __init__(self, session: Session) -> None:
        self._audit = AuditRepository(session)

    def page(self, wanted: Wanted, *, limit: int, before: int | None) -> AuditPage:
        """Entries below a number, newest first."""
        rows = self._audit.page(wanted, limit, before)
        more = rows[-1].sequence if len(rows) == limit else None
        return AuditPage(entries=[AuditEntryOut.of(row) for row in rows], next_before=more)

    def verify(self, noted: Head | None = None) -> AuditVerification:
        """Whether nothing was changed, removed, put in, moved, or (against a head noted elsewhere) cut off."""
        return AuditVerification.of(verified(self._audit.all(), noted))

    def export(self) -> Iterator[AuditEntryOut]:
        """Every entry, in order."""
        for row in self._audit.all():
            yield AuditEntryOut.of(row)

    def erase_words(self, identity_ids: Iterable[int], image_ids: Iterable[int] = (), names: Iterable[str] = ()) -> int:
        """Erase what people wrote about somebody who is erased; that there was an access, by whom and to what, stays.

        Those are the entries about that person alone (views, explanations, changes), and every entry whose words hold
        one of the names. A search that found the person among others keeps its words: they say whom somebody sought and
        what for, and the person is a number in it that leads nowhere any more.

        To be called in the unit of work that erases: the database passes over all entries, so that many people go in
        one call.

        Args:
            image_ids: the images that go with them.
            names: what they were called; of less than 3 characters they are in too many words, and not looked for.

        Returns:
            How many entries had words that are gone.
        """
        people, images, wanted = set(identity_ids), set(image_ids), Names(names)
        found = []
        for row in self._audit.perhaps_about(people, images, wanted, _OF_MANY):
            alone = not row.action.startswith(_OF_MANY) and (
                not people.isdisjoint(row.identity_ids) or not images.isdisjoint(row.image_ids)
            )
            if alone or (wanted and wanted.held_by(_read(row.words))):
                found.append(row.sequence)
        return self._audit.forget_words(found)


def _read(words: str | None) -> object:
    try:
        return json.loads(words or "null")
    except ValueError:  # somebody has changed it
        return words
