"""All SQL about the audit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, String, cast, insert, select, text, update
from sqlalchemy.orm import Session

from app.audit.chain import GENESIS, Head, chained
from app.database.audit_table import AuditEntry

_LOCK = 0x64657363727901
"""The advisory lock of PostgreSQL for the chain. A change takes it after the writer's, nobody the other way round."""
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are asked for; None: any."""

    actor: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    identity: int | None = None


class AuditRepository:
    """Reads and writes the chain."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, rows: list[dict[str, Any]]) -> Head:
        """Put entries behind the last one; nobody else can until the commit. The session must be a writing one."""
        if self._session.get_bind().dialect.name == "postgresql":
            self._session.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        made = chained(rows, self.head())
        self._session.execute(insert(AuditEntry), made)
        return Head(made[-1]["sequence"], made[-1]["hash"])

    def head(self) -> Head:
        """The last entry; number 0 where there is none."""
        row = self._session.execute(
            select(AuditEntry.sequence, AuditEntry.hash).order_by(AuditEntry.sequence.desc()).limit(1)
        ).one_or_none()
        return Head(0, GENESIS) if row is None else Head(row.sequence, row.hash)

    def page(self, wanted: Wanted, limit: int, before: int | None) -> list[AuditEntry]:
        """The newest entries first, below a number."""
        statement = _filtered(select(AuditEntry), wanted).order_by(AuditEntry.sequence.desc()).limit(limit)
        if before is not None:
            statement = statement.where(AuditEntry.sequence < before)
        return list(self._session.scalars(statement))

    def all(self) -> Iterator[AuditEntry]:
        """Every entry in order, a thousand in memory at a time."""
        last = None
        while True:
            statement = select(AuditEntry).order_by(AuditEntry.sequence).limit(_BATCH)
            if last is not None:
                statement = statement.where(AuditEntry.sequence > last)
            rows = list(self._session.scalars(statement))
            yield from rows
            if len(rows) < _BATCH:
                return
            last = rows[-1].sequence
            self._session.expunge_all()

    def forget_words(self, sequences: Iterable[int]) -> int:
        """Erase what people wrote in entries; the chain still verifies. Returns how many had something."""
        statement = (
            update(AuditEntry)
            .where(AuditEntry.sequence.in_(list(sequences)), AuditEntry.words.is_not(None))
            .values(words=None, salt=None)
            .returning(AuditEntry.sequence)
        )
        return len(self._session.scalars(statement).all())


def _filtered(statement: Select[tuple[AuditEntry]], wanted: Wanted) -> Select[tuple[AuditEntry]]:
    if wanted.actor is not None:
        statement = statement.where(AuditEntry.actor == wanted.actor)
    if wanted.action is not None:
        prefix = wanted.action.removesuffix("*")
        exact = prefix == wanted.action
        named = AuditEntry.action == prefix if exact else AuditEntry.action.startswith(prefix, autoescape=True)
        statement = statement.where(named)
    if wanted.since is not None:
        statement = statement.where(AuditEntry.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(AuditEntry.at < wanted.until)
    if wanted.identity is not None:
        statement = statement.where(cast(AuditEntry.identity_ids, String).contains(f",{wanted.identity},"))
    return statement
