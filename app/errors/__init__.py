"""Every error that the service raises on purpose: typed, with HTTP status and stable code.

models.errors.DescryError
+-- ServiceError                      500 internal_error
    +-- NotFoundError                 404 not_found
    |   +-- IdentityNotFoundError         identity_not_found
    |   |   +-- IdentityMergedError           identity_merged       names merged_into
    |   +-- IdentityEventNotFoundError    identity_event_not_found
    |   +-- AssociationNotFoundError      association_not_found
    |   +-- ImageNotFoundError            image_not_found
    |   +-- ModelNotFoundError            model_version_not_found
    |   +-- CollectionNotFoundError       collection_not_found
    |   +-- JobNotFoundError              job_not_found
    |   +-- JobResultGoneError            job_result_gone
    |   +-- QueryNotFoundError            query_not_found
    |   +-- FeedbackNotFoundError         feedback_not_found
    |   +-- IdentificationNotFoundError   identification_not_found
    |   +-- KeyNotFoundError              key_not_found
    +-- InvalidError                  422 invalid_request
    |   +-- CollectionNameError           collection_name_invalid
    |   +-- KeyRefusedError               key_refused
    |   +-- PurposeRequiredError          purpose_required
    |   +-- AuditTooYoungError            audit_too_young
    |   +-- RecipeRefusedError            recipe_invalid
    |   +-- CursorInvalidError            cursor_invalid
    |   +-- CursorMismatchError           cursor_mismatch
    |   +-- QueryEmptyError               query_empty
    |   +-- QueryTooLongError             query_too_long
    |   +-- QueryLanguageUnsupportedError query_language_unsupported
    |   +-- QueryNotUnderstoodError       query_not_understood
    |   +-- ResultsTooLargeError          results_too_large
    |   +-- PicturesDifferError           pictures_differ
    |   +-- FilterError                   filter_invalid
    |   |   +-- TimezoneUnknownError          timezone_unknown
    |   |   +-- AttributeProtectedError       attribute_protected
    |   +-- CheckpointRefusedError        checkpoint_invalid
    |   +-- BackupError                   backup_unusable
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
    |   +-- VideoError                    video_unreadable
    |   |   +-- VideoEmptyError               video_empty
    |   |   +-- NotAVideoError                not_a_video
    |   |   +-- VideoDamagedError             video_damaged
    |   |   +-- VideoTooLargeError        413 video_too_large
    |   +-- VideoStartError               video_start_invalid
    +-- ConflictError                 409 conflict
    |   +-- ExternalIdTakenError          external_id_taken
    |   +-- IdentityNamesDifferError      identity_names_differ
    |   +-- MergeNotUndoableError         merge_not_undoable
    |   +-- AssociationRunningError       association_running
    |   +-- AssociationUndoneError        association_undone
    |   +-- AssociationTooLargeError      association_too_large
    |   +-- ModelNotCalibratedError       model_not_calibrated
    |   +-- ModelNameTakenError           model_name_taken
    |   +-- CollectionNameTakenError      collection_name_taken
    |   +-- ModelIncompleteError          model_version_incomplete
    |   +-- ModelRefusedError             model_refused
    |   +-- ModelInUseError               model_in_use
    |   +-- ModelNotExplainableError      model_not_explainable
    |   +-- NoPredecessorError            no_predecessor
    |   +-- ActivationSupersededError     activation_superseded
    |   +-- ModelChangedError             model_changed
    |   +-- IdempotencyKeyError           idempotency_key_reused
    |   +-- JobFinishedError              job_finished
    |   +-- JobNotRetryableError          job_not_retryable
    |   +-- JobSourceChangedError         job_source_changed
    |   +-- AuditNotWholeError            audit_not_whole
    |   +-- QueryOutdatedError            query_outdated
    |   +-- SecondPersonMissingError      second_person_missing
    |   +-- SamePersonError               second_person_needed
    |   +-- NotAPartyError                not_a_party
    |   +-- IdentificationSettledError    identification_settled
    |   +-- IdentificationExistsError     identification_exists
    |   +-- JobTakenError                 job_taken
    |   +-- JobGivenUpError               job_given_up
    |   +-- ExportTooLargeError           export_too_large
    |   +-- ExportTargetError             export_target_exists
    |   +-- BackupTargetError             backup_target_taken
    |   +-- EnginesDifferError            vector_engines_differ
    |   +-- MemoryShortError              memory_short
    |   +-- RetrainingDataError           retraining_data
    |   +-- TrainingFailedError           training_failed
    |   |   +-- TrainingNotFiniteError        training_not_finite
    |   |   +-- TrainingMemoryError           training_out_of_memory
    |   |   +-- TrainingDiskError             training_disk_full
    |   |   +-- TrainingKilledError           training_killed
    +-- BodyTooLargeError             413 body_too_large
    +-- BodyTimeoutError              408 body_timeout
    +-- UploadsBusyError              429 uploads_busy          Retry-After
    +-- HostNotAllowedError           421 host_not_allowed
    +-- OriginNotAllowedError         403 origin_not_allowed
    +-- KeyRequiredError              401 key_required
    +-- KeyInvalidError               401 key_invalid
    |   +-- KeyRevokedError               key_revoked
    |   +-- KeyExpiredError               key_expired
    +-- ScopeMissingError             403 scope_missing
    +-- RateLimitedError              429 rate_limited          Retry-After
    +-- EncoderBusyError              429 encoder_busy          Retry-After
    +-- ServerBusyError               429 server_busy           Retry-After
    +-- UnavailableError              503 unavailable           Retry-After
    |   +-- EncoderTimeoutError           encoder_timeout
    |   +-- EncoderStalledError           encoder_stalled
    |   +-- EncoderFailedError            encoder_failed
    |   +-- EncoderMemoryError            encoder_out_of_memory
    |   +-- ImageNotEncodedError          image_not_encoded
    |   +-- ModelNotLoadedError           model_not_loaded
    |   +-- NoActiveModelError            no_active_model
    |   +-- AuditUnavailableError         audit_unavailable
    |   +-- DatabaseDamagedError          database_damaged
    |   +-- DatabaseUnreachableError      database_unreachable
    |   +-- VectorStoreError              vector_store_failed
    |   |   +-- VectorStoreUnreachableError   vector_store_unreachable
    |   |   +-- VectorStoreDeniedError        vector_store_denied
    |   |   +-- VectorStoreLostError          vector_store_lost
    |   |   +-- VectorStoreReleasedError      vector_store_released
    +-- StorageError                  507 storage_failed
    |   +-- StoreUnreachableError     503 store_unreachable     Retry-After
    |   +-- DatabaseWriteError            database_write_failed
    |   +-- StoreDeniedError              store_denied
    |   +-- BucketMissingError            bucket_missing
    |   +-- DiskLowError                  disk_low              Retry-After
    |   +-- StagingFullError              staging_full          Retry-After
    +-- ConfigurationError            500 configuration_invalid
        +-- PortTakenError                port_taken
        +-- WorkerNameTakenError          worker_name_taken
        +-- FaissConflictError            faiss_conflict
        +-- TracesNotInstalledError       traces_not_installed
        +-- RuntimeUnavailableError       runtime_unavailable
        +-- RuntimeRefusedError           runtime_refused
        +-- FaceBlurNotInstalledError     face_blur_not_installed
        +-- SnapshotError                 snapshot_invalid
        +-- DatabaseNewerError            database_newer
        +-- DatabaseUrlError              database_url_invalid
        +-- VectorEngineMissingError      vector_engine_missing
        +-- GpuIndexMissingError          gpu_index_missing
        +-- VectorStoreInUseError         vector_store_in_use
        +-- VectorStoreMismatchError      vector_store_mismatch
        +-- VideoNotInstalledError        video_not_installed
        +-- DetectorError                 detector_unusable
"""

from app.errors.access import *  # noqa: F403  what a room has many of, it lists itself
from app.errors.access import __all__ as _of_access
from app.errors.backups import BackupError, BackupTargetError
from app.errors.base import (
    PROBLEM_JSON,
    BatchError,
    ConfigurationError,
    ConflictError,
    InvalidError,
    NotFoundError,
    PictureError,
    ServiceError,
    StorageError,
    UnavailableError,
    responses,
)
from app.errors.identifications import *  # noqa: F403
from app.errors.identifications import __all__ as _of_identifications
from app.errors.queries import FeedbackNotFoundError, QueryNotFoundError, QueryOutdatedError, ResultsTooLargeError
from app.errors.requests import (
    ActivationSupersededError,
    ArchiveError,
    AssociationNotFoundError,
    AssociationRunningError,
    AssociationTooLargeError,
    AssociationUndoneError,
    BatchEntryError,
    BatchTooLargeError,
    CheckpointRefusedError,
    CollectionNameError,
    CollectionNameTakenError,
    CollectionNotFoundError,
    DamagedImageError,
    EmptyFileError,
    EntryError,
    ExportTargetError,
    ExportTooLargeError,
    ExternalIdTakenError,
    FileChangedError,
    FileMissingError,
    FileTooLargeError,
    FileUnreadableError,
    FormatError,
    IdempotencyKeyError,
    IdentityEventNotFoundError,
    IdentityMergedError,
    IdentityNamesDifferError,
    IdentityNotFoundError,
    ImageNotFoundError,
    JobFinishedError,
    JobGivenUpError,
    JobNotFoundError,
    JobNotRetryableError,
    JobResultGoneError,
    JobSourceChangedError,
    JobTakenError,
    ManifestError,
    MergeNotUndoableError,
    ModelChangedError,
    ModelIncompleteError,
    ModelInUseError,
    ModelNameTakenError,
    ModelNotCalibratedError,
    ModelNotFoundError,
    ModelRefusedError,
    NoPredecessorError,
    NotAnImageError,
    PathOutsideError,
    RecipeRefusedError,
    RetrainingDataError,
    SourceError,
    TooManyPixelsError,
    TrainingDiskError,
    TrainingFailedError,
    TrainingKilledError,
    TrainingMemoryError,
    TrainingNotFiniteError,
)
from app.errors.search import (
    AttributeProtectedError,
    CursorInvalidError,
    CursorMismatchError,
    FilterError,
    ImageNotEncodedError,
    ModelNotExplainableError,
    ModelNotLoadedError,
    PicturesDifferError,
    QueryEmptyError,
    QueryLanguageUnsupportedError,
    QueryNotUnderstoodError,
    QueryTooLongError,
    TimezoneUnknownError,
)
from app.errors.service import (
    BodyTimeoutError,
    BodyTooLargeError,
    BucketMissingError,
    DatabaseDamagedError,
    DatabaseNewerError,
    DatabaseUnreachableError,
    DatabaseUrlError,
    DatabaseWriteError,
    DiskLowError,
    EncoderBusyError,
    EncoderFailedError,
    EncoderMemoryError,
    EncoderStalledError,
    EncoderTimeoutError,
    FaceBlurNotInstalledError,
    FaissConflictError,
    HostNotAllowedError,
    NoActiveModelError,
    OriginNotAllowedError,
    PortTakenError,
    RuntimeRefusedError,
    RuntimeUnavailableError,
    ServerBusyError,
    SnapshotError,
    StagingFullError,
    StoreDeniedError,
    StoreUnreachableError,
    TracesNotInstalledError,
    UploadsBusyError,
    WorkerNameTakenError,
)
from app.errors.vectors import (
    EnginesDifferError,
    GpuIndexMissingError,
    MemoryShortError,
    VectorEngineMissingError,
    VectorStoreDeniedError,
    VectorStoreError,
    VectorStoreInUseError,
    VectorStoreLostError,
    VectorStoreMismatchError,
    VectorStoreReleasedError,
    VectorStoreUnreachableError,
)
from app.errors.video import *  # noqa: F403  the same
from app.errors.video import __all__ as _of_video

__all__ = [
    "PROBLEM_JSON",
    "ActivationSupersededError",
    "ArchiveError",
    "AssociationNotFoundError",
    "AssociationRunningError",
    "AssociationTooLargeError",
    "AssociationUndoneError",
    "AttributeProtectedError",
    "BackupError",
    "BackupTargetError",
    "BatchEntryError",
    "BatchError",
    "BatchTooLargeError",
    "BodyTimeoutError",
    "BodyTooLargeError",
    "BucketMissingError",
    "CheckpointRefusedError",
    "CollectionNameError",
    "CollectionNameTakenError",
    "CollectionNotFoundError",
    "ConfigurationError",
    "ConflictError",
    "CursorInvalidError",
    "CursorMismatchError",
    "DamagedImageError",
    "DatabaseDamagedError",
    "DatabaseNewerError",
    "DatabaseUnreachableError",
    "DatabaseUrlError",
    "DatabaseWriteError",
    "DiskLowError",
    "EmptyFileError",
    "EncoderBusyError",
    "EncoderFailedError",
    "EncoderMemoryError",
    "EncoderStalledError",
    "EncoderTimeoutError",
    "EnginesDifferError",
    "EntryError",
    "ExportTargetError",
    "ExportTooLargeError",
    "ExternalIdTakenError",
    "FaceBlurNotInstalledError",
    "FaissConflictError",
    "FeedbackNotFoundError",
    "FileChangedError",
    "FileMissingError",
    "FileTooLargeError",
    "FileUnreadableError",
    "FilterError",
    "FormatError",
    "GpuIndexMissingError",
    "HostNotAllowedError",
    "IdempotencyKeyError",
    "IdentityEventNotFoundError",
    "IdentityMergedError",
    "IdentityNamesDifferError",
    "IdentityNotFoundError",
    "ImageNotEncodedError",
    "ImageNotFoundError",
    "InvalidError",
    "JobFinishedError",
    "JobGivenUpError",
    "JobNotFoundError",
    "JobNotRetryableError",
    "JobResultGoneError",
    "JobSourceChangedError",
    "JobTakenError",
    "ManifestError",
    "MemoryShortError",
    "MergeNotUndoableError",
    "ModelChangedError",
    "ModelInUseError",
    "ModelIncompleteError",
    "ModelNameTakenError",
    "ModelNotCalibratedError",
    "ModelNotExplainableError",
    "ModelNotFoundError",
    "ModelNotLoadedError",
    "ModelRefusedError",
    "NoActiveModelError",
    "NoPredecessorError",
    "NotAnImageError",
    "NotFoundError",
    "OriginNotAllowedError",
    "PathOutsideError",
    "PictureError",
    "PicturesDifferError",
    "PortTakenError",
    "QueryEmptyError",
    "QueryLanguageUnsupportedError",
    "QueryNotFoundError",
    "QueryNotUnderstoodError",
    "QueryOutdatedError",
    "QueryTooLongError",
    "RecipeRefusedError",
    "ResultsTooLargeError",
    "RetrainingDataError",
    "RuntimeRefusedError",
    "RuntimeUnavailableError",
    "ServerBusyError",
    "ServiceError",
    "SnapshotError",
    "SourceError",
    "StagingFullError",
    "StorageError",
    "StoreDeniedError",
    "StoreUnreachableError",
    "TimezoneUnknownError",
    "TooManyPixelsError",
    "TracesNotInstalledError",
    "TrainingDiskError",
    "TrainingFailedError",
    "TrainingKilledError",
    "TrainingMemoryError",
    "TrainingNotFiniteError",
    "UnavailableError",
    "UploadsBusyError",
    "VectorEngineMissingError",
    "VectorStoreDeniedError",
    "VectorStoreError",
    "VectorStoreInUseError",
    "VectorStoreLostError",
    "VectorStoreMismatchError",
    "VectorStoreReleasedError",
    "VectorStoreUnreachableError",
    "WorkerNameTakenError",
    "responses",
]
__all__ += [*_of_access, *_of_identifications, *_of_video]
