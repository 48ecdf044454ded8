"""What is wrong with a query that was asked before, or with what is said about it."""

from app.errors.base import ConflictError, InvalidError, NotFoundError


class QueryNotFoundError(NotFoundError):
    """No query has this id, or it was swept."""

    code, title = "query_not_found", "Query not found"

    def __init__(self, query_id: str) -> None:
        super().__init__(
            f"there is no query {query_id[:40]!r}; without name and feedback one goes after DESCRY_QUERY_KEEP_S"
        )


class FeedbackNotFoundError(NotFoundError):
    """The query has no such feedback."""

    code, title = "feedback_not_found", "Feedback not found"


class QueryOutdatedError(ConflictError):
    """A query with an uploaded picture, of which only another model version's vector is known."""

    code, title = "query_outdated", "The query belongs to another model version"


class ResultsTooLargeError(InvalidError):
    """More candidates or images than a sheet of results takes."""

    code, title = "results_too_large", "Too many results for a sheet"
