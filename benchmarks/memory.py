"""Resident memory of this process, as Linux counts it."""

from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident() -> int:
    """Bytes in memory now."""
    return _field("VmRSS")


def peak() -> int:
    """Most bytes at once since the process began, or since `forget_peak`."""
    return _field("VmHWM")


def forget_peak() -> None:
    """Let `peak` begin anew from what is resident now."""
    _RESET.write_text("5")


def _field(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
