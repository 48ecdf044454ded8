"""Writes queries down, off the answer's path: a thread takes what came meanwhile, a transaction for all of it.

A query that is not written yet is found in memory. When the database cannot be written, searches go on: the queries
wait, and when too many wait, the oldest are given up, with a warning in the log.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from app.database.sessions import Database
from app.database.tables import Query, now
from app.database.visible import asked_by, limited
from app.errors import ServiceError
from app.queries.definition import definition, fingerprints
from app.queries.repository import QueryRepository
from app.search.schemas import SearchOptions

if TYPE_CHECKING:
    from app.search.query import Query as Answered

_log = logging.getLogger(__name__)
WAITING, GROUP = 10_000, 500
"""Most queries that wait, and most that are written in one transaction."""
_LINGER_S, _RETRY_S, _CLOSE_S = 0.1, 5.0, 15.0
Kind = Literal["text", "image", "composed"]


@dataclass(frozen=True, slots=True)
class AskedQuery:
    """A query that was answered.

    Attributes:
        definition: the request's body without `cursor` and `purpose`, with {"sha256": ...} for uploaded pictures.
        vectors: the unit-norm vector of each uploaded picture under the version, by SHA-256.
    """

    id: str
    kind: Kind
    definition: dict[str, Any]
    purpose: str | None
    version_id: int
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    created_at: datetime = field(default_factory=now)
    key_id: int | None = field(default_factory=asked_by)

    def columns(self) -> dict[str, Any]:
        """The row."""
        packed = [np.asarray(self.vectors[name], "<f4").tobytes() for name in fingerprints(self.definition)]
        return {
            "id": self.id,
            "created_at": self.created_at,
            "kind": self.kind,
            "definition": self.definition,
            "purpose": self.purpose,
            "key_id": self.key_id,
            "model_version_id": self.version_id,
            "vectors": b"".join(packed) or None,
        }


class Recorder:
    """The thread and what waits for it. Methods may be called from any thread."""

    def __init__(self, database: Database, *, waiting: int = WAITING) -> None:
        self._database, self._most = database, waiting
        self._waiting: dict[str, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._closing = self._hurry = self._failing = False
        self._thread: threading.Thread | None = None

    def put(self, query: AskedQuery) -> None:
        """Have a query written. Does not wait for that; beyond the bound the oldest one is given up."""
        row = query.columns()
        with self._changed:
            if self._closing:
                _log.warning("query %s came after the recorder was closed; it is not kept", query.id)
                return
            idle = not self._waiting
            self._waiting[query.id] = row
            if crowded := len(self._waiting) > self._most:
                lost = next(iter(self._waiting))
                del self._waiting[lost]
                _log.warning("%d queries wait to be written; query %s is not kept", self._most, lost)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="descry-queries", daemon=True)
                self._thread.start()
            if idle or crowded:  # else the thread is at it: to wake it for each query cost every search
                self._changed.notify_all()

    def note(self, query: "Answered", options: SearchOptions, query_id: str, version_id: int) -> None:
        """Have a query written that was answered just now. A further page, and one asked again, are known already."""
        if options.cursor is None and query.id is None:
            asked = definition(query.definition, options)
            kind: Kind = "text" if "query" in asked else "image" if "picture" in asked else "composed"
            purpose = (options.purpose or "").replace("\0", "").strip() or None  # PostgreSQL stores no NUL
            self.put(AskedQuery(query_id, kind, asked, purpose, version_id, query.uploaded))

    def find(self, query_id: str) -> Query | None:
        """A query that is not written yet, as the row that it will be."""
        with self._changed:
            found = self._waiting.get(query_id)
        if found is None or (limited() and found["key_id"] != asked_by()):
            return None
        return Query(**found, name=None, saved_at=None)

    def settle(self, query_id: str, timeout_s: float = 10.0) -> bool:
        """Wait until a query is written, or known not to be waiting; False if that takes too long."""
        with self._changed:
            if query_id not in self._waiting:
                return True
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: query_id not in self._waiting, timeout_s)

    def settle_all(self, timeout_s: float = 1.0) -> bool:
        """Wait until what waits now is written; False if that takes too long."""
        with self._changed:
            last = next(reversed(self._waiting), None)
        return last is None or self.settle(last, timeout_s)

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._changed:
            self._closing = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(_CLOSE_S)
        with self._changed:
            if self._waiting:
                _log.warning("%d queries could not be written and are not kept", len(self._waiting))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closing)
                if not self._waiting:
                    return
                # A moment for others to come along; after a failure, time for the disk to be seen to.
                self._changed.wait_for(lambda: self._closing or self._hurry, _RETRY_S if self._failing else _LINGER_S)
                closing, self._hurry = self._closing, False
                group = list(self._waiting.values())[:GROUP]
            if not self._write_group(group) and closing:
                return

    def _write_group(self, group: list[dict[str, Any]]) -> bool:
        """Write queries; False if the database cannot be written now. One that it refuses does not keep the others."""
        try:
            self._write(group)
        except Exception as error:  # noqa: BLE001  whatever a row does, the thread goes on for the others
            if _away(error):
                self._failing = True
                _log.warning("%d queries cannot be written, searches go on: %s", len(group), error)
                return False
            if len(group) > 1:
                return all(self._write_group([row]) for row in group)
            _log.warning("query %s cannot be written and is not kept: %s", group[0]["id"], error)
        self._drop(group)
        return True

    def _write(self, group: list[dict[str, Any]]) -> None:
        with self._database.write() as session:
            queries = QueryRepository(session)
            there = queries.known(row["id"] for row in group)  # a commit whose answer was lost
            queries.add([row for row in group if row["id"] not in there])

    def _drop(self, group: list[dict[str, Any]]) -> None:
        with self._changed:
            self._failing = False
            for row in group:
                self._waiting.pop(row["id"], None)
            self._changed.notify_all()


def _away(error: Exception) -> bool:
    """Whether it is the database that cannot take anything now, and not the row that is wrong."""
    return isinstance(error, DBAPIError | ServiceError) and not isinstance(error, DataError | IntegrityError)
