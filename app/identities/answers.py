"""What endpoints and verbs both say about changes of identities."""

from sqlalchemy.orm import Session

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
    """A page of an identity's history; of one that is gone as well, if it has any.

    Raises:
        IdentityNotFoundError: nothing is known of it.
    """
    rows = HistoryRepository(session).page(identity_id, after=after, limit=limit)
    if not rows and not after:
        IdentityService(session).identity(identity_id)
    return HistoryList(
        events=[EventOut.of(row) for row in rows], next_after=rows[-1].id if len(rows) == limit else None
    )
