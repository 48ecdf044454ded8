"""The roots: an error of the service carries its HTTP status, a stable code, and its entry in the OpenAPI document."""

from typing import Any, ClassVar

from models.errors import DescryError

PROBLEM_JSON = "application/problem+json"


class ServiceError(DescryError):
    """The root of the service's errors. `retry_after` (seconds) becomes the header of that name."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    retry_after: int | None = None

    @classmethod
    def openapi(cls) -> dict[str, Any]:
        """The entry of this error under `responses` of an operation."""
        return {
            "description": f"{cls.title} (`{cls.code}`)",
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }


def responses(*errors: type[ServiceError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for the errors that an operation can raise; those of one status share an entry."""
    entries: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        entry = error.openapi()
        if error.status in entries:
            entry["description"] = f"{entries[error.status]['description']}; {entry['description']}"
        entries[error.status] = entry
    return entries


class NotFoundError(ServiceError):
    """Something that was named does not exist (any more)."""

    status, code, title = 404, "not_found", "Not found"


class InvalidError(ServiceError):
    """The request, or a part of it, cannot be accepted as it is."""

    status, code, title = 422, "invalid_request", "Invalid request"


class BatchError(InvalidError):
    """A batch that is refused as a whole; nothing of it is kept."""

    code, title = "batch_invalid", "The batch cannot be used"


class PictureError(InvalidError):
    """A file cannot become a gallery image or a query."""

    code, title = "picture_unreadable", "The picture cannot be read"


class ConflictError(ServiceError):
    """The request contradicts the present state."""

    status, code, title = 409, "conflict", "Conflict"


class UnavailableError(ServiceError):
    """Nothing is wrong with the request; the service cannot answer now."""

    status, code, title, retry_after = 503, "unavailable", "Not available now", 5


class StorageError(ServiceError):
    """Something cannot be written: the disk is full, or the data folder is not writable."""

    status, code, title = 507, "storage_failed", "The picture store cannot be written"


class ConfigurationError(ServiceError):
    """The installation or a setting does not work."""

    code, title = "configuration_invalid", "Configuration error"
