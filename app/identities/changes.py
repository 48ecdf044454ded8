"""Merging and splitting identities within one unit of work, and taking that back. Every move goes into the history."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.database.tables import Identity, IdentityEvent
from app.database.visible import limited, seeing
from app.errors import (
    IdentityEventNotFoundError,
    IdentityNamesDifferError,
    ImageNotFoundError,
    InvalidError,
    MergeNotUndoableError,
)
from app.gallery.repository import ImageRepository
from app.identifications.repository import IdentificationRepository
from app.identities.history import MERGES, HistoryRepository
from app.identities.repository import IdentityRepository
from app.identities.service import IdentityService
from app.queries.repository import FeedbackRepository
from app.values import check_attributes


@dataclass(slots=True)
class Restored:
    """What an undo did.

    Attributes:
        identities: that are back.
        images: that went back.
        deleted: images that do not exist any more.
        moved: images that somebody moved meanwhile; left where they are.
        kept: images of a person who was named meanwhile, which confirms the group; left there.
        names_taken: identities that are back without their external id, which another one has now.
    """

    identities: int = 0
    images: int = 0
    deleted: int = 0
    moved: int = 0
    kept: int = 0
    names_taken: int = 0

    def to_dict(self) -> dict[str, int]:
        """JSON-ready."""
        return asdict(self)


class IdentityChanges:
    """Merge, split, undo. `actor` is who asked, where that is known.

    Whoever asks must see the identities. What is done to them is done to all of their images, also to those that a
    limited key does not see: a person is the same in every collection.
    """

    def __init__(self, session: Session, actor: str | None = None) -> None:
        self._session, self._actor = session, actor
        self._service = IdentityService(session)
        self._identities = IdentityRepository(session)
        self._images = ImageRepository(session)
        self._history = HistoryRepository(session)
        self._feedback = FeedbackRepository(session)
        self._identifications = IdentificationRepository(session)

    def merge(
        self, into: int, others: Sequence[int], *, drop_names: bool = False, run_id: int | None = None
    ) -> list[int]:
        """Give every image of `others` to `into` and remove them; returns the events, one for each of them.

        `into` keeps its name, or takes the only one there is. Attributes that it lacks come from the others, in their
        order. It stays provisional only if all of them are.

        Args:
            drop_names: let go of names that differ from the one that is kept, instead of refusing.
            run_id: the association run that does this.

        Raises:
            IdentityNotFoundError: one does not exist.
            IdentityNamesDifferError: they have different external ids.
            InvalidError: it is merged with itself, or has too many attributes then.
        """
        others = list(dict.fromkeys(others))
        if into in others:
            raise InvalidError(f"identity {into} cannot be merged with itself")
        target, sources = self._service.identity(into), [self._service.identity(other) for other in others]
        names = list(dict.fromkeys(row.external_id for row in (target, *sources) if row.external_id is not None))
        if len(names) > 1 and not drop_names:
            listed = ", ".join(repr(name) for name in names)
            raise IdentityNamesDifferError(f"they are called {listed}; send drop_names to keep only the first")
        with seeing(None):
            return self._join(target, sources, run_id)

    def _join(self, target: Identity, sources: Sequence[Identity], run_id: int | None) -> list[int]:
        into, others = target.id, [row.id for row in sources]
        images = self._identities.images_of(others)
        after = _State(target.external_id, dict(target.attributes), target.provisional)
        events = [
            {
                "event": "merge" if run_id is None else "association",
                "actor": self._actor,
                "from_id": row.id,
                "to_id": into,
                "image_ids": images.get(row.id, []),
                "before": _snapshot(row) | {"gave": after.take(row)},
                "run_id": run_id,
            }
            for row in sources
        ]
        try:
            check_attributes(after.attributes)
        except ValueError as error:
            raise InvalidError(f"the merged attributes cannot be kept: {error}") from None
        self._identities.move({image: into for owned in images.values() for image in owned})
        self._feedback.carry(others, into)
        self._identifications.follow(image for owned in images.values() for image in owned)
        self._identities.delete(*others)
        target.external_id, target.attributes, target.provisional = after.name, after.attributes, after.provisional
        self._session.flush()
        return self._history.add(events)

    def split(self, identity_id: int, image_ids: Sequence[int]) -> int:
        """Give some images of an identity to a new provisional one; returns its id.

        Raises:
            IdentityNotFoundError: there is no such identity.
            ImageNotFoundError: one of the images is not an image of it.
            InvalidError: no image is named, or none would stay.
        """
        self._service.identity(identity_id)
        chosen = sorted(set(image_ids))
        own = set(self._identities.images_of([identity_id]).get(identity_id, []))
        if strange := [image for image in chosen if image not in own]:
            raise ImageNotFoundError(strange[0])
        if not chosen or len(chosen) == len(own):
            raise InvalidError("a split names some of the identity's images, and not all of them")
        (new,) = self._identities.add_provisional(1)
        self._identities.move(dict.fromkeys(chosen, new))
        self._feedback.follow(chosen)
        self._identifications.follow(chosen)
        self._history.add(
            [
                {
                    "event": "split",
                    "actor": self._actor,
                    "from_id": identity_id,
                    "to_id": new,
                    "image_ids": chosen,
                    "before": None,
                    "run_id": None,
                }
            ]
        )
        return new

    def undo_merge(self, identity_id: int, event_id: int) -> tuple[int, Restored]:
        """Bring back the identity that an event merged away, with those of its images that `identity_id` still has.

        Raises:
            IdentityNotFoundError: there is no such identity.
            IdentityEventNotFoundError: no such event, or it is no merge.
            MergeNotUndoableError: it was undone, what it needs was erased, or this identity has none of the images.
        """
        self._service.identity(identity_id)
        event = self._history.get(event_id)
        if event is None or event.event not in MERGES or not self._seen(event):
            raise IdentityEventNotFoundError(f"the history of identity {identity_id} has no merge {event_id}")
        if event.undone_at is not None or event.before is None:
            raise MergeNotUndoableError("it was undone already, or what it needs was erased with the person")
        with seeing(None):
            restored = self._restore([event], holder=identity_id)
        if not restored.identities:
            raise MergeNotUndoableError(f"identity {identity_id} has none of the images that this merge moved")
        return event.from_id, restored

    def undo_run(self, run_id: int) -> Restored:
        """Bring back every identity that an association run merged away; what people did meanwhile stays."""
        events = self._history.of_run(run_id)
        with seeing(None):
            targets = self._identities.several({event.to_id for event in events})
            confirmed = {row.id for row in targets.values() if not row.provisional}
            restored = self._restore([event for event in events if event.to_id not in confirmed])
        restored.kept = sum(len(event.image_ids) for event in events if event.to_id in confirmed)
        return restored

    def _seen(self, event: IdentityEvent) -> bool:
        """Whether whoever asks may know of an event: some image of it lies where they can see it."""
        return not limited() or bool(self._images.identity_of(event.image_ids))

    def _restore(self, events: Sequence[IdentityEvent], holder: int | None = None) -> Restored:
        """Take back merges, of which none has what another one gave; `holder` has their images, else their target."""
        restored = Restored()
        owners = self._images.identity_of(image for event in events for image in event.image_ids)
        targets = self._identities.several({event.to_id for event in events})
        back: dict[int, int] = {}
        done: list[tuple[IdentityEvent, int, list[int]]] = []
        for event in events:
            has = event.to_id if holder is None else holder
            ours = [image for image in event.image_ids if owners.get(image) == has]
            gone = sum(image not in owners for image in event.image_ids)
            restored.deleted += gone
            restored.moved += len(event.image_ids) - len(ours) - gone
            if event.before is not None and (ours or (not event.image_ids and event.to_id == has)):
                back |= dict.fromkeys(ours, event.from_id)
                done.append((event, has, ours))
        rows = [self._row(event, targets.get(event.to_id), restored) for event, _, _ in done]
        self._session.flush()
        self._identities.bring_back(rows)
        self._identities.move(back)
        self._feedback.follow(back)
        self._identifications.follow(back)
        for event, has, _ in done:
            self._feedback.give_back(event.from_id, has)
        self._history.mark_undone(event.id for event, _, _ in done)
        self._history.add(
            [
                {
                    "event": "restore",
                    "actor": self._actor,
                    "from_id": has,
                    "to_id": event.from_id,
                    "image_ids": ours,
                    "before": None,
                    "run_id": event.run_id,
                }
                for event, has, ours in done
            ]
        )
        self._remove_empty({has for _, has, _ in done})
        restored.identities, restored.images = len(done), len(back)
        return restored

    def _row(self, event: IdentityEvent, target: Identity | None, restored: Restored) -> dict[str, Any]:
        """The identity that an event removed, as it was; what it gave to the target is taken from there."""
        before: dict[str, Any] = dict(event.before or {})
        gave, name = before["gave"], before["external_id"]
        if target is not None:
            if gave["name"] and target.external_id == name:
                target.external_id = None
            given = {key: before["attributes"][key] for key in gave["attributes"]}
            target.attributes = {
                key: value for key, value in target.attributes.items() if key not in given or given[key] != value
            }
            if gave["confirmed"] and target.external_id is None:
                target.provisional = True
            self._session.flush()
        if name is not None and self._identities.by_external_id(name) is not None:
            name = None
            restored.names_taken += 1
        return {
            "id": event.from_id,
            "external_id": name,
            "attributes": before["attributes"],
            "provisional": before["provisional"],
            "created_at": datetime.fromisoformat(before["created_at"]),
        }

    def _remove_empty(self, identity_ids: set[int]) -> None:
        """A provisional identity goes with its last image."""
        having = self._identities.images_of(identity_ids)
        rows = self._identities.several(identity_ids)
        empty = [row.id for row in rows.values() if row.provisional and row.id not in having]
        for identity_id in empty:
            self._feedback.forget_identity(identity_id)
        self._identities.delete(*empty)


@dataclass(slots=True)
class _State:
    """An identity while others are merged into it."""

    name: str | None
    attributes: dict[str, Any]
    provisional: bool

    def take(self, row: Identity) -> dict[str, Any]:
        """Take from a row what is lacking here; returns what that was."""
        new = [key for key in row.attributes if key not in self.attributes]
        gave = {
            "name": self.name is None and row.external_id is not None,
            "attributes": new,
            "confirmed": self.provisional and not row.provisional,
        }
        self.name = self.name if self.name is not None else row.external_id
        self.attributes |= {key: row.attributes[key] for key in new}
        self.provisional = self.provisional and row.provisional
        return gave


def _snapshot(row: Identity) -> dict[str, Any]:
    return {
        "external_id": row.external_id,
        "attributes": row.attributes,
        "provisional": row.provisional,
        "created_at": row.created_at.isoformat(),
    }
