"""Where an answer goes on: a token that the asker gives back with the same question.

It says what was shown already, and how new images may be. The next page is the best of what was not shown among the
images that were there at the first page: so nothing comes twice and nothing is left out, whatever is ingested
meanwhile, on any replica and after a restart, and no score is compared with one of an earlier page. The server keeps
nothing.
"""

import base64
import binascii
import json
import re
import zlib
from dataclasses import dataclass
from typing import Any

from app.errors import CursorInvalidError, CursorMismatchError

MOST_SHOWN = 10_000
"""Identities or images after which an answer ends."""
_TOKEN_CHARS, _BYTES = 200_000, 400_000
_ID = 2**63
_QUERY_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Cursor:
    """One place in one answer.

    Attributes:
        digest: which question it belongs to (`Query.digest`).
        version_id: the version that gave the page before.
        newest: the newest image that the first page could show.
        shown: ids of what was shown, identities or images as the question groups them.
        query_id: of the first page, so that all pages have the same.
    """

    digest: str
    version_id: int
    newest: int
    shown: frozenset[int]
    query_id: str

    def token(self) -> str:
        """As text for the asker."""
        steps, last = [], 0
        for number in sorted(self.shown):
            steps.append(number - last)
            last = number
        content = json.dumps([self.digest, self.version_id, self.newest, steps, self.query_id], separators=(",", ":"))
        return base64.urlsafe_b64encode(zlib.compress(content.encode(), 9)).decode().rstrip("=")

    @classmethod
    def read(cls, token: str, digest: str) -> "Cursor":
        """From what the asker gave back.

        Raises:
            CursorInvalidError: it is not a token of ours.
            CursorMismatchError: it belongs to another question.
        """
        try:
            found = cls._parsed(token)
        except (ValueError, TypeError, binascii.Error, zlib.error, RecursionError) as error:
            raise CursorInvalidError from error
        if found.digest != digest:
            raise CursorMismatchError
        return found

    @classmethod
    def _parsed(cls, token: str) -> "Cursor":
        if len(token) > _TOKEN_CHARS:
            raise ValueError("too long")
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(packed, _BYTES)
        if not unpacking.eof or unpacking.unused_data:
            raise ValueError("cut off, too long, or followed by more")
        digest, version_id, newest, steps, query_id = json.loads(content)
        if not isinstance(digest, str) or not isinstance(steps, list) or len(steps) > MOST_SHOWN:
            raise ValueError("not of the form that is given out")
        if not isinstance(query_id, str) or not _QUERY_ID.fullmatch(query_id):
            raise ValueError("not the id of a query")
        shown, last = set(), 0
        for step in steps:
            last += _number(step)
            shown.add(last)
        return cls(digest, _number(version_id), _number(newest), frozenset(shown), query_id)


def _number(value: Any) -> int:  # noqa: ANN401  from JSON
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _ID:
        raise ValueError("not a number that is given out")
    return value
