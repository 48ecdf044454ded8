"""Who holds which key, remembered for a second: each request asks, and a database need not answer each time."""

import threading
import time
from collections import OrderedDict
from datetime import datetime, timedelta

from app.access.principal import OPEN, Principal
from app.access.repository import KeyRepository
from app.access.service import KeyService
from app.access.tokens import Token
from app.database.sessions import Database
from app.database.tables import now
from app.errors import KeyRequiredError

_REMEMBERED_S, _MOST = 1.0, 1000
_NOTED = timedelta(minutes=1)


class Directory:
    """Finds the holder of a key. A revocation is seen here at once, and by other processes within a second."""

    def __init__(self, database: Database, *, may_be_open: bool) -> None:
        self._database, self._may_be_open = database, may_be_open
        self._known: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self._noted: dict[int, datetime] = {}
        self._closed, self._changes = False, 0
        self._looked = -_REMEMBERED_S
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Ask the database again: keys have changed."""
        with self._lock:
            self._known.clear()
            self._looked = -_REMEMBERED_S
            self._changes += 1

    def remembered(self, token: Token | None) -> Principal | None:
        """Who asks with a key, or without one, as far as that is known without a look into the database: then a request
        need not go to another thread."""
        with self._lock:
            if token is None:
                looked = self._may_be_open and time.monotonic() - self._looked < _REMEMBERED_S
                return OPEN if looked and not self._closed else None
            at, principal = self._known.get(token.digest, (0.0, OPEN))
            return principal if principal is not OPEN and time.monotonic() - at < _REMEMBERED_S else None

    def nobody(self) -> Principal:
        """Who asks without a key.

        Raises:
            KeyRequiredError: one is needed.
        """
        if self._may_be_open and not self._locked():
            return OPEN
        raise KeyRequiredError(
            "send a key as `Authorization: Bearer descry_...`; `descry keys create NAME --scope search` makes one"
        )

    def _locked(self) -> bool:
        """Whether a key was ever made; that does not become untrue."""
        with self._lock:
            if self._closed or time.monotonic() - self._looked < _REMEMBERED_S:
                return self._closed
            asked, changes = time.monotonic(), self._changes
        with self._database.read() as session:
            exists = KeyRepository(session).exists()
        with self._lock:
            self._closed = self._closed or exists
            if changes == self._changes:  # else the first key may have been made since
                self._looked = asked
        return exists

    def holder(self, token: Token) -> Principal:
        """Whose key it is.

        Raises:
            KeyInvalidError: nobody's; or it was revoked, or has expired.
        """
        if (known := self.remembered(token)) is not None:
            return known
        with self._database.read() as session:
            principal = KeyService(session).holder(token, now())
        self._note(principal)
        with self._lock:
            self._known[token.digest] = (time.monotonic(), principal)
            self._known.move_to_end(token.digest)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return principal

    def _note(self, principal: Principal) -> None:
        """Keep when a key was last used, not more often than each minute."""
        at, key_id = now(), principal.key_id
        if key_id is None or at - self._noted.get(key_id, at - 2 * _NOTED) < _NOTED:
            return
        self._noted[key_id] = at
        with self._database.write() as session:
            KeyRepository(session).used(key_id, at)
