"""What an index will need, before it is built: memory at rest and at its peak, and disk; and what the machine has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import MemoryShortError
from app.vectors.tier import Tier

MARGIN = 256 * 2**20
"""Bytes that must stay available beside an index: for searches, and for everything else that the machine does."""
_ROWS, _PAGE, _DELTA = 131_072, 10_000, 8_192
"""Of a segment, of a piece of the log, of what is not in segments yet; a test holds them against the engine's."""
_ID, _LIST, _HALF, _SINGLE = 8, 4, 2, 4
_PER_ROW_READ = 400
"""Bytes of the objects that carry one row of the database, beside its vector."""
_MEMINFO = Path("/proc/meminfo")
_CGROUPS, _OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What the indexes of some spaces need in one process, in bytes.

    Attributes:
        at_rest: while they are searched.
        peak: at most while the last of them is built, and kept on disk.
        disk: of their snapshots.
    """

    at_rest: int
    peak: int
    disk: int


def estimate(count: int, dims: Sequence[int], tier: Tier, *, versions: int = 1) -> MemoryNeed:
    """What the FAISS engine needs for `count` vectors in each of some spaces.

    Args:
        dims: dimensions of the spaces.
        versions: model versions in memory at the same time; each is built beside those that are there.
    """
    rest = sum(_at_rest(count, dim, tier) for dim in dims) * versions
    peak = rest + max((_while_built(count, dim, tier) for dim in dims), default=0)
    disk = sum(_on_disk(count, dim, tier) for dim in dims) * versions
    return MemoryNeed(rest, peak, disk)


def _at_rest(count: int, dim: int, tier: Tier) -> int:
    flat = count * (_HALF * dim + _ID)
    if not _has_shortlist(count, tier):
        return flat
    return flat + count * (_HALF * _width(dim) + _ID + _LIST)


def _while_built(count: int, dim: int, tier: Tier) -> int:
    """Beyond what stays: a segment as it is gathered and a piece of the log; later, beside the shortlist that is made,
    the components in their first order. What comes in once it is searched takes less."""
    gathered = min(count, _ROWS) * _HALF * dim + min(count, _PAGE) * (2 * _HALF * dim + _PER_ROW_READ)
    gathered = max(gathered, min(count, _DELTA) * (_SINGLE * dim + _ID))
    if not _has_shortlist(count, tier):
        return gathered
    made = _at_rest(count, dim, tier) - count * (_HALF * dim + _ID)  # not there yet while segments are gathered
    return max(gathered - made, count * (_HALF * _width(dim) + 2 * _ID))


def _on_disk(count: int, dim: int, tier: Tier) -> int:
    return count * (_HALF * dim + _ID + (_LIST if _has_shortlist(count, tier) else 0))


def _has_shortlist(count: int, tier: Tier) -> bool:
    return tier.exact_up_to is not None and count > tier.exact_up_to


def _width(dim: int) -> int:
    """Components of a shortlist. How many are needed is measured when it is made; vectors of pictures take fewer."""
    return max(64, dim // 8)


def available() -> int | None:
    """Bytes that this process may still take before the machine, or its control group, is out of memory.

    None where that cannot be told (no Linux). Files in the page cache count as available: they give way.
    """
    if not _MEMINFO.is_file():
        return None
    fields = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    free = 1024 * int(fields["MemAvailable"].split()[0])
    return min([free, *_left_in_groups()])


def _left_in_groups() -> list[int]:
    """What is left below each limit of the control groups that this process is in, version 1 and 2."""
    found = []
    for line in _OWN_CGROUPS.read_text().splitlines() if _OWN_CGROUPS.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = _CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = _CGROUPS / "memory"
        else:
            continue
        here = root / path.strip("/")
        for folder in (here, *here.parents):
            if (left := _left_in(folder, *names)) is not None:
                found.append(left)
            if folder == root:
                break
    return found


def _left_in(folder: Path, limit: str, used: str, cached: str) -> int | None:
    try:
        most = (folder / limit).read_text().strip()
        if most == "max":
            return None
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(most) - int((folder / used).read_text()) + int(stat.get(cached, 0))
    except (OSError, ValueError):
        return None  # not of this form, or not visible from inside a container


def admit(need: MemoryNeed, left: int | None) -> None:
    """Refuse what does not fit.

    Args:
        left: see `available`.

    Raises:
        MemoryShortError: `need.peak` and the margin are more than that.
    """
    if left is None or need.peak + MARGIN <= left:
        return
    raise MemoryShortError(
        f"the index would need {_gib(need.peak)} while it is built ({_gib(need.at_rest)} afterwards), and "
        f"{_gib(left)} are available, of which {_gib(MARGIN)} must stay; give the machine more memory, keep one model "
        "version only (DESCRY_STANDBY=false), use Milvus, or set DESCRY_MEMORY_CHECK=false to try all the same"
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
