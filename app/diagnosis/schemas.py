"""What a look finds."""

from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `descry doctor`.

    Attributes:
        check: what was looked at; the names are stable.
        status: fail: Descry cannot do its work; warn: it can, and something is worth a look.
        message: what was found.
        advice: what to do; empty if nothing.
    """

    check: str
    status: Status
    message: str
    advice: str = ""

    def to_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def ok(check: str, message: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, "ok", message)


def warn(check: str, message: str, advice: str) -> Finding:
    """Something is worth a look."""
    return Finding(check, "warn", message, advice)


def fail(check: str, message: str, advice: str) -> Finding:
    """Something is wrong."""
    return Finding(check, "fail", message, advice)
