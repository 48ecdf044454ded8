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
    names = list(protected)
    for condition in filters.conditions:
        if (term := protected_by(condition.field, names)) is not None:
            raise AttributeProtectedError(
                f"there is no search by {term!r}: it is a protected attribute "
                "(DESCRY_PROTECTED_ATTRIBUTES lists them); describe clothes and belongings instead"
            )


def protected_by(field: str, protected: Iterable[str]) -> str | None:
    """The protected name, in words, that an attribute has in its own name; None if there is none."""
    own = words(field)
    joined = "".join(own)
    for name in protected:
        term = words(name)
        if term and (_within(term, own) or "".join(term) == joined):
            return " ".join(term)
    return None


def words(name: str) -> list[str]:
    """The words of a name, in lower case: `skinColour`, `skin-colour` and `Skin Colour` have the same ones."""
    return [word.casefold() for word in _WORD.findall(name)]


def _within(term: list[str], own: list[str]) -> bool:
    return any(own[start : start + len(term)] == term for start in range(len(own) - len(term) + 1))
