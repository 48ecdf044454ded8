"""The audit."""

from collections.abc import Iterator
from datetime import datetime

from descry_client._sync.transport import Transport, given
from descry_client.models import AuditEntryOut, AuditPage, AuditVerification


class Audit:
    """/v1/admin/audit."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def page(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        identity: int | None = None,
        image: int | None = None,
        words: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> AuditPage:
        """A page of who looked at what, and why; newest first. `action` may end with `*`; `words` is a part of what
        people wrote."""
        params = given(
            actor=actor,
            action=action,
            outcome=outcome,
            since=since,
            until=until,
            identity=identity,
            image=image,
            words=words,
            limit=limit,
            before=before,
        )
        return self._transport.json(AuditPage, "GET", "/v1/admin/audit", params=params)

    def entries(
        self, *, action: str | None = None, words: str | None = None, page: int = 500
    ) -> Iterator[AuditEntryOut]:
        """Every entry, newest first."""
        before: int | None = None
        while True:
            found = self.page(action=action, words=words, limit=page, before=before)
            for entry in found.entries:
                yield entry
            if (before := found.next_before) is None:
                return

    def verify(self, head: str | None = None) -> AuditVerification:
        """Whether an entry was changed, removed, put in or moved, or the end cut off since `head` was noted."""
        return self._transport.json(AuditVerification, "GET", "/v1/admin/audit/verify", params=given(head=head))
