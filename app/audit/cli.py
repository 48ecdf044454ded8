"""The entry of a verb of `descry`: where verbs open the database, so that none can forget it."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from app.audit.actions import changes, verbs
from app.audit.note import Note, companion_of, noting
from app.audit.repository import AuditChain
from app.audit.verb import Verb, running
from app.database.audit_table import AuditEntry
from app.database.sessions import Database
from app.database.together import committing
from app.errors import AuditUnavailableError
from models.errors import DescryError

_LEAVE_FILES = {"export.create", "export.feedback", "export.subject", "export.backup", "audit.export"}
"""They write files while they run: their entry comes first. What `export.results` writes, it writes afterwards."""

_WORDS = ("query", "purpose", "collection", "name", "camera", "out", "path", "folder")
_EITHER = ("key", "version", "model", "job_id", "run", "number", "originals")
"""Arguments and options that an entry tells: words, and what may be a number."""


@contextmanager
def audited_verb(database: Database) -> Iterator[None]:
    """Write one entry for the verb that runs, before it prints: with its change, or when the block ends.

    What leaves files behind while it runs has its entry before it begins. A server, a worker and whatever
    is not started by a verb has none here.

    Raises:
        AuditUnavailableError: it cannot be written.
    """
    verb = running()
    action = None if verb is None else _action(verb)
    if verb is None or action is None or verb.audited:
        yield
        return
    verb.audited = True
    note = Note(action, actor=f"cli:{_user()}", facts={"target": f"descry {verb.name}"})
    _of_arguments(verb.given, note)
    if action in _LEAVE_FILES:
        _write(database, note)
    along = companion_of(note, lambda: True) if changes(action) else None
    with noting(note), committing(along):
        try:
            yield
        except Exception as error:
            note.outcome = error.code if isinstance(error, DescryError) else "failed"
            _write(database, note)
            raise
    _write(database, note)


def has_audit(database: Database) -> bool:
    """Whether the schema has the audit's table: releases before it have not."""
    with database.read() as session:
        return inspect(session.connection()).has_table(AuditEntry.__tablename__)


def _action(verb: Verb) -> str | None:
    """That of the table; `subject` is several things, as its options say."""
    if verb.name != "subject":
        return verbs().get(verb.name, "other")
    if verb.given.get("image") is not None:
        return "search.subject"
    if verb.given.get("out") is not None:
        return "export.subject"
    return "change.erase" if verb.given.get("erase") else "view.subject"


def _of_arguments(given: dict[str, Any], note: Note) -> None:
    """The ids that were given, where files are or go, and what a search is for."""
    for name, ids in (("identity", note.identity_ids), ("image_id", note.image_ids), ("image", note.image_ids)):
        if isinstance(value := given.get(name), int):
            ids.append(value)
    note.identity_ids += [one for one in given.get("others") or () if isinstance(one, int)]
    for name in (*_WORDS, *_EITHER):
        value = given.get(name)
        if isinstance(value, str | Path):
            note.words[name] = str(value)
        elif isinstance(value, int) and name in _EITHER:
            note.facts[name] = value
    if given.get("erase") is True:
        note.facts["erase"] = True
    if paths := given.get("paths"):
        note.words["paths"] = [str(path) for path in paths]


def _user() -> str:
    try:
        return getpass.getuser()[:200]
    except (KeyError, OSError):  # an account without a name
        return "unknown"


def _write(database: Database, note: Note) -> None:
    if note.written:
        return
    try:
        with database.append() as connection:
            AuditChain(connection).append([note.row()])
    except (DescryError, SQLAlchemyError) as error:
        raise AuditUnavailableError(
            f"the audit cannot be written, and nothing is done or shown without it: {error}"
        ) from error
    note.written = True
