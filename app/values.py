"""Checks of values that come from outside and go into every kind of database and JSON."""

import json
import re
from typing import Any

ATTRIBUTES_BYTES, ATTRIBUTES_DEPTH = 16_384, 16
_HALF = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]|\x00")
"""What JSON with half of a surrogate pair has in it: escaped, as bytes, or in UTF-16 and UTF-32."""


def check_text(value: str, what: str, limit: int) -> str | None:
    """A trimmed text, or None if nothing is left.

    Raises:
        ValueError: too long, or holding what not every database can store.
    """
    text = value.strip()
    if len(text) > limit:
        raise ValueError(f"`{what}` has {len(text):,} characters; at most {limit:,} are kept")
    if "\0" in text:
        raise ValueError(f"`{what}` holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"`{what}` is not valid Unicode text") from None
    return text or None


def check_attributes(value: dict[str, Any]) -> dict[str, Any]:
    """Attributes that can be stored and sent as JSON.

    Raises:
        ValueError: too long, nested too deep, or holding NaN, infinity, NUL or half a character.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError):
        raise ValueError("`attributes` holds something that JSON cannot carry (NaN, infinity, broken text)") from None
    if size > ATTRIBUTES_BYTES:
        raise ValueError(f"`attributes` has {size:,} bytes as JSON; at most {ATTRIBUTES_BYTES:,} are kept")
    if _deeper_than(ATTRIBUTES_DEPTH, value):
        raise ValueError(f"`attributes` is nested deeper than {ATTRIBUTES_DEPTH} levels")
    if "\\u0000" in text:
        raise ValueError("`attributes` holds a NUL character")
    return value


def _deeper_than(levels: int, value: object) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper_than(levels - 1, item) for item in inner)


def printable(name: str) -> str:
    """A file name that can be printed, stored and sent, whatever bytes it was made of."""
    return name.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def holds_half_characters(body: bytes) -> bool:
    """Whether JSON holds half of a surrogate pair: Python reads it, and nothing can write it again. False for what is
    no JSON, which whoever reads it refuses."""
    if _HALF.search(body) is None:
        return False
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        pass
    return False
