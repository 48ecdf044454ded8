"""How entries are bound to each other, and how it is found what somebody did to them.

The hash of an entry is SHA-256 over its canonical JSON, in which the hash of the one before stands. Who can write the
database can make a whole chain anew: against that, a head is noted elsewhere (`descry audit export`, `descry audit
verify`), and later compared.

A chain may begin behind its first entry: where an entry of it says that those before were removed
(`app.audit.pruning`).
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.database.audit_table import AuditEntry
from app.errors import InvalidError

GENESIS = "0" * 64
MOST_PROBLEMS = 100
_COVERED = ("key_id", "actor", "action", "outcome", "facts", "identity_ids", "image_ids", "words_sha256", "previous")
_NEAR = 1000
PRUNED = "audit.prune"
REMOVED_UPTO, REMOVED_HASH = "removed_upto", "removed_hash"
"""The facts of an entry that say what was removed: the number and the hash of the last one."""
Kind = Literal[
    "changed",
    "words_changed",
    "missing",
    "inserted",
    "moved",
    "link_broken",
    "truncated",
    "head_differs",
    "head_removed",
]


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry at some time."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """SEQUENCE:HASH, as `str` makes it.

        Raises:
            InvalidError: it is not.
        """
        if not re.fullmatch(r"\d{1,18}:[0-9a-f]{64}", text.strip()):
            raise InvalidError("a head looks like 1234:HASH, with 64 hex digits, as `descry audit verify` prints it")
        number, _, digest = text.strip().partition(":")
        return cls(int(number), digest)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was done to the entries."""

    sequence: int
    kind: Kind
    message: str


def digest(entry: Mapping[str, Any], sequence: int) -> str:
    """The hash of an entry as the one with that number."""
    covered = {name: entry[name] for name in _COVERED}
    covered |= {"sequence": sequence, "at": entry["at"].isoformat(timespec="microseconds")}
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def anchor_of(row: AuditEntry) -> Head | None:
    """The last of the entries that a removal took away, if this is one's entry."""
    if row.action != PRUNED:
        return None
    number, found = row.facts.get(REMOVED_UPTO), row.facts.get(REMOVED_HASH)
    return Head(number, found) if isinstance(number, int) and isinstance(found, str) else None


def words_digest(words: str, salt: str) -> str:
    """What binds erasable words to their entry. Without the salt nothing of them can be guessed from it."""
    return hashlib.sha256(f"{salt}:{words}".encode()).hexdigest()


def chained(rows: Iterable[dict[str, Any]], last: Head) -> list[dict[str, Any]]:
    """Entries with their places behind `last`."""
    made = []
    for row in rows:
        salt = None if row["words"] is None else secrets.token_hex(16)
        told = None if salt is None else words_digest(row["words"], salt)
        entry = {**row, "salt": salt, "words_sha256": told, "previous": last.hash}
        last = Head(last.sequence + 1, digest(entry, last.sequence + 1))
        made.append({**entry, "sequence": last.sequence, "hash": last.hash})
    return made


class Verifier:
    """Goes over the entries in their order and names what is wrong with them."""

    def __init__(self, noted: Head | None = None) -> None:
        self._noted = noted
        self._last, self._before = Head(0, GENESIS), ""
        self._begun, self._anchored = self._last, True
        self._shift = 0
        self.count = self.erased = 0
        self.problems: list[Problem] = []

    @property
    def head(self) -> Head:
        return self._last

    @property
    def begun(self) -> Head:
        """The last entry that is not there any more; number 0 where all are."""
        return self._begun

    def take(self, row: AuditEntry) -> None:
        """The next entry."""
        entry = {name: getattr(row, name) for name in (*_COVERED, "at")}
        if self.count == 0 and row.sequence > 1:
            self._begin(Head(row.sequence - 1, row.previous))
        self._anchored = self._anchored or anchor_of(row) == self._begun
        self.count += 1
        self._found(self._in_order(row))
        self._found(self._itself(row, entry))
        self._found(self._of_words(row))
        if self._noted is not None and row.sequence == self._noted.sequence and row.hash != self._noted.hash:
            self._found(
                Problem(row.sequence, "head_differs", "this is not the entry that was noted: the chain was made anew")
            )
        self._before, self._last = self._last.hash, Head(row.sequence, row.hash)

    def _begin(self, before: Head) -> None:
        """Go on behind entries that are gone, in the hope of one that says why."""
        self._begun, self._last, self._anchored = before, before, False
        if self._noted is not None and self._noted.sequence < before.sequence:
            told = f"the noted entry is one of 1 to {before.sequence}, which were removed: compare with a later head"
            self._found(Problem(self._noted.sequence, "head_removed", told))
        if self._noted is not None and self._noted.sequence == before.sequence and self._noted.hash != before.hash:
            told = "this is not the entry that was noted: the chain was made anew"
            self._found(Problem(before.sequence, "head_differs", told))

    def end(self) -> None:
        """After the last one."""
        if not self._anchored:
            number = self._begun.sequence
            gone = "1" if number == 1 else f"1 to {number}"
            self.problems.insert(0, Problem(1, "missing", f"gone: {gone}, and no removal says so"))
        if self._noted is not None and self._last.sequence < self._noted.sequence:
            number = self._last.sequence
            self._found(
                Problem(number, "truncated", f"entries after {number} are gone: {self._noted.sequence} was noted")
            )

    def _found(self, problem: Problem | None) -> None:
        if problem is not None and len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def _in_order(self, row: AuditEntry) -> Problem | None:
        expected = self._last.sequence + 1
        if row.sequence != expected:
            gone = f"{expected}" if row.sequence - 1 == expected else f"{expected} to {row.sequence - 1}"
            return Problem(expected, "missing", f"gone: {gone}")
        if row.previous == self._last.hash:
            return None
        if row.previous == self._before:
            return Problem(self._last.sequence, "inserted", "the next entry does not know of this one")
        return Problem(row.sequence, "link_broken", "it does not follow from the entry before it")

    def _itself(self, row: AuditEntry, entry: dict[str, Any]) -> Problem | None:
        if digest(entry, row.sequence) == row.hash:
            return None
        # The entries behind one that was put in, or taken out, are all shifted alike: that is tried first.
        for shift in (self._shift, *(sign * n for n in range(1, _NEAR) for sign in (-1, 1))):
            if digest(entry, row.sequence + shift) == row.hash:
                self._shift = shift
                return Problem(row.sequence, "moved", f"it was written as number {row.sequence + shift}")
        return Problem(row.sequence, "changed", "its content is not what was written")

    def _of_words(self, row: AuditEntry) -> Problem | None:
        if row.words is None:
            self.erased += row.words_sha256 is not None
            return None
        if row.words_sha256 == words_digest(row.words, row.salt or ""):
            return None
        return Problem(row.sequence, "words_changed", "its words are not those that were written")


def verified(rows: Iterator[AuditEntry], noted: Head | None = None) -> Verifier:
    """Go over all entries; ends early when there are too many problems to list."""
    found = Verifier(noted)
    for row in rows:
        found.take(row)
        if len(found.problems) >= MOST_PROBLEMS:
            return found
    found.end()
    return found
