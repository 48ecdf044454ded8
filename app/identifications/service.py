"""Identifications within one unit of work: proposed by one person, decided by another."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from app.access.principal import Principal
from app.access.repository import KeyRepository
from app.audit.note import noted
from app.database.identification_tables import Identification
from app.database.tables import now
from app.database.visible import seeing
from app.errors import (
    IdentificationExistsError,
    IdentificationNotFoundError,
    IdentificationSettledError,
    ImageNotFoundError,
    InvalidError,
    QueryNotFoundError,
    SecondPersonMissingError,
)
from app.identifications.acts import Act, State, outcome, state_of
from app.identifications.answers import Answers
from app.identifications.repository import IdentificationRepository
from app.identifications.schemas import MOST_IMAGES, IdentificationOut, IdentificationPage, NewIdentification
from app.identities.repository import IdentityRepository
from app.identities.service import IdentityService
from app.queries.repository import QueryRepository


class IdentificationService:
    """Proposes, decides and lists. What changes them belongs into a `Database.write` block.

    Args:
        who: whoever asks; None at the command line, which has no key and decides nothing.
    """

    def __init__(self, session: Session, who: Principal | None = None) -> None:
        self._session, self._who = session, who
        self._identifications = IdentificationRepository(session)

    def propose(self, new: NewIdentification, *, open_for_s: float) -> IdentificationOut:
        """Say that somebody is the person whom a query looked for.

        Args:
            open_for_s: seconds within which it can be confirmed.

        Raises:
            SecondPersonMissingError: there are no keys, so nobody could confirm it.
            QueryNotFoundError, IdentityNotFoundError, IdentityMergedError, ImageNotFoundError: one does not exist.
            InvalidError: the person has more images than it can rest on, and none are named.
            IdentificationExistsError: it was said already.
        """
        if self._who is None or self._who.key_id is None:
            raise SecondPersonMissingError
        if QueryRepository(self._session).get(new.query_id) is None:
            raise QueryNotFoundError(new.query_id)
        identity_id = IdentityService(self._session).identity(new.identity_id).id
        images = self._images(identity_id, new.image_ids)
        at = now()
        if (other := self._identifications.standing(new.query_id, identity_id)) is not None:
            raise IdentificationExistsError(other.id, state_of(other, at))
        values = {
            "query_id": new.query_id,
            "identity_id": identity_id,
            "proposed_identity_id": identity_id,
            "purpose": new.purpose,
            "state": "proposed",
            "proposed_by": self._who.key_id,
            "proposed_at": at,
            "note": new.note,
            "expires_at": at + timedelta(seconds=open_for_s),
        }
        noted(identities=[identity_id], images=images, query_id=new.query_id, purpose=new.purpose, note=new.note)
        return self.get(self._identifications.add(values, images))

    def _images(self, identity_id: int, wanted: Sequence[int] | None) -> list[int]:
        own = IdentityRepository(self._session).images_of([identity_id]).get(identity_id, [])
        if wanted is not None:
            if strange := sorted(set(wanted).difference(own)):
                raise ImageNotFoundError(strange[0])
            return sorted(set(wanted))
        if not own:
            raise InvalidError(f"identity {identity_id} has no image that an identification could rest on")
        if len(own) > MOST_IMAGES:
            raise InvalidError(
                f"identity {identity_id} has {len(own):,} images; name up to {MOST_IMAGES} of them in image_ids"
            )
        return own

    def act(self, identification_id: int, act: Act, note: str | None) -> IdentificationOut:
        """Confirm, refuse or withdraw.

        Raises:
            IdentificationNotFoundError: there is none.
            ServiceError: see `app.identifications.acts.outcome`.
        """
        row, at = self._found(identification_id), now()
        if self._who is None:
            raise SecondPersonMissingError
        state = outcome(row, act, self._who, at)
        part = "ended" if act == "withdraw" else "decided"
        told = "end_note" if act == "withdraw" else "decision_note"
        values = {"state": state, f"{part}_by": self._who.key_id, f"{part}_at": at, told: note}
        if not self._identifications.settle(identification_id, row.state, values):
            raise IdentificationSettledError(
                f"identification {identification_id} was decided by somebody else just now"
            )
        noted(reason=note)
        self._session.refresh(row)
        return self.get(identification_id)

    def get(self, identification_id: int) -> IdentificationOut:
        """One.

        Raises:
            IdentificationNotFoundError: there is none.
        """
        return self._told([self._found(identification_id)])[0]

    def page(
        self,
        *,
        state: State | None = None,
        query_id: str | None = None,
        identity_id: int | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> IdentificationPage:
        """Those in a state, of a query, of a person; newest first."""
        rows = self._identifications.page(
            state=state, query_id=query_id, identity_id=identity_id, before=before, limit=limit + 1
        )
        further = rows[limit - 1].id if len(rows) > limit else None
        return IdentificationPage(identifications=self._told(rows[:limit]), next_before=further)

    def of_query(self, query_id: str) -> dict[int, IdentificationOut]:
        """What was said of each person as the one whom a query looked for: what was confirmed, else the newest."""
        found: dict[int, IdentificationOut] = {}
        for one in self._told(self._identifications.page(query_id=query_id)):
            if one.identity_id not in found or one.state == "confirmed":
                found[one.identity_id] = one
        return found

    def _found(self, identification_id: int) -> Identification:
        if (row := self._identifications.get(identification_id)) is None:
            raise IdentificationNotFoundError(identification_id)
        return row

    def _told(self, rows: Sequence[Identification]) -> list[IdentificationOut]:
        identities = IdentityRepository(self._session)
        whom = {row.identity_id for row in rows}
        with seeing(None):  # whoever may decide may know what was asked, also where another key asked it
            queries = QueryRepository(self._session).several({row.query_id for row in rows})
        answers = Answers(
            images=self._identifications.images([row.id for row in rows]),
            identities=identities.several(whom),
            counts={number: len(own) for number, own in identities.images_of(whom).items()},
            queries=queries,
            names=KeyRepository(self._session).names(),
            who=self._who,
            at=now(),
        )
        told = [answers.told(row) for row in rows]
        noted(identities=[one.identity_id for one in told], images=[n for one in told for n in one.image_ids])
        if len(told) == 1:
            noted(facts={"identification": told[0].id, "state": told[0].state})
        return told
