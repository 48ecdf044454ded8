"""What is wrong on our side: too busy, not available, not configured."""

from app.errors.base import ConfigurationError, ServiceError, StorageError, UnavailableError


class BodyTooLargeError(ServiceError):
    """A request body above its limit."""

    status, code, title = 413, "body_too_large", "The request body is too large"


class BodyTimeoutError(ServiceError):
    """A request body that arrives too slowly, or not at all."""

    status, code, title = 408, "body_timeout", "The request body arrives too slowly"


class UploadsBusyError(ServiceError):
    """More batches are being uploaded than may be at once."""

    status, code, title, retry_after = 429, "uploads_busy", "Too many uploads at once", 10


class HostNotAllowedError(ServiceError):
    """The Host header names somebody else (DNS rebinding)."""

    status, code, title = 421, "host_not_allowed", "Host not allowed"


class OriginNotAllowedError(ServiceError):
    """A page of another origin tries to change something here."""

    status, code, title = 403, "origin_not_allowed", "Origin not allowed"


class EncoderBusyError(ServiceError):
    """More queries wait for the encoder than may wait. `retry_after`: seconds in which it has worked them off."""

    status, code, title = 429, "encoder_busy", "Too many queries at once"

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServerBusyError(ServiceError):
    """More searches are being answered than `max_searches`."""

    status, code, title, retry_after = 429, "server_busy", "Too many searches at once", 1


class EncoderTimeoutError(UnavailableError):
    """The encoder did not answer in `query_timeout_s`."""

    code, title = "encoder_timeout", "The encoder did not answer in time"


class EncoderStalledError(UnavailableError):
    """A pass of the encoder does not end; its thread was given up, and another one takes over."""

    code, title = "encoder_stalled", "The encoder hangs"


class EncoderFailedError(UnavailableError):
    """The encoder raised what nobody foresaw."""

    code, title = "encoder_failed", "The encoder failed"


class EncoderMemoryError(UnavailableError):
    """One item by itself does not fit into the memory of the device."""

    code, title, retry_after = "encoder_out_of_memory", "The encoder has too little memory", 30


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


class DatabaseDamagedError(UnavailableError):
    """The file of the database is none, or is damaged."""

    code, title = "database_damaged", "The database is damaged"


class DatabaseWriteError(StorageError):
    """The database cannot write: its disk is full, or fails."""

    code, title = "database_write_failed", "The database cannot be written"


class StoreUnreachableError(StorageError):
    """The bucket's server does not answer."""

    status, code, title, retry_after = 503, "store_unreachable", "The picture store does not answer", 10


class StoreDeniedError(StorageError):
    """The bucket's server refuses the credentials."""

    code, title = "store_denied", "The picture store refuses the credentials"


class BucketMissingError(StorageError):
    """The bucket does not exist."""

    code, title = "bucket_missing", "The bucket of the picture store does not exist"


class DiskLowError(StorageError):
    """Less is free on the disk than must stay free; nothing more is taken in."""

    code, title, retry_after = "disk_low", "The disk is nearly full", 60


class StagingFullError(StorageError):
    """The batches that wait fill what the staging area may hold."""

    code, title, retry_after = "staging_full", "The staging area is full", 60


class PortTakenError(ConfigurationError):
    """Another program listens on the port."""

    code, title = "port_taken", "The port is taken"


class WorkerNameTakenError(ConfigurationError):
    """A worker of this name runs already on this data folder."""

    code, title = "worker_name_taken", "The worker's name is taken"


class TracesNotInstalledError(ConfigurationError):
    """Traces are asked for, and OpenTelemetry is not installed."""

    code, title = "traces_not_installed", "OpenTelemetry is not installed"


class RuntimeUnavailableError(ConfigurationError):
    """The runtime of `DESCRY_RUNTIME` is not installed, or needs what this machine does not have."""

    code, title = "runtime_unavailable", "The runtime cannot run here"


class FaceBlurNotInstalledError(ConfigurationError):
    """`DESCRY_BLUR_FACES` is on, and what finds faces is not installed."""

    code, title = "face_blur_not_installed", "Faces cannot be blurred here"


class RuntimeRefusedError(ConfigurationError):
    """A runtime cannot run this network, or gives vectors too far from the exact ones."""

    code, title = "runtime_refused", "The runtime is refused for this checkpoint"


class FaissConflictError(ConfigurationError):
    """faiss-cpu and faiss-gpu are both installed and overwrite each other."""

    code, title = "faiss_conflict", "Two FAISS builds are installed"


class SnapshotError(ConfigurationError):
    """An index snapshot on disk cannot be used; the view is rebuilt from the database."""

    code, title = "snapshot_invalid", "The index snapshot cannot be used"


class DatabaseNewerError(ConfigurationError):
    """The schema of the database is that of a newer release."""

    code, title = "database_newer", "The database belongs to a newer release"


class DatabaseUrlError(ConfigurationError):
    """`database_url` names no database that Descry runs on, or one whose driver is not installed."""

    code, title = "database_url_invalid", "The database URL cannot be used"
