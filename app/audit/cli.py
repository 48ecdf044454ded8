"""The entry of a verb of `descry`: where verbs open the database, so that none can forget it."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from app.audit.actions import changes, verbs
from app.audit.note import Note, companion_of, noting
from app.audit.repository import AuditRepository
from app.audit.verb import running
from app.database.sessions import Database
from app.database.together import committing
from app.errors import AuditUnavailableError
from models.errors import DescryError


@contextmanager
def audited_verb(database: Database) -> Iterator[None]:
    """Write one entry for the verb that runs, before it prints: with its change, or when the block ends.

    What leaves data behind on this machine (`export`) has its entry before it begins. A server, a worker and whatever
    is not started by a verb has none here.

    Raises:
        AuditUnavailableError: it cannot be written.
    """
    verb = running()
    action = None if verb is None else verbs().get(verb.name, "other")
    if verb is None or action is None or verb.audited:
        yield
        return
    verb.audited = True
    note = Note(action, actor=f"cli:{_user()}", facts={"target": f"descry {verb.name}"})
    _of_arguments(verb.given, note)
    if action.startswith("export") or action == "audit.export":
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


def _of_arguments(given: dict[str, Any], note: Note) -> None:
    """The ids that were given, and what the search is for."""
    for name, ids in (("identity", note.identity_ids), ("image_id", note.image_ids)):
        if isinstance(value := given.get(name), int):
            ids.append(value)
    ids = note.identity_ids
    ids += [one for one in given.get("others") or () if isinstance(one, int)]
    for name in ("query", "purpose", "collection", "name"):
        if isinstance(value := given.get(name), str):
            note.words[name] = value
    if (out := given.get("out")) is not None:
        note.words["out"] = str(out)
    for name in ("key", "version", "model", "job_id", "run", "number"):
        value = given.get(name)
        if isinstance(value, int):
            note.facts[name] = value
        elif isinstance(value, str):
            note.words[name] = value


def _user() -> str:
    try:
        return getpass.getuser()[:200]
    except (KeyError, OSError):  # an account without a name
        return "unknown"


def _write(database: Database, note: Note) -> None:
    if note.written:
        return
    try:
        with database.append() as session:
            AuditRepository(session).append([note.row()])
    except (DescryError, SQLAlchemyError) as error:
        raise AuditUnavailableError(
            f"the audit cannot be written, and nothing is done or shown without it: {error}"
        ) from error
    note.written = True
