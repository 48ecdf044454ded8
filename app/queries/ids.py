"""Ids of queries. One says when it was made and by which process, so that another one knows whether it may still come:
a query is written down a moment after its answer. The form is that of a UUID of version 7 (RFC 9562), as 32 digits."""

import re
import secrets
import time

FORM = re.compile("[0-9a-f]{32}")
_MARK = secrets.randbits(12)
"""Of this process. Another one has the same once in 4,096 times, and then does not wait."""
_SOON_S, _CLOCKS_S = 1.5, 5.0
"""Within which a query is written by a process whose database takes writes, and how far clocks may be apart."""


def new_id() -> str:
    """An id that nobody can guess: 62 of its bits are random."""
    made = time.time_ns() // 1_000_000 << 80
    return f"{made | 7 << 76 | _MARK << 64 | 2 << 62 | secrets.randbits(62):032x}"


def may_come_s(query_id: str) -> float:
    """Seconds within which a query that is not in the database may still be written by another process; else 0."""
    if not FORM.fullmatch(query_id):
        return 0.0
    number = int(query_id, 16)
    age = time.time() - (number >> 80) / 1000
    if number >> 76 & 15 != 7 or number >> 64 & 0xFFF == _MARK or not -_CLOCKS_S < age < _SOON_S:
        return 0.0
    return min(_SOON_S, _SOON_S - age)
