"""What a search is for, and where that must be said."""

from typing import Any

from app.errors import PurposeRequiredError
from app.search.schemas import SearchOptions
from app.settings import Settings


def check_purpose(options: SearchOptions, settings: Settings) -> None:
    """Refuse a search that does not say what it is for, where that is required.

    Raises:
        PurposeRequiredError: it is, and there are no words.
    """
    if settings.purpose_required and not (options.purpose or "").strip():
        raise PurposeRequiredError("say what the search is for, such as a case: `purpose`, or --purpose")


def asked_with(options: SearchOptions) -> dict[str, Any]:
    """What of the options a person has written, for the audit."""
    filters = None if options.filters is None else options.filters.model_dump(mode="json", exclude_none=True)
    return {"purpose": options.purpose, "collection": options.collection, "filters": filters}
