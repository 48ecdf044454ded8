"""All SQL about the audit."""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    cast,
    delete,
    false,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.audit.chain import GENESIS, PRUNED, REMOVED_UPTO, Head, anchor_of, chained
from app.database.audit_table import AuditEntry
from app.database.driver import asked
from app.database.mentions import Names

_LOCK = 0x64657363727901
"""The advisory lock of PostgreSQL for the chain. A change takes it after the writer's, nobody the other way round."""
_TAKE_LOCK = f"SELECT pg_advisory_xact_lock({_LOCK})"
_LAST = "SELECT sequence, hash FROM audit_entries ORDER BY sequence DESC LIMIT 1"
_INSERT = AuditEntry.metadata.tables[AuditEntry.__tablename__].insert()
"""Without the ORM, which takes as long as the commit: every search waits for this, and every picture that is shown."""
_BATCH, _MOST_IDS = 1000, 100
"""Rows of a statement; ids of one: with more, entries are read rather than compared with each of them."""
Worded = Row[int, str, list[int], list[int], str | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are asked for; None: any.

    Attributes:
        action: all of it, or its beginning and `*`.
        since, until: from the first on, before the second.
        identity, image: one of the ids that the entry names.
        words: a part of what people wrote, such as a case. A-Z count as a-z; other letters as they are.
    """

    actor: str | None = None
    action: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    identity: int | None = None
    image: int | None = None
    words: str | None = None


class AuditChain:
    """Writes the chain, in a writing transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, rows: list[dict[str, Any]]) -> Head:
        """Put entries behind the last one; nobody else can until the commit."""
        self.hold()
        made = chained(rows, self.head())
        self._connection.execute(_INSERT, made)
        return Head(made[-1]["sequence"], made[-1]["hash"])

    def hold(self) -> None:
        """Keep all others from writing until the commit."""
        if self._connection.dialect.name == "postgresql":
            self._connection.exec_driver_sql(_TAKE_LOCK)

    def remove_upto(self, sequence: int) -> None:
        """Take the beginning of the chain away. Nobody but `app.audit.pruning` may, for it says so in the chain."""
        self._connection.execute(delete(AuditEntry).where(AuditEntry.sequence <= sequence))

    def head(self) -> Head:
        """The last entry; number 0 where there is none."""
        sqlite = self._connection.dialect.name == "sqlite"
        found = asked(self._connection, _LAST) if sqlite else self._connection.exec_driver_sql(_LAST)
        row = found.fetchone()
        return Head(0, GENESIS) if row is None else Head(row[0], str(row[1]))


class AuditRepository:
    """Reads the chain, and empties words of it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def first(self, count: int) -> list[AuditEntry]:
        """The oldest entries, in order."""
        return list(self._session.scalars(select(AuditEntry).order_by(AuditEntry.sequence).limit(count)))

    def old(self, before: datetime) -> int:
        """How many entries come before the first one that is not older than a time."""
        young = self._session.scalar(select(func.min(AuditEntry.sequence)).where(AuditEntry.at >= before))
        statement = select(func.count()).select_from(AuditEntry)
        if young is not None:
            statement = statement.where(AuditEntry.sequence < young)
        return int(self._session.execute(statement).scalar_one())

    def anchor(self) -> Head | None:
        """What the last removal took away; None where there was none."""
        # A verb that removes has an entry of its own as well, which does not say this.
        said = cast(AuditEntry.facts, String).contains(f'"{REMOVED_UPTO}"')
        statement = select(AuditEntry).where(AuditEntry.action == PRUNED, said)
        row = self._session.scalars(statement.order_by(AuditEntry.sequence.desc()).limit(1)).one_or_none()
        return None if row is None else anchor_of(row)

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

    def worded(self, *where: ColumnElement[bool]) -> Iterator[Worded]:
        """Number, action, ids of people and of images, and words of the entries that have words, in order."""
        columns = (AuditEntry.sequence, AuditEntry.action, AuditEntry.identity_ids, AuditEntry.image_ids)
        last = 0
        while True:
            statement = select(*columns, AuditEntry.words).where(
                AuditEntry.words.is_not(None), AuditEntry.sequence > last, *where
            )
            rows = self._session.execute(statement.order_by(AuditEntry.sequence).limit(_BATCH)).all()
            yield from rows
            if len(rows) < _BATCH:
                return
            last = rows[-1].sequence

    def perhaps_about(
        self, identity_ids: Collection[int], image_ids: Collection[int], names: Names, not_by: Iterable[str]
    ) -> Iterator[Worded]:
        """As `worded`: all entries that name one of some ids or hold one of some names, and others.

        Args:
            not_by: how actions begin whose ids are not looked at.
        """
        ids = [(AuditEntry.identity_ids, identity_ids), (AuditEntry.image_ids, image_ids)]
        asked = [_naming(column, number) for column, numbers in ids for number in numbers]
        about = or_(false(), *asked) if len(asked) <= _MOST_IDS else true()
        for beginning in not_by:  # not by LIKE, to which upper and lower case are the same on SQLite
            about = and_(func.substr(AuditEntry.action, 1, len(beginning)) != beginning, about)
        yield from self.worded(or_(about, names.maybe_in_json(AuditEntry.words)))

    def forget_words(self, sequences: Iterable[int]) -> int:
        """Erase what people wrote in entries; the chain still verifies. Returns how many had something."""
        count, wanted = 0, list(sequences)
        for start in range(0, len(wanted), _BATCH):
            statement = (
                update(AuditEntry)
                .where(AuditEntry.sequence.in_(wanted[start : start + _BATCH]), AuditEntry.words.is_not(None))
                .values(words=None, salt=None)
                .returning(AuditEntry.sequence)
            )
            count += len(self._session.scalars(statement).all())
        return count


def _filtered(statement: Select[tuple[AuditEntry]], wanted: Wanted) -> Select[tuple[AuditEntry]]:
    return statement.where(*_conditions(wanted))


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.actor is not None:
        yield AuditEntry.actor == wanted.actor
    if wanted.action is not None:
        prefix = wanted.action.removesuffix("*")
        exact = prefix == wanted.action
        yield AuditEntry.action == prefix if exact else AuditEntry.action.startswith(prefix, autoescape=True)
    if wanted.outcome is not None:
        yield AuditEntry.outcome == wanted.outcome
    if wanted.since is not None:
        yield AuditEntry.at >= wanted.since
    if wanted.until is not None:
        yield AuditEntry.at < wanted.until
    for column, wished in ((AuditEntry.identity_ids, wanted.identity), (AuditEntry.image_ids, wanted.image)):
        if wished is not None:
            yield _naming(column, wished)
    if wanted.words is not None:
        part = json.dumps(wanted.words, ensure_ascii=True)[1:-1]  # as it stands in the column
        yield func.lower(AuditEntry.words).contains(part.lower(), autoescape=True)


def _naming(column: InstrumentedAttribute[list[int]], number: int) -> ColumnElement[bool]:
    return cast(column, String).contains(f",{number},")
