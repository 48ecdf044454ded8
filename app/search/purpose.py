"""What a search is for, and where that must be said."""

from typing import Any

from sqlalchemy.orm import Session

from app.access.repository import KeyRepository
from app.database.sessions import Database
from app.database.visible import asked_by
from app.errors import PurposeRequiredError
from app.search.schemas import SearchOptions
from app.settings import Settings


def purpose_required(settings: Settings, *, closed: bool) -> bool:
    """Whether a search over everything must say what it is for. `closed`: the gallery has a key."""
    return settings.purpose_required == "true" or (settings.purpose_required == "auto" and closed)


def check_purpose(options: SearchOptions, settings: Settings) -> None:
    """Refuse a request that does not say what its search is for, where that is required.

    Whether the gallery has a key is known by who asks: once there is one, nobody is let in without.

    Raises:
        PurposeRequiredError: it is, and there are no words.
    """
    if _missing(options, settings) and purpose_required(settings, closed=asked_by() is not None):
        raise _refusal()


def check_purpose_here(options: SearchOptions, settings: Settings, database: Database) -> None:
    """`check_purpose` for the command line, where nobody has a key: the database knows whether there is one.

    Raises:
        PurposeRequiredError: as there.
    """
    if not _missing(options, settings):
        return
    with database.read() as session:
        closed = KeyRepository(session).exists()
    if purpose_required(settings, closed=closed):
        raise _refusal()


def check_kept(collection: str | None, settings: Settings, session: Session) -> None:
    """Refuse that a search loses the purpose that it has, where it must have one.

    Raises:
        PurposeRequiredError: it must, and so would not be answered again either.
    """
    if collection in settings.purpose_free_collections:
        return
    if purpose_required(settings, closed=KeyRepository(session).exists()):
        raise PurposeRequiredError(
            "what the search is for cannot be taken away, only said otherwise; the audit keeps what it was before"
        )


def _missing(options: SearchOptions, settings: Settings) -> bool:
    # NUL is left out of what is stored, so that it says nothing.
    said = (options.purpose or "").replace("\0", "").strip()
    return not said and options.collection not in settings.purpose_free_collections


def _refusal() -> PurposeRequiredError:
    return PurposeRequiredError(
        "say what the search is for, such as a case: `purpose`, or --purpose; a stored query is given one by "
        "PATCH /v1/queries/{id}, or `descry queries save QUERY --purpose`"
    )


def asked_with(options: SearchOptions) -> dict[str, Any]:
    """What of the options a person has written, for the audit."""
    filters = None if options.filters is None else options.filters.model_dump(mode="json", exclude_none=True)
    return {"purpose": options.purpose, "collection": options.collection, "filters": filters}
