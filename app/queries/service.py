"""Queries that were asked: found, listed, named, deleted, swept."""

import base64
import binascii
import json
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from app.audit.note import noted
from app.database.sessions import Database
from app.database.tables import Query, now
from app.errors import InvalidError, QueryNotFoundError, UnavailableError
from app.queries.definition import fingerprints, in_words
from app.queries.ids import FORM, may_come_s
from app.queries.recorder import Recorder
from app.queries.repository import FeedbackRepository, QueryRepository
from app.queries.schemas import QueryOut, QueryPage, QueryPatch, QueryVersion
from app.registry.repository import ModelRepository
from app.search.purpose import check_kept
from app.settings import Settings
from app.vectors.repository import LogRepository

_LOOK_S = 0.05
_LOOKING = threading.BoundedSemaphore(8)
"""So many wait at once for what another process writes: ids can be made up, and threads are few."""


class QueryService:
    """Reads and changes queries. Those that are not written down yet are found, too, whichever process was asked."""

    def __init__(self, database: Database, recorder: Recorder) -> None:
        self._database, self._recorder = database, recorder

    def find(self, query_id: str) -> Query:
        """One query.

        Raises:
            QueryNotFoundError: there is none.
        """
        waiting = self._recorder.find(query_id)
        if (found := self._read(query_id) or waiting or self._awaited(query_id)) is None:
            raise QueryNotFoundError(query_id)
        return found

    def written(self, query_id: str) -> None:
        """Wait until a query is in the database, so that a unit of work can refer to it.

        Raises:
            QueryNotFoundError: there is none.
            UnavailableError: it cannot be written now.
        """
        if not self._recorder.settle(query_id):
            raise UnavailableError("the query is not written down yet, for the database takes no writes; try again")
        if (self._read(query_id) or self._awaited(query_id)) is None:
            raise QueryNotFoundError(query_id)

    def _read(self, query_id: str) -> Query | None:
        with self._database.read() as session:
            return QueryRepository(session).get(query_id)

    def _awaited(self, query_id: str) -> Query | None:
        """A query that another process has answered just now, as soon as it is in the database."""
        until = time.monotonic() + may_come_s(query_id)
        if time.monotonic() >= until or not _LOOKING.acquire(blocking=False):
            return None
        try:
            while (found := self._read(query_id)) is None and time.monotonic() < until:
                time.sleep(_LOOK_S)
            return found
        finally:
            _LOOKING.release()

    def out(self, query_id: str) -> QueryOut:
        """One query, for the API.

        Raises:
            QueryNotFoundError: there is none.
        """
        row = self.find(query_id)
        with self._database.read() as session:
            return _out(session, [row])[0]

    def page(self, *, saved: bool | None, cursor: str | None, limit: int) -> QueryPage:
        """Queries, newest first. Those that another process answered a moment ago may be missing.

        Raises:
            InvalidError: the cursor is none of ours.
        """
        self._recorder.settle_all()
        with self._database.read() as session:
            rows = QueryRepository(session).page(saved=saved, before=_place(cursor), limit=limit + 1)
            told = _out(session, rows[:limit])
        return QueryPage(queries=told, next_cursor=_cursor(rows[limit - 1]) if len(rows) > limit else None)

    def change(self, query_id: str, patch: QueryPatch, settings: Settings) -> QueryOut:
        """Apply the fields that the patch names. The audit has the purpose as it was, and as it is.

        Raises:
            QueryNotFoundError, UnavailableError: see `written`.
            PurposeRequiredError: it would take away a purpose that the search must have.
        """
        self.written(query_id)
        with self._database.write() as session:
            if (row := QueryRepository(session).get(query_id)) is None:
                raise QueryNotFoundError(query_id)
            if "name" in patch.model_fields_set:
                row.name = patch.name
                row.saved_at = None if patch.name is None else row.saved_at or now()
                noted(name=row.name)
            if "purpose" in patch.model_fields_set and row.purpose != patch.purpose:
                if patch.purpose is None:
                    check_kept(row.definition.get("collection"), settings, session)
                done = "said" if row.purpose is None else "changed" if patch.purpose is not None else "taken_away"
                noted(facts={"purpose": done}, purpose=patch.purpose, purpose_before=row.purpose)
                row.purpose = patch.purpose
            return _out(session, [row])[0]

    def delete(self, query_id: str) -> None:
        """Delete a query with its feedback.

        Raises:
            QueryNotFoundError, UnavailableError: see `written`.
        """
        self.written(query_id)
        with self._database.write() as session:
            QueryRepository(session).delete(query_id)


def sweep(database: Database, keep_s: float) -> int:
    """Forget queries older than `keep_s` that have neither a name nor feedback; returns how many."""
    before = now() - timedelta(seconds=keep_s)
    with database.read() as session:
        if not QueryRepository(session).stale(before):
            return 0
    with database.write() as session:
        return QueryRepository(session).sweep(before)


def _out(session: Session, rows: Sequence[Query]) -> list[QueryOut]:
    counts = FeedbackRepository(session).counts([row.id for row in rows])
    active = LogRepository(session).head().active_version_id
    versions = {row.model_version_id: ModelRepository(session).get(row.model_version_id) for row in rows}
    return [
        QueryOut.model_validate(
            {
                "id": row.id,
                "kind": row.kind,
                "created_at": row.created_at,
                "definition": row.definition,
                "words": in_words(row.definition),
                "purpose": row.purpose,
                "model_version": QueryVersion(
                    id=row.model_version_id, name=version.name if (version := versions[row.model_version_id]) else None
                ),
                "name": row.name,
                "saved_at": row.saved_at,
                "feedback": counts.get(row.id, 0),
                "outdated": bool(fingerprints(row.definition))
                and (row.vectors is None or row.model_version_id != active),
            }
        )
        for row in rows
    ]


def _cursor(row: Query) -> str:
    return base64.urlsafe_b64encode(json.dumps([row.created_at.isoformat(), row.id]).encode()).decode()


def _place(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    try:
        at, query_id = json.loads(base64.urlsafe_b64decode(cursor))
        instant = datetime.fromisoformat(at)
        # What a database would refuse is none of ours either: an instant outside its years, text that is no id.
        place = (instant.astimezone(UTC), query_id) if instant.tzinfo and FORM.fullmatch(query_id) else None
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        place = None
    if place is None:
        raise InvalidError("the cursor is none that a list of queries gave; leave it out to begin again")
    return place
