"""Where and when a person was seen: images grouped into sightings by camera and time."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from app.collections.service import CollectionService
from app.database.tables import Identity, Image
from app.errors import CursorInvalidError
from app.identities.repository import IdentityRepository, Shot
from app.identities.schemas import IdentityOut, ImageOut, Sighting, Timeline, Undated
from app.identities.service import IdentityService

GAP_S, MOST_GAP_S = 300.0, 30 * 86_400.0
PAGE, MOST_PAGE = 50, 200
_CURSOR = re.compile(r"(-?[0-9]{1,18})\.([0-9]{1,19})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Rows = dict[int, tuple[Image, Identity]]


def timeline(
    session: Session,
    identity_id: int,
    *,
    gap_s: float = GAP_S,
    collection: str | None = None,
    limit: int = PAGE,
    cursor: str | None = None,
) -> Timeline:
    """A page of an identity's sightings.

    Args:
        gap_s: images of a camera that lie further apart, in seconds, are two sightings.
        collection: only images of this one, by its name.
        limit: most sightings of the page.
        cursor: `next_cursor` of the page before. It names a moment, so that what is ingested or deleted meanwhile
            moves nothing: sightings that begin later follow.

    Raises:
        IdentityNotFoundError, IdentityMergedError: there is no such identity (any more).
        CollectionNotFoundError: no collection has the name.
        CursorInvalidError: the text is no cursor of a timeline.
    """
    identity = IdentityService(session).identity(identity_id)
    within = None if collection is None else CollectionService(session).find(collection)
    after = None if cursor is None else _read(cursor)
    repository = IdentityRepository(session)
    shots = repository.shots(identity_id, within)
    dated = [shot for shot in shots if shot.at is not None]
    seen = sightings(dated, gap_s)
    rest = [group for group in seen if after is None or _moment(group) > after]
    page, undated = rest[:limit], _undated(shots) if cursor is None else []
    rows = repository.page(_best(group).image_id for group in [*page, *undated])
    ends = [shot.at for shot in dated]
    return Timeline(
        identity=IdentityOut.of(identity),
        gap_s=gap_s,
        images=len(dated),
        first_at=ends[0] if ends else None,
        last_at=ends[-1] if ends else None,
        sightings=[Sighting(**_told(group, rows), first_at=group[0].at, last_at=group[-1].at) for group in page],
        undated=[Undated(**_told(group, rows)) for group in undated],
        next_cursor="{}.{}".format(*_moment(page[-1])) if len(rest) > limit else None,
    )


def sightings(shots: list[Shot], gap_s: float) -> list[list[Shot]]:
    """Groups of images by one camera, none further than the gap from the next, by the time of their first image.

    Args:
        shots: with a time, in its order.
        gap_s: seconds.
    """
    gap = timedelta(seconds=gap_s)
    found: list[list[Shot]] = []
    open_at: dict[tuple[int, str | None], list[Shot]] = {}
    for shot in shots:
        group = open_at.get(shot.place)
        if group is None or _at(shot) - _at(group[-1]) > gap:
            found.append(group := [])
            open_at[shot.place] = group
        group.append(shot)
    return found


def _undated(shots: list[Shot]) -> list[list[Shot]]:
    groups: dict[tuple[int, str | None], list[Shot]] = {}
    for shot in shots:
        if shot.at is None:
            groups.setdefault(shot.place, []).append(shot)
    return list(groups.values())


def _at(shot: Shot) -> datetime:
    assert shot.at is not None
    return shot.at


def _best(group: list[Shot]) -> Shot:
    return max(group, key=lambda shot: shot.pixels)


def _told(group: list[Shot], rows: _Rows) -> dict[str, Any]:
    image, _ = rows[_best(group).image_id]
    return {
        "collection": image.collection.name,
        "camera": image.camera,
        "image_ids": [shot.image_id for shot in group],
        "best": ImageOut.of(image),
    }


def _moment(group: list[Shot]) -> tuple[int, int]:
    """Where a sighting stands in the order: microseconds since 1970 and the image id, of its first image."""
    return (_at(group[0]) - _EPOCH) // timedelta(microseconds=1), group[0].image_id


def _read(cursor: str) -> tuple[int, int]:
    if (found := _CURSOR.fullmatch(cursor)) is None:
        raise CursorInvalidError
    return int(found[1]), int(found[2])
