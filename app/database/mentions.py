"""Which texts name somebody who is to be forgotten.

Python decides (`Names.held_by`), by Unicode's case folding, which no database has. So that it need not read every row,
the database leaves out those that surely hold no name: `maybe_in_json` and `maybe_in_text` are true of every row that
Python would choose, and of some others.

Why none is lost. Case folding works character by character. A name is folded; what of it is ASCII stands in the text as
it is, in either case, unless one of `FOLDED_TO_ASCII` stands there, of which the folded form has ASCII characters
("ss" for a sharp s). What is not ASCII may stand there as anything that is not ASCII. So a pattern of LIKE has a gap at
each place that may not be what it is, and Turkish databases, to which a lower I is another letter, see one for each i.
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
        return self._any(lambda name: _in_json(func.lower(column), name))

    def maybe_in_text(self, column: Text) -> ColumnElement[bool]:
        """Of text without NUL: true wherever `held_by` is of it."""
        return self._any(lambda name: _like(func.lower(column), _pattern(name, _unsure(name))))

    def _any(self, condition: Callable[[str], ColumnElement[bool]]) -> ColumnElement[bool]:
        return true() if len(self._folded) > _MOST else or_(false(), *map(condition, self._folded))


def _in_json(text: ColumnElement[str], name: str) -> ColumnElement[bool]:
    unsure = _unsure(name)
    escaped = and_(_like(text, "%\\u%"), _like(text, _pattern(name, unsure, as_json=True)))
    plain = _pattern(name, set(), as_json=True)
    return or_(_like(text, plain), escaped) if name.isascii() else escaped


def _like(text: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    return text.like(pattern, escape=_ESCAPE)


def _unsure(name: str) -> set[int]:
    """Places of a folded name at which part of a character beyond ASCII may stand instead."""
    found = set[int]()
    for part in map(str.casefold, FOLDED_TO_ASCII):
        for start in range(1 - len(part), len(name)):
            places = range(max(0, start), min(len(name), start + len(part)))
            if all(name[place] == part[place - start] for place in places):
                found.update(places)
    return found


def _pattern(name: str, unsure: set[int], *, as_json: bool = False) -> str:
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
