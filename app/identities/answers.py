"""What endpoints and verbs both say about changes of identities."""

from sqlalchemy.orm import Session

from app.database.tables import IdentityEvent
from app.database.visible import limited
from app.gallery.repository import ImageRepository
from app.identities.changes import IdentityChanges, Restored
from app.identities.history import HistoryRepository
from app.identities.repository import IdentityRepository
from app.identities.schemas import EventOut, HistoryList, SplitAnswer, SplitRequest
from app.identities.service import IdentityService


def split(session: Session, identity_id: int, request: SplitRequest) -> SplitAnswer:
    """Take images out of an identity, or undo a merge.

    Raises:
        ServiceError: see `IdentityChanges.split` and `IdentityChanges.undo_merge`.
    """
    changes, service = IdentityChanges(session), IdentityService(session)
    restored = Restored()
    if request.undo is not None:
        new, restored = changes.undo_merge(identity_id, request.undo)
    else:
        new = changes.split(identity_id, request.image_ids or [])
    session.flush()
    session.expire_all()
    left = IdentityRepository(session).get(identity_id) is not None
    return SplitAnswer(
        identity=service.detail(identity_id) if left else None,
        separated=service.detail(new),
        left_alone=restored.deleted + restored.moved,
        name_taken=restored.names_taken > 0,
    )


def history(session: Session, identity_id: int, *, after: int = 0, limit: int = 100) -> HistoryList:
    """A page of an identity's history; of one that is gone as well, if it has any that whoever asks may see.

    Raises:
        IdentityNotFoundError: nothing is known of it.
    """
    rows = HistoryRepository(session).page(identity_id, after=after, limit=limit)
    events = _seen(session, rows)
    if not events and not after:
        IdentityService(session).identity(identity_id)
    return HistoryList(events=events, next_after=rows[-1].id if len(rows) == limit else None)


def _seen(session: Session, rows: list[IdentityEvent]) -> list[EventOut]:
    """What may be told of events: to a limited key those of images that it sees, and no others of their images."""
    events = [EventOut.of(row) for row in rows]
    if not limited():
        return events
    seen = ImageRepository(session).identity_of(image for event in events for image in event.image_ids)
    for event in events:
        event.image_ids = [image for image in event.image_ids if image in seen]
    return [event for event in events if event.image_ids]
