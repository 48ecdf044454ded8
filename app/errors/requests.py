"""What is wrong with a request or with what it names: not found, invalid, in conflict."""

from app.errors.base import BatchError, ConflictError, InvalidError, NotFoundError, PictureError


class IdentityNotFoundError(NotFoundError):
    """No identity has this id."""

    code, title = "identity_not_found", "Identity not found"

    def __init__(self, identity_id: int) -> None:
        super().__init__(f"there is no identity {identity_id}")


class IdentityMergedError(IdentityNotFoundError):
    """The identity was merged into another one. Not for ever: undoing the merge brings the number back."""

    code, title = "identity_merged", "The identity was merged into another one"
    merged_into: int | None = None

    def __init__(self, identity_id: int, merged_into: int) -> None:
        NotFoundError.__init__(self, f"identity {identity_id} was merged into identity {merged_into}")
        self.merged_into = merged_into


class IdentityEventNotFoundError(NotFoundError):
    """The history has no such event of this identity."""

    code, title = "identity_event_not_found", "Event not found in the identity's history"


class AssociationNotFoundError(NotFoundError):
    """No association run has this id."""

    code, title = "association_not_found", "Association run not found"

    def __init__(self, run_id: int) -> None:
        super().__init__(f"there is no association run {run_id}")


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


class JobResultGoneError(NotFoundError):
    """The job left no file, or it was removed."""

    code, title = "job_result_gone", "The job has no file"


class CollectionNameError(InvalidError):
    """A text that cannot be the name of a collection."""

    code, title = "collection_name_invalid", "The collection's name cannot be used"


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


class CheckpointRefusedError(InvalidError):
    """An uploaded checkpoint cannot be loaded, or does not do what its spec says."""

    code, title = "checkpoint_invalid", "The checkpoint cannot be used"


class BatchEntryError(BatchError):
    """A file of a batch whose name or kind is refused: it could land elsewhere, or is an archive itself."""

    code, title = "batch_entry_refused", "A file of the batch is refused"


class ArchiveError(BatchError):
    """The archive is damaged, encrypted, or none."""

    code, title = "archive_unreadable", "The archive cannot be read"


class BatchTooLargeError(BatchError):
    """More files or bytes than a batch may have, or an archive that unpacks to far more than its size."""

    status, code, title = 413, "batch_too_large", "The batch is too large"


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


class ExternalIdTakenError(ConflictError):
    """Another identity has this external id."""

    code, title = "external_id_taken", "The external id is taken"

    def __init__(self, external_id: str) -> None:
        super().__init__(f"another identity has the external id {external_id!r}")


class IdentityNamesDifferError(ConflictError):
    """Identities that are to become one have different external ids."""

    code, title = "identity_names_differ", "The identities have different names"


class MergeNotUndoableError(ConflictError):
    """Nothing of what a merge moved is where the merge put it, or it was undone already."""

    code, title = "merge_not_undoable", "The merge cannot be undone"


class AssociationRunningError(ConflictError):
    """The job of an association run has not ended, so that the run cannot be undone yet."""

    code, title = "association_running", "The association is still going on"


class AssociationUndoneError(ConflictError):
    """The association run was undone, so that it is not gone on with."""

    code, title = "association_undone", "The association was undone"


class AssociationTooLargeError(ConflictError):
    """More provisional identities than one run groups."""

    code, title = "association_too_large", "Too many provisional identities for one association"


class ModelNotCalibratedError(ConflictError):
    """The active version's checkpoint says no threshold for association."""

    code, title = "model_not_calibrated", "The model version is not calibrated"


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


class ModelRefusedError(ConflictError):
    """The gate has refused a model version, or has not decided yet."""

    code, title = "model_refused", "The model version may not answer"


class ModelInUseError(ConflictError):
    """A model version answers, is the one to roll back to, or has an open job."""

    code, title = "model_in_use", "The model version is in use"


class NoPredecessorError(ConflictError):
    """There is nothing to roll back, or nothing to roll back to."""

    code, title = "no_predecessor", "There is no version to roll back to"


class ActivationSupersededError(ConflictError):
    """Another version was asked for while this one was being prepared: it is ready, and does not answer."""

    code, title = "activation_superseded", "Another model version was asked for since"


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


class ExportTooLargeError(ConflictError):
    """The pictures have more bytes than an export may have."""

    code, title = "export_too_large", "The export is too large"


class ExportTargetError(ConflictError):
    """Something with the name of the export exists already."""

    code, title = "export_target_exists", "The export would overwrite something"


class TrainingFailedError(ConflictError):
    """The training process ended with an error, which it named."""

    code, title = "training_failed", "The training failed"


class TrainingNotFiniteError(TrainingFailedError):
    """A loss or a gradient was not a number."""

    code, title = "training_not_finite", "The training met a loss that is not a number"


class TrainingMemoryError(TrainingFailedError):
    """The training needed more memory than there is, or than it may have."""

    code, title = "training_out_of_memory", "The training ran out of memory"


class TrainingDiskError(TrainingFailedError):
    """The training could not write: the disk is full."""

    code, title = "training_disk_full", "The training met a full disk"


class TrainingKilledError(TrainingFailedError):
    """The training process was killed again and again without getting on."""

    code, title = "training_killed", "The training process was killed"


class RetrainingDataError(ConflictError):
    """The gallery has too few images with descriptions, or a data set cannot be used."""

    code, title = "retraining_data", "There is too little to train on"


class RecipeRefusedError(InvalidError):
    """A recipe, an override, or the checkpoint to start from does not fit."""

    code, title = "recipe_invalid", "The recipe cannot be used"


class JobTakenError(ConflictError):
    """Another worker has the job now: this one's heartbeat stopped for too long."""

    code, title = "job_taken", "Another worker has the job"


class JobGivenUpError(ConflictError):
    """The job was started again and again without getting on: it kills its workers."""

    code, title = "job_given_up", "The job was given up"
