"""What is wrong with who asks, or with how often."""

from app.errors.base import ConflictError, InvalidError, NotFoundError, ServiceError, UnavailableError

__all__ = [
    "AuditNotWholeError",
    "AuditTooYoungError",
    "AuditUnavailableError",
    "KeyExpiredError",
    "KeyInvalidError",
    "KeyNotFoundError",
    "KeyRefusedError",
    "KeyRequiredError",
    "KeyRevokedError",
    "PurposeRequiredError",
    "RateLimitedError",
    "ScopeMissingError",
]


class KeyRequiredError(ServiceError):
    """A request without a key, where one is needed."""

    status, code, title = 401, "key_required", "A key is needed"


class KeyInvalidError(ServiceError):
    """A key that nobody made, or that has another secret."""

    status, code, title = 401, "key_invalid", "The key is not valid"


class KeyRevokedError(KeyInvalidError):
    """A key that was revoked."""

    code, title = "key_revoked", "The key was revoked"


class KeyExpiredError(KeyInvalidError):
    """A key whose time is over."""

    code, title = "key_expired", "The key has expired"


class ScopeMissingError(ServiceError):
    """A key that may not do this."""

    status, code, title = 403, "scope_missing", "The key may not do this"


class RateLimitedError(ServiceError):
    """A key that is used too often, or an address that guesses keys."""

    status, code, title, retry_after = 429, "rate_limited", "Too many requests", 1

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class KeyNotFoundError(NotFoundError):
    """No key has the id."""

    code, title = "key_not_found", "No such key"

    def __init__(self, key_id: int) -> None:
        super().__init__(f"there is no key {key_id}; GET /v1/admin/keys and `descry keys list` show all")


class KeyRefusedError(InvalidError):
    """A key that cannot be made as it was asked for."""

    code, title = "key_refused", "The key cannot be made"


class AuditUnavailableError(UnavailableError):
    """The audit cannot be written, so that nothing may be done."""

    code, title = "audit_unavailable", "The audit cannot be written"


class AuditTooYoungError(InvalidError):
    """Entries of the audit are to be removed that must still be kept."""

    code, title = "audit_too_young", "Entries of the audit are kept longer"


class AuditNotWholeError(ConflictError):
    """Entries of the audit are to be removed to which somebody did something."""

    code, title = "audit_not_whole", "The audit is not whole"


class PurposeRequiredError(InvalidError):
    """A search without a purpose, where one is required."""

    code, title = "purpose_required", "A purpose is needed"
