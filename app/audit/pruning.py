"""Old entries leave the chain: always its whole beginning, and an entry says up to which, by which hash, and why.

That entry (`chain.anchor_of`) is what lets the rest be verified: the first one that is left follows from the hash that
it names, and it is itself covered by the chain. It is written in the transaction that removes, so that a crash leaves
both or neither, and goes along with a backup.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import takewhile

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from app.audit.chain import PRUNED, REMOVED_HASH, REMOVED_UPTO, Verifier
from app.audit.note import Note, current
from app.audit.repository import AuditChain, AuditRepository
from app.database.sessions import Database
from app.database.tables import now
from app.errors import AuditNotWholeError, AuditTooYoungError
from app.settings import LEAST_AUDIT_DAYS, Settings

_log = logging.getLogger(__name__)
CHUNK = 2000
"""Entries of one transaction: nobody can write meanwhile."""


def old(database: Database, before: datetime) -> int:
    """How many entries `prune` would remove.

    Raises:
        AuditTooYoungError: as there.
    """
    _check(before)
    with database.read() as session:
        return AuditRepository(session).old(before)


def prune(database: Database, before: datetime, policy: str, *, stop: Callable[[], bool] = lambda: False) -> int:
    """Remove the entries before the first one that is not older than `before`; returns how many.

    They are verified first: what somebody did to them would be gone with them.

    Args:
        policy: what says so; kept in the entry of the removal.
        stop: asked before each transaction.

    Raises:
        AuditTooYoungError: `before` is less than 90 days ago.
        AuditNotWholeError: something was done to those entries; the ones in front of it, whole chunks, may be gone.
    """
    _check(before)
    removed = 0
    while not stop():
        with database.append() as connection:
            count = _chunk(connection, before, policy)
        removed += count
        if count < CHUNK:
            break
    if removed:
        database.forget_pages()
        _log.info("audit: %d entries from before %s were removed by %s", removed, before.isoformat(), policy)
    return removed


def prune_by_rule(database: Database, settings: Settings) -> int:
    """`prune` as `DESCRY_AUDIT_KEEP_DAYS` says; nothing where it is not set, nor of a chain that is not whole."""
    if settings.audit_keep_days is None:
        return 0
    before = now() - timedelta(days=settings.audit_keep_days)
    with database.read() as session:
        first = AuditRepository(session).first(1)
    if not first or first[0].at >= before:
        return 0  # without the write lock
    try:
        return prune(database, before, f"DESCRY_AUDIT_KEEP_DAYS={settings.audit_keep_days}")
    except AuditNotWholeError as error:
        _log.error("the audit is not pruned: %s", error)
        return 0


def _check(before: datetime) -> None:
    latest = now() - timedelta(days=LEAST_AUDIT_DAYS)
    if before > latest:
        raise AuditTooYoungError(
            f"entries of the last {LEAST_AUDIT_DAYS} days stay; give a time before {latest:%Y-%m-%d %H:%M} UTC"
        )


def _chunk(connection: Connection, before: datetime, policy: str) -> int:
    chain = AuditChain(connection)
    chain.hold()
    found, count = Verifier(), 0
    with Session(connection) as session:
        audit = AuditRepository(session)
        for row in takewhile(lambda row: row.at < before, audit.first(CHUNK)):
            found.take(row)
            count += 1
        anchor = audit.anchor()
    if count == 0:
        return 0
    if found.begun.sequence > 0 and anchor != found.begun:
        raise AuditNotWholeError(f"entries 1 to {found.begun.sequence} are gone, and no removal says so; {_VERIFY}")
    if found.problems:
        worst = found.problems[0]
        raise AuditNotWholeError(f"{worst.kind} at {worst.sequence}: {worst.message}; {_VERIFY}")
    asks = current()
    facts = {REMOVED_UPTO: found.head.sequence, REMOVED_HASH: found.head.hash, "entries": count}
    facts |= {"before": before.isoformat(), "policy": policy}
    # Before the others go: it follows from the last one, which may be among them.
    chain.append([Note(PRUNED, actor="housekeeping" if asks is None else asks.actor, facts=facts).row()])
    chain.remove_upto(found.head.sequence)
    return count


_VERIFY = "nothing of it is removed before somebody has looked at that: `descry audit verify`"
