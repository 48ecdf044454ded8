"""What is wrong with a search."""

from app.errors.base import InvalidError


class QueryEmptyError(InvalidError):
    """The description holds nothing."""

    code, title = "query_empty", "The description is empty"


class QueryTooLongError(InvalidError):
    """The description is longer than `max_query_chars`."""

    code, title = "query_too_long", "The description is too long"


class QueryNotUnderstoodError(InvalidError):
    """The active model knows no word of the description."""

    code, title = "query_not_understood", "No word of the description is known"


class CursorInvalidError(InvalidError):
    """The text is no cursor that was given out."""

    code, title = "cursor_invalid", "The cursor cannot be read"

    def __init__(self) -> None:
        super().__init__("this is no `next_cursor` of an answer; leave `cursor` out to begin with the first page")


class CursorMismatchError(InvalidError):
    """The cursor belongs to another question."""

    code, title = "cursor_mismatch", "The cursor belongs to another question"

    def __init__(self) -> None:
        super().__init__(
            "this cursor is of an answer to another question; ask with the same query, collection, filters and "
            "`group_by`, or leave `cursor` out to begin with the first page"
        )


class FilterError(InvalidError):
    """A filter cannot be used as it is."""

    code, title = "filter_invalid", "The filter cannot be used"


class TimezoneUnknownError(FilterError):
    """No time zone has this name."""

    code, title = "timezone_unknown", "The time zone is not known"


class AttributeProtectedError(FilterError):
    """A filter by a protected attribute."""

    code, title = "attribute_protected", "No search by a protected attribute"
