"""Where a search looks."""

from dataclasses import dataclass

from app.database.visible import limited
from app.search.filters import Filters


@dataclass(frozen=True, slots=True)
class Scope:
    """Which images can be found; by default all.

    Attributes:
        collection_id: those of one collection.
        filters: those that meet the conditions.
        newest: those that are not newer than an image: its id. Later pages of an answer keep to what was there at the
            first one.
        without_images, without_identities: none of these.
    """

    collection_id: int | None = None
    filters: Filters | None = None
    newest: int | None = None
    without_images: frozenset[int] = frozenset()
    without_identities: frozenset[int] = frozenset()

    @property
    def narrow(self) -> bool:
        """Whether it may hold much less than the gallery."""
        return self.collection_id is not None or bool(self.filters) or limited()
