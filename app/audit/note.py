"""What is known of an access while it goes on: services put into the note of the request what they return."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.database.tables import now

OK = "ok"


@dataclass(slots=True)
class Note:
    """One access.

    Attributes:
        facts: numbers and codes; nothing that a person wrote.
        words: what people wrote; it can be erased later.
        refused: whether the door did not let it in.
        written: whether the entry is in the chain: with the change itself, or by the writer.
        begin: hands the entry to the writer, where it is no part of a change.
        begun: the entry as it was handed over before the answer was ready.
    """

    action: str
    actor: str = "unknown"
    key_id: int | None = None
    outcome: str = OK
    facts: dict[str, Any] = field(default_factory=dict)
    words: dict[str, Any] = field(default_factory=dict)
    identity_ids: list[int] = field(default_factory=list)
    image_ids: list[int] = field(default_factory=list)
    at: datetime = field(default_factory=now)
    refused: bool = False
    written: bool = False
    begin: "Callable[[], Future[None]] | None" = None
    begun: "Future[None] | None" = None

    def row(self) -> dict[str, Any]:
        """The entry's own columns; its place in the chain comes later."""
        told = {name: value for name, value in dict(self.words).items() if value is not None}
        return {
            "at": self.at,
            "key_id": self.key_id,
            "actor": self.actor,
            "action": self.action,
            "outcome": self.outcome,
            "facts": dict(self.facts),
            "identity_ids": list(dict.fromkeys(self.identity_ids)),
            "image_ids": list(dict.fromkeys(self.image_ids)),
            "words": json.dumps(told, sort_keys=True, ensure_ascii=True) if told else None,
        }


_note: ContextVar[Note | None] = ContextVar("descry_audit_note", default=None)


@contextmanager
def noting(note: Note | None) -> Iterator[None]:
    """Let a note be that of a block, and of the threads that `run_in_threadpool` gives it."""
    token = _note.set(note)
    try:
        yield
    finally:
        _note.reset(token)


def current() -> Note | None:
    """The note of the access that goes on; None where nothing is audited (workers, tests of parts)."""
    return _note.get()


def noted(
    *, identities: Iterable[int] = (), images: Iterable[int] = (), facts: dict[str, Any] | None = None, **words: object
) -> None:
    """Add to the note: ids that are returned or changed, facts (numbers, codes), and words (what somebody wrote)."""
    if (note := _note.get()) is None:
        return
    note.identity_ids += identities
    note.image_ids += images
    note.facts |= facts or {}
    note.words |= words


def noted_refusal() -> None:
    """Note that the door did not let the access in."""
    if (note := _note.get()) is not None:
        note.refused = True


def noted_outcome(code: str) -> None:
    """Note the code of the error that is answered."""
    if (note := _note.get()) is not None:
        note.outcome = code


def noted_all() -> None:
    """Say that the answer is made: its entry is written while it is on its way to the client, who waits for both."""
    note = _note.get()
    if note is not None and note.begin is not None and note.begun is None:
        note.begun = note.begin()


def companion_of(note: Note, admitted: Callable[[], bool]) -> Callable[[Session], Callable[[], None] | None]:
    """Writes the entry of a change into the change's own transaction: both are committed, or neither.

    Args:
        admitted: whether the access was allowed already; what is written before (when a key was used) is no change.
    """

    def along(session: Session) -> Callable[[], None] | None:
        if note.written or not admitted():
            return None
        from app.audit.repository import AuditChain

        AuditChain(session.connection()).append([note.row()])

        def committed() -> None:
            note.written = True

        return committed

    return along
