"""What is wrong with a search."""

from app.errors.base import ConflictError, InvalidError, UnavailableError


class QueryEmptyError(InvalidError):
    """The description holds nothing."""

    code, title = "query_empty", "The description is empty"


class QueryTooLongError(InvalidError):
    """The description is longer than `max_query_chars`."""

    code, title = "query_too_long", "The description is too long"


class QueryNotUnderstoodError(InvalidError):
    """The description has no words, or none that the active model knows."""

    code, title = "query_not_understood", "No word of the description is known"


class QueryLanguageUnsupportedError(InvalidError):
    """The description is in a language that the models have not learnt."""

    code, title = "query_language_unsupported", "The language of the description is not understood"


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


class PicturesDifferError(InvalidError):
    """The pictures that a query names are not those that came with it."""

    code, title = "pictures_differ", "The pictures are not those that the query names"


class ImageNotEncodedError(UnavailableError):
    """An image has no vector under the version that answers, because another one takes over just now."""

    code, title = "image_not_encoded", "The image is not encoded yet"

    def __init__(self, image_id: int) -> None:
        super().__init__(f"image {image_id} is not encoded for the model version that answers; try again in a moment")


class ModelNotLoadedError(UnavailableError):
    """The active version is not in memory here yet; nor is another one that has every image."""

    code, title, retry_after = "model_not_loaded", "The model version is not loaded yet", 1

    def __init__(self, version_id: int) -> None:
        self.version_id = version_id
        super().__init__(
            f"model version {version_id} is active and not loaded here yet; try again in a moment, or ask another "
            "replica. If it stays so, the log says why"
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


class ModelNotExplainableError(ConflictError):
    """The network of the active version cannot say which places of an image a score comes from."""

    code, title = "model_not_explainable", "The model cannot be explained"
