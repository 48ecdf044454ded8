"""Every error that the service raises on purpose: typed, with HTTP status and stable code.

models.errors.DescryError
+-- ServiceError                      500 internal_error
    +-- NotFoundError                 404 not_found
    |   +-- IdentityNotFoundError         identity_not_found
    |   +-- ImageNotFoundError            image_not_found
    |   +-- ModelNotFoundError            model_version_not_found
    |   +-- CollectionNotFoundError       collection_not_found
    |   +-- JobNotFoundError              job_not_found
    +-- InvalidError                  422 invalid_request
    |   +-- CollectionNameError           collection_name_invalid
    |   +-- QueryEmptyError               query_empty
    |   +-- QueryTooLongError             query_too_long
    |   +-- QueryNotUnderstoodError       query_not_understood
    |   +-- SourceError                   source_unreadable
    |   +-- ManifestError                 manifest_invalid
    |   +-- EntryError                    manifest_entry_invalid
    |   +-- PathOutsideError              path_outside_folder
    |   +-- BatchError                    batch_invalid
    |   |   +-- BatchEntryError               batch_entry_refused
    |   |   +-- ArchiveError                  archive_unreadable
    |   |   +-- BatchTooLargeError        413 batch_too_large
    |   +-- PictureError                  picture_unreadable
    |       +-- FileMissingError          file_missing
    |       +-- FileUnreadableError       file_unreadable
    |       +-- FileChangedError          file_changed
    |       +-- EmptyFileError            file_empty
    |       +-- NotAnImageError           not_an_image
    |       +-- FormatError               format_unsupported
    |       +-- DamagedImageError         image_damaged
    |       +-- TooManyPixelsError        too_many_pixels
    |       +-- FileTooLargeError     413 file_too_large
    +-- ConflictError                 409 conflict
    |   +-- ExternalIdTakenError          external_id_taken
    |   +-- ModelNameTakenError           model_name_taken
    |   +-- CollectionNameTakenError      collection_name_taken
    |   +-- ModelIncompleteError          model_version_incomplete
    |   +-- ModelChangedError             model_changed
    |   +-- IdempotencyKeyError           idempotency_key_reused
    |   +-- JobFinishedError              job_finished
    |   +-- JobNotRetryableError          job_not_retryable
    |   +-- JobSourceChangedError         job_source_changed
    |   +-- JobTakenError                 job_taken
    |   +-- JobGivenUpError               job_given_up
    +-- BodyTooLargeError             413 body_too_large
    +-- HostNotAllowedError           421 host_not_allowed
    +-- OriginNotAllowedError         403 origin_not_allowed
    +-- EncoderBusyError              429 encoder_busy          Retry-After
    +-- UnavailableError              503 unavailable           Retry-After
    |   +-- EncoderTimeoutError           encoder_timeout
    |   +-- NoActiveModelError            no_active_model
    |   +-- DatabaseUnreachableError      database_unreachable
    +-- StorageError                  507 storage_failed
    |   +-- StoreUnreachableError     503 store_unreachable     Retry-After
    |   +-- StoreDeniedError              store_denied
    |   +-- BucketMissingError            bucket_missing
    +-- ConfigurationError            500 configuration_invalid
        +-- OpenHostError                 open_host_refused
        +-- PortTakenError                port_taken
        +-- WorkerNameTakenError          worker_name_taken
        +-- FaissConflictError            faiss_conflict
        +-- SnapshotError                 snapshot_invalid
        +-- DatabaseUrlError              database_url_invalid
"""

from typing import Any, ClassVar

from models.errors import DescryError

PROBLEM_JSON = "application/problem+json"


class ServiceError(DescryError):
    """The root of the service's errors. `retry_after` (seconds) becomes the header of that name."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    retry_after: ClassVar[int | None] = None

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


class IdentityNotFoundError(NotFoundError):
    """No identity has this id."""

    code, title = "identity_not_found", "Identity not found"

    def __init__(self, identity_id: int) -> None:
        super().__init__(f"there is no identity {identity_id}")


class ImageNotFoundError(NotFoundError):
    """No image has this id."""

    code, title = "image_not_found", "Image not found"

    def __init__(self, image_id: int) -> None:
        super().__init__(f"there is no image {image_id}")


class ModelNotFoundError(NotFoundError):
    """No model version has this id or name."""

    code, title = "model_version_not_found", "Model version not found"

    def __init__(self, wanted: int | str) -> None:
        super().__init__(f"there is no model version {wanted}; `descry models list` shows those that exist")


class CollectionNotFoundError(NotFoundError):
    """No collection has this name."""

    code, title = "collection_not_found", "Collection not found"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no collection {name[:200]!r}")


class JobNotFoundError(NotFoundError):
    """No job has this id."""

    code, title = "job_not_found", "Job not found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"there is no job {job_id}; `descry jobs list` shows those that exist")


class InvalidError(ServiceError):
    """The request, or a part of it, cannot be accepted as it is."""

    status, code, title = 422, "invalid_request", "Invalid request"


class CollectionNameError(InvalidError):
    """A text that cannot be the name of a collection."""

    code, title = "collection_name_invalid", "The collection's name cannot be used"


class QueryEmptyError(InvalidError):
    """The description holds nothing."""

    code, title = "query_empty", "The description is empty"


class QueryTooLongError(InvalidError):
    """The description is longer than `max_query_chars`."""

    code, title = "query_too_long", "The description is too long"


class QueryNotUnderstoodError(InvalidError):
    """The active model knows no word of the description."""

    code, title = "query_not_understood", "No word of the description is known"


class SourceError(InvalidError):
    """A folder to ingest is missing, not a folder, or not readable."""

    code, title = "source_unreadable", "The folder cannot be read"


class ManifestError(InvalidError):
    """A manifest as a whole cannot be used."""

    code, title = "manifest_invalid", "The manifest cannot be used"


class EntryError(InvalidError):
    """One entry of a manifest cannot be used."""

    code, title = "manifest_entry_invalid", "The manifest entry cannot be used"


class PathOutsideError(InvalidError):
    """An entry names a file outside the folder that is ingested."""

    code, title = "path_outside_folder", "The path leaves the folder"


class BatchError(InvalidError):
    """A batch that is refused as a whole; nothing of it is kept."""

    code, title = "batch_invalid", "The batch cannot be used"


class BatchEntryError(BatchError):
    """A file of a batch whose name or kind is refused: it could land elsewhere, or is an archive itself."""

    code, title = "batch_entry_refused", "A file of the batch is refused"


class ArchiveError(BatchError):
    """The archive is damaged, encrypted, or none."""

    code, title = "archive_unreadable", "The archive cannot be read"


class BatchTooLargeError(BatchError):
    """More files or bytes than a batch may have, or an archive that unpacks to far more than its size."""

    status, code, title = 413, "batch_too_large", "The batch is too large"


class PictureError(InvalidError):
    """A file cannot become a gallery image or a query."""

    code, title = "picture_unreadable", "The picture cannot be read"


class FileMissingError(PictureError):
    """An entry names a file that does not exist."""

    code, title = "file_missing", "The file does not exist"


class FileUnreadableError(PictureError):
    """The operating system refuses to read the file."""

    code, title = "file_unreadable", "The file cannot be read"


class FileChangedError(PictureError):
    """The file changed while it was ingested."""

    code, title = "file_changed", "The file changed while it was read"


class EmptyFileError(PictureError):
    """The file holds no byte."""

    code, title = "file_empty", "The file is empty"


class NotAnImageError(PictureError):
    """The content is no picture, whatever the name says."""

    code, title = "not_an_image", "Not a picture"


class FormatError(PictureError):
    """A picture, but not in a format that Descry reads."""

    code, title = "format_unsupported", "Unsupported picture format"


class DamagedImageError(PictureError):
    """A picture that is truncated or broken."""

    code, title = "image_damaged", "The picture is damaged"


class TooManyPixelsError(PictureError):
    """A picture above `max_pixels`; refused before decoding."""

    code, title = "too_many_pixels", "The picture has too many pixels"


class FileTooLargeError(PictureError):
    """A file above `max_upload_bytes`."""

    status, code, title = 413, "file_too_large", "The file is too large"


class ConflictError(ServiceError):
    """The request contradicts the present state."""

    status, code, title = 409, "conflict", "Conflict"


class ExternalIdTakenError(ConflictError):
    """Another identity has this external id."""

    code, title = "external_id_taken", "The external id is taken"

    def __init__(self, external_id: str) -> None:
        super().__init__(f"another identity has the external id {external_id!r}")


class ModelNameTakenError(ConflictError):
    """Another model version has this name."""

    code, title = "model_name_taken", "The model name is taken"


class CollectionNameTakenError(ConflictError):
    """Another collection has this name."""

    code, title = "collection_name_taken", "The collection's name is taken"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a collection {name!r} already")


class ModelIncompleteError(ConflictError):
    """The gallery is not completely encoded under the version."""

    code, title = "model_version_incomplete", "The gallery is not encoded for this model version"


class ModelChangedError(ConflictError):
    """Another model version became active while images were being encoded for the one before."""

    code, title = "model_changed", "The active model changed"


class IdempotencyKeyError(ConflictError):
    """The Idempotency-Key was used before, with another request."""

    code, title = "idempotency_key_reused", "The Idempotency-Key belongs to another request"


class JobFinishedError(ConflictError):
    """A job that has ended cannot be cancelled."""

    code, title = "job_finished", "The job has ended"


class JobNotRetryableError(ConflictError):
    """Nothing of the job failed, or it has not ended, or its files are gone."""

    code, title = "job_not_retryable", "There is nothing to retry"


class JobSourceChangedError(ConflictError):
    """The folder of a job does not hold any more what was listed when the job began."""

    code, title = "job_source_changed", "The folder changed during the job"


class JobTakenError(ConflictError):
    """Another worker has the job now: this one's heartbeat stopped for too long."""

    code, title = "job_taken", "Another worker has the job"


class JobGivenUpError(ConflictError):
    """The job was started again and again without getting on: it kills its workers."""

    code, title = "job_given_up", "The job was given up"


class BodyTooLargeError(ServiceError):
    """A request body above its limit."""

    status, code, title = 413, "body_too_large", "The request body is too large"


class HostNotAllowedError(ServiceError):
    """The Host header names somebody else (DNS rebinding)."""

    status, code, title = 421, "host_not_allowed", "Host not allowed"


class OriginNotAllowedError(ServiceError):
    """A page of another origin tries to change something here."""

    status, code, title = 403, "origin_not_allowed", "Origin not allowed"


class EncoderBusyError(ServiceError):
    """More queries wait for the encoder than may wait."""

    status, code, title, retry_after = 429, "encoder_busy", "Too many queries at once", 1


class UnavailableError(ServiceError):
    """Nothing is wrong with the request; the service cannot answer now."""

    status, code, title, retry_after = 503, "unavailable", "Not available now", 5


class EncoderTimeoutError(UnavailableError):
    """The encoder did not answer in `query_timeout_s`."""

    code, title = "encoder_timeout", "The encoder did not answer in time"


class NoActiveModelError(UnavailableError):
    """No model version is active, so nothing can be encoded."""

    code, title = "no_active_model", "No model version is active"

    def __init__(self) -> None:
        super().__init__(
            "no model version is active: `descry models register --shipped --activate` takes the one that comes with "
            "Descry, PATH instead of --shipped takes a checkpoint of your own"
        )


class DatabaseUnreachableError(UnavailableError):
    """The database does not answer, or does not let us in."""

    code, title = "database_unreachable", "The database cannot be opened"


class StorageError(ServiceError):
    """Pictures cannot be written: the disk is full, or the data folder is not writable."""

    status, code, title = 507, "storage_failed", "The picture store cannot be written"


class StoreUnreachableError(StorageError):
    """The bucket's server does not answer."""

    status, code, title, retry_after = 503, "store_unreachable", "The picture store does not answer", 10


class StoreDeniedError(StorageError):
    """The bucket's server refuses the credentials."""

    code, title = "store_denied", "The picture store refuses the credentials"


class BucketMissingError(StorageError):
    """The bucket does not exist."""

    code, title = "bucket_missing", "The bucket of the picture store does not exist"


class ConfigurationError(ServiceError):
    """The installation or a setting does not work."""

    code, title = "configuration_invalid", "Configuration error"


class OpenHostError(ConfigurationError):
    """Listening beyond loopback was not allowed explicitly."""

    code, title = "open_host_refused", "Refusing to listen openly"


class PortTakenError(ConfigurationError):
    """Another program listens on the port."""

    code, title = "port_taken", "The port is taken"


class WorkerNameTakenError(ConfigurationError):
    """A worker of this name runs already on this data folder."""

    code, title = "worker_name_taken", "The worker's name is taken"


class FaissConflictError(ConfigurationError):
    """faiss-cpu and faiss-gpu are both installed and overwrite each other."""

    code, title = "faiss_conflict", "Two FAISS builds are installed"


class SnapshotError(ConfigurationError):
    """An index snapshot on disk cannot be used; the view is rebuilt from the database."""

    code, title = "snapshot_invalid", "The index snapshot cannot be used"


class DatabaseUrlError(ConfigurationError):
    """`database_url` names no database that Descry runs on, or one whose driver is not installed."""

    code, title = "database_url_invalid", "The database URL cannot be used"
