"""No search by a protected attribute: their names are refused, whatever the gallery calls them."""

import re
from collections.abc import Iterable

from app.errors import AttributeProtectedError
from app.search.filters import Filters

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")


def check_protected(filters: Filters | None, protected: Iterable[str]) -> None:
    """Refuse conditions on a protected attribute.

    Args:
        protected: names, in words; one is refused wherever its words stand in a row in the name of an attribute.

    Raises:
        AttributeProtectedError: an attribute is protected.
    """
    if filters is None:
        return
    terms = [words(term) for term in protected]
    for condition in filters.conditions:
        own = words(condition.field)
        joined = "".join(own)
        for term in terms:
            if term and (_within(term, own) or "".join(term) == joined):
                raise AttributeProtectedError(
                    f"there is no search by {' '.join(term)!r}: it is a protected attribute "
                    "(DESCRY_PROTECTED_ATTRIBUTES lists them); describe clothes and belongings instead"
                )


def words(name: str) -> list[str]:
    """The words of a name, in lower case: `skinColour`, `skin-colour` and `Skin Colour` have the same ones."""
    return [word.casefold() for word in _WORD.findall(name)]


def _within(term: list[str], own: list[str]) -> bool:
    return any(own[start : start + len(term)] == term for start in range(len(own) - len(term) + 1))
