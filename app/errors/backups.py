"""What is wrong with a backup, or with the place where one goes."""

from app.errors.base import ConflictError, InvalidError


class BackupError(InvalidError):
    """A backup that is not whole, was changed, or cannot be used by this release."""

    code, title = "backup_unusable", "The backup cannot be used"


class BackupTargetError(ConflictError):
    """A backup is never written over something, and never restored into something that is not empty."""

    code, title = "backup_target_taken", "The target is not empty"
