"""Writes entries and lets those who ask wait for it: what waits together is written in one transaction."""

import logging
import threading
from concurrent.futures import Future, InvalidStateError
from typing import Any

from app.audit.repository import AuditChain
from app.database.sessions import Database
from app.errors import AuditUnavailableError

_log = logging.getLogger(__name__)
GROUP = 200
"""Most entries of one transaction."""
WAIT_S, _CLOSE_S = 10.0, 15.0
"""Longest wait of a request for its entry: then it is refused."""


class AuditWriter:
    """The thread and what waits for it. Methods may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[dict[str, Any], Future[None]]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def submit(self, row: dict[str, Any]) -> "Future[None]":
        """Have an entry written. The future is done when it is committed, or fails with what hindered it.

        An entry whose future is cancelled before its turn is not written.
        """
        future: Future[None] = Future()
        with self._changed:
            if self._closing:
                future.set_exception(AuditUnavailableError("the server is being stopped"))
                return future
            self._waiting.append((row, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="descry-audit", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return future

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._changed:
            self._closing = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(_CLOSE_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closing)
                if not self._waiting:
                    return
                group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
            # From here on nobody can cancel: whoever gave up before is not in the chain.
            self._write([(row, future) for row, future in group if future.set_running_or_notify_cancel()])

    def _write(self, group: "list[tuple[dict[str, Any], Future[None]]]") -> None:
        if not group:
            return
        try:
            with self._database.append() as connection:
                AuditChain(connection).append([row for row, _ in group])
        except Exception as error:  # noqa: BLE001  whatever it is, those who wait must hear of it
            _log.warning("%d entries of the audit cannot be written: %s", len(group), error)
            for _, future in group:
                _settle(future, error)
            return
        for _, future in group:
            _settle(future, None)


def _settle(future: "Future[None]", error: Exception | None) -> None:
    try:
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
    except InvalidStateError:  # pragma: no cover  nobody else sets it
        _log.exception("an entry of the audit was settled twice")
