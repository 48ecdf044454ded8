"""Which texts name somebody who is to be forgotten.

Python decides (`Names.held_by`), by Unicode's case folding, which no database has. So that it need not read every row,
the database leaves out those that surely hold no name: `maybe_in_json` and `maybe_in_text` are true of every row that
Python would choose, and of some others.

Why none is lost. Case folding works character by character. A name is folded; what of it is ASCII stands in the text as
it is, in either case, unless one of `FOLDED_TO_ASCII` stands there, of which the folded form has ASCII characters
("ss" for a sharp s). What is not ASCII may stand there as anything that is not ASCII. So a pattern of LIKE has a gap at
each place that may not be what it is, and any one character for i: a Turkish database has another lower I.
"""

import json
import re
from collections.abc import Callable, Iterable

from sqlalchemy import ColumnElement, and_, false, func, or_, true
from sqlalchemy.orm import InstrumentedAttribute

LEAST_NAME = 3
"""Characters of a name that is looked for; a shorter one is in too many words."""
FOLDED_TO_ASCII = "\u00df\u0130\u0149\u017f\u01f0\u1e96\u1e97\u1e98\u1e99\u1e9a\u1e9e\u212a" + "".join(
    map(chr, range(0xFB00, 0xFB07))
)
"""All characters beyond ASCII whose folded form has ASCII ones."""
_MOST = 20
"""More patterns than this cost a database more than Python needs to read everything."""
_ESCAPE = "/"
Text = ColumnElement[str] | ColumnElement[str | None] | InstrumentedAttribute[str] | InstrumentedAttribute[str | None]


class Names:
    """Names of people who are erased; those that are too short are left out."""

    def __init__(self, names: Iterable[str | None]) -> None:
        self._folded = sorted({name.casefold() for name in names if name is not None and len(name) >= LEAST_NAME})

    def __bool__(self) -> bool:
        return bool(self._folded)

    def held_by(self, value: object) -> bool:
        """Whether a text holds one of the names, or a text in lists and values of objects does."""
        if isinstance(value, dict):
            return any(self.held_by(item) for item in value.values())
        if isinstance(value, list):
            return any(self.held_by(item) for item in value)
        if not isinstance(value, str):
            return False
        folded = value.casefold()
        return any(name in folded for name in self._folded)

    def maybe_in_json(self, column: Text) -> ColumnElement[bool]:
        """Of JSON as text, as `json.dumps` writes it with `ensure_ascii`: true wherever `held_by` is of its value."""
        return self._any(lambda name: _maybe(column, name, as_json=True))

    def maybe_in_text(self, column: Text) -> ColumnElement[bool]:
        """Of text without NUL: true wherever `held_by` is of it."""
        return self._any(lambda name: _maybe(column, name, as_json=False))

    def _any(self, condition: Callable[[str], ColumnElement[bool]]) -> ColumnElement[bool]:
        return true() if len(self._folded) > _MOST else or_(false(), *map(condition, self._folded))


def _maybe(column: Text, name: str, *, as_json: bool) -> ColumnElement[bool]:
    text, instead = func.lower(column), _instead(name)
    unsure = set().union(*instead.values())
    found = _like(text, _pattern(name, unsure, as_json=as_json))
    if not name.isascii():
        return and_(_like(text, "%\\u%"), found) if as_json else found
    there = [_like(column, f"%{json.dumps(one)[1:-1] if as_json else one}%") for one in instead]
    return or_(_like(text, _pattern(name, set(), as_json=as_json)), and_(found, or_(false(), *there)))


def _like(text: Text, pattern: str) -> ColumnElement[bool]:
    return text.like(pattern, escape=_ESCAPE)


def _instead(name: str) -> dict[str, set[int]]:
    """The characters beyond ASCII that may stand for a part of a folded name, and the places of that."""
    found: dict[str, set[int]] = {}
    for character in FOLDED_TO_ASCII:
        part = character.casefold()
        for start in range(1 - len(part), len(name)):
            places = range(max(0, start), min(len(name), start + len(part)))
            if all(name[place] == part[place - start] for place in places):
                found.setdefault(character, set()).update(places)
    return found


def _pattern(name: str, unsure: set[int], *, as_json: bool) -> str:
    parts = ["%"]
    for place, character in enumerate(name):
        if place in unsure or not character.isascii():
            parts += ["%"] if parts[-1] != "%" else []
        elif character == "i":
            parts.append("_")
        else:
            written = json.dumps(character)[1:-1] if as_json else character
            parts.append(re.sub(f"[%_{_ESCAPE}]", rf"{_ESCAPE}\g<0>", written))
    return "".join([*parts, "%"])
