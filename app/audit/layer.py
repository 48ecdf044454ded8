"""Round the door: no answer leaves before its entry is committed, and none at all where it cannot be."""

import asyncio
import re
from concurrent.futures import Future

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.principal import Principal
from app.audit.actions import action_of, changes
from app.audit.note import OK, Note, companion_of, noting
from app.audit.writer import WAIT_S, AuditWriter
from app.database.together import committing
from app.errors import AuditUnavailableError
from app.problems import service_problem
from app.telemetry import request_id

_OF_PATH = re.compile(r"/v1/(identities|images)/(\d{1,19})(?:/|$)")


class Audited:
    """The layer between `Guard` and `Door`: one entry for each request that the table of actions names.

    A change has its entry in its own transaction. All else is written when the answer is ready, before its first byte.
    What the door refuses is written whatever the route is.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; hold the answer back until the entry is there."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        action, target = action_of(scope["method"], scope["path"])
        note = Note(action or "", facts={"target": target, "request": request_id()})
        answer = _Answer(scope, receive, send, note)
        changing = action is not None and changes(action)
        along = companion_of(note, answer.admitted) if changing else None
        if action is not None and not changing:
            note.begin = answer.begin
        with noting(note), committing(along):
            try:
                await self._app(scope, receive, answer.send)
            except Exception as error:
                await answer.failed(error)
                raise


class _Answer:
    """One answer, which waits for its entry."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, note: Note) -> None:
        self._scope, self._receive, self._send, self._note = scope, receive, send, note
        self._begun = self._refused = False

    def admitted(self) -> bool:
        """Whether the door let the request in; the note then names who asks."""
        principal: Principal | None = self._scope.get("state", {}).get("principal")
        if principal is None:
            return False
        note = self._note
        note.actor, note.key_id = principal.name, principal.key_id
        if found := _OF_PATH.match(self._scope["path"]):
            ids = note.identity_ids if found[1] == "identities" else note.image_ids
            if int(found[2]) not in ids:
                ids.append(int(found[2]))
        return True

    def begin(self) -> "Future[None]":
        """Hand the entry over to the writer, as it is."""
        self.admitted()
        writer: AuditWriter = self._scope["app"].state.core.audit
        return writer.submit(self._note.row())

    async def send(self, message: Message) -> None:
        """Send on, once the entry is committed; else refuse in the answer's place."""
        if self._refused:
            return
        if message["type"] == "http.response.start" and not self._begun:
            self._begun = True
            if message["status"] >= 400 and self._note.outcome == OK:
                self._note.outcome = f"http_{message['status']}"
            try:
                await self._settle()
            except AuditUnavailableError as error:
                if message["status"] >= 500:  # it shows nothing of anybody, and says better what is wrong
                    await self._send(message)
                    return
                self._refused = True
                await service_problem(self._scope["path"], error)(self._scope, self._receive, self._send)
                return
        await self._send(message)

    async def failed(self, error: Exception) -> None:
        """The route raised something: an entry too, if no answer began."""
        if not self._begun:
            self._begun = True
            if self._note.outcome == OK:
                self._note.outcome = "client_gone" if isinstance(error, ClientDisconnect) else "internal_error"
            try:
                await self._settle()
            except AuditUnavailableError:
                return  # the client gets an error anyway, and what went wrong is in the log

    async def _settle(self) -> None:
        note = self._note
        self.admitted()  # names who asks, where somebody is known
        if note.refused:
            note.facts["wanted"] = note.action or None
            note.action, note.words["address"] = "refusal", (self._scope.get("client") or (None,))[0]
        if note.written or not note.action:
            return
        writer: AuditWriter = self._scope["app"].state.core.audit
        await written(writer, note)


async def written(writer: AuditWriter, note: Note) -> None:
    """Wait until the entry of a note is committed.

    Raises:
        AuditUnavailableError: it is not, and will not be unless it was being written just then.
    """
    future = note.begun
    if future is None or (note.outcome != OK and not future.done() and future.cancel()):
        future = writer.submit(note.row())
    try:
        await asyncio.wait_for(asyncio.wrap_future(future), WAIT_S)
    except TimeoutError:
        raise AuditUnavailableError(
            f"the entry of the audit was not written within {WAIT_S:g} s; nothing is answered without one; try again"
        ) from None
    except AuditUnavailableError:
        raise
    except Exception as error:
        raise AuditUnavailableError(
            f"the audit cannot be written, and nothing is answered without it: {error}"
        ) from error
    note.written = True
