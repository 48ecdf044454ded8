"""What a gallery can be filtered by: its cameras, its time, and which attributes its images and people have."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.collections.service import CollectionService
from app.gallery.repository import ImageRepository
from app.gallery.schemas import AttributeFacet, CameraFacet, Facets, ValueFacet
from app.search.protected import protected_by

SAMPLE, CAMERAS, FIELDS, VALUES = 2000, 200, 40, 30
"""Newest images that are looked at for attributes; most cameras, attributes, and values of one."""
_VALUE_CHARS = 80


def facets(session: Session, collection: str | None, protected: Sequence[str]) -> Facets:
    """What a search within a collection, or everywhere, can be filtered by.

    Args:
        protected: attributes by which nobody may search, in words; they are left out.

    Raises:
        CollectionNotFoundError: no collection has the name.
    """
    within = None if collection is None else CollectionService(session).find(collection)
    images = ImageRepository(session)
    cameras = images.cameras(within, limit=CAMERAS)
    first, last = images.times(within)
    newest = images.newest_attributes(within, limit=SAMPLE)
    people = {identity_id: attributes for identity_id, _, attributes in newest}
    return Facets(
        cameras=[CameraFacet(name=name, images=count) for name, count in cameras],
        first_at=first,
        last_at=last,
        image_attributes=_fields([own for _, own, _ in newest], protected),
        identity_attributes=_fields(people.values(), protected),
        sampled=len(newest),
    )


def _fields(found: Iterable[dict[str, Any]], protected: Sequence[str]) -> list[AttributeFacet]:
    """The most frequent attributes with their most frequent values. Lists and objects cannot be asked for."""
    values: dict[str, Counter[tuple[type, str | float | bool]]] = {}
    for attributes in found:
        for field, value in attributes.items():
            if isinstance(value, str | int | float | bool) and len(str(value)) <= _VALUE_CHARS:
                values.setdefault(field, Counter())[type(value), value] += 1  # 1 and true are two values
    often = sorted(values, key=lambda field: (-values[field].total(), field))
    return [
        AttributeFacet(
            field=field,
            values=[ValueFacet(value=value, count=n) for (_, value), n in values[field].most_common(VALUES)],
            more=len(values[field]) > VALUES,
        )
        for field in often
        if protected_by(field, protected) is None
    ][:FIELDS]
