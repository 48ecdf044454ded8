"""The entry of a verb of `descry`: where verbs open the database, so that none can forget it."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager

import click

from app.audit.actions import changes, verbs
from app.audit.note import Note, companion_of, noting
from app.audit.repository import AuditRepository
from app.database.sessions import Database
from app.database.together import committing
from app.errors import AuditUnavailableError
from models.errors import DescryError

_DONE = "descry.audit.entry"


@contextmanager
def audited_verb(database: Database) -> Iterator[None]:
    """Write one entry for the verb that runs, before it prints: with its change, or when the block ends.

    What leaves data behind on this machine (`export`) has its entry before it begins. A server, a worker and whatever
    is not started by a verb has none here.

    Raises:
        AuditUnavailableError: it cannot be written.
    """
    context = click.get_current_context(silent=True)
    verb = "" if context is None else _verb(context)
    action = verbs().get(verb, "other") if verb else None
    if context is None or action is None or context.meta.get(_DONE):
        yield
        return
    context.meta[_DONE] = True
    note = Note(action, actor=f"cli:{_user()}", facts={"target": f"descry {verb}"})
    _of_arguments(context, note)
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


def _verb(context: click.Context) -> str:
    """`identities merge` of `descry identities merge`."""
    names = []
    while context.parent is not None:
        names.append(context.info_name or "")
        context = context.parent
    return " ".join(reversed(names))


def _of_arguments(context: click.Context, note: Note) -> None:
    """The ids that were given, and what the search is for."""
    given = context.params
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
    except DescryError as error:
        raise AuditUnavailableError(
            f"the audit cannot be written, and nothing is done or shown without it: {error.message}"
        ) from error
    note.written = True
