"""All SQL about identifications. What follows images and keys is done for all of them, whatever the asking key sees."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, update
from sqlalchemy.orm import Session

from app.database.identification_tables import Identification, IdentificationImage
from app.database.mentions import Names
from app.database.privacy import ERASED
from app.database.tables import Image, Query, now
from app.database.visible import seeing
from app.gallery.repository import pieces

STANDING = ("proposed", "confirmed")
"""States in which one says something, or may come to."""


class IdentificationRepository:
    """Reads and writes identifications."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, values: dict[str, Any], image_ids: Iterable[int]) -> int:
        """Insert one (columns by name) with the images that it rests on; returns its id."""
        made = int(self._session.scalars(insert(Identification).returning(Identification.id), [values]).one())
        rows = [{"identification_id": made, "image_id": image_id} for image_id in image_ids]
        self._session.execute(insert(IdentificationImage), rows)
        return made

    def get(self, identification_id: int) -> Identification | None:
        """One identification."""
        statement = select(Identification).where(Identification.id == identification_id)
        return self._session.scalars(statement).one_or_none()

    def page(
        self,
        *,
        state: str | None = None,
        query_id: str | None = None,
        identity_id: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[Identification]:
        """Those in a state, of a query, of a person, before one of them; newest first."""
        statement = select(Identification).order_by(Identification.id.desc()).limit(limit)
        if state is not None:
            statement = statement.where(_in_state(state, now()))
        if query_id is not None:
            statement = statement.where(Identification.query_id == query_id)
        if identity_id is not None:
            statement = statement.where(Identification.identity_id == identity_id)
        if before is not None:
            statement = statement.where(Identification.id < before)
        return list(self._session.scalars(statement))

    def standing(self, query_id: str, identity_id: int) -> Identification | None:
        """The one that says of a person that this query looked for them, proposed or confirmed."""
        where = (Identification.query_id == query_id, Identification.identity_id == identity_id, _standing(now()))
        return self._session.scalars(select(Identification).where(*where).limit(1)).one_or_none()

    def images(self, identification_ids: Sequence[int]) -> dict[int, list[int]]:
        """The images that each of some identifications rests on, ascending."""
        found: dict[int, list[int]] = {number: [] for number in identification_ids}
        columns = IdentificationImage.identification_id, IdentificationImage.image_id
        for part in pieces(identification_ids):
            statement = select(*columns).where(columns[0].in_(part)).order_by(columns[1])
            for number, image_id in self._session.execute(statement):
                found[number].append(image_id)
        return found

    def settle(self, identification_id: int, was: str, values: dict[str, Any]) -> bool:
        """Change one that is still in a state; False if it is not: somebody else was faster."""
        where = (Identification.id == identification_id, Identification.state == was)
        statement = update(Identification).where(*where).values(values).returning(Identification.id)
        return self._session.scalars(statement).one_or_none() is not None

    def follow(self, image_ids: Iterable[int]) -> None:
        """Go where images went. Where the images of one belong to several people now, it lapses."""
        with seeing(None):
            touched = self._resting_on(image_ids)
            owners: dict[int, set[int]] = {}
            columns = IdentificationImage.identification_id, Image.identity_id
            for part in pieces(touched):
                statement = select(*columns).join(Image, Image.id == IdentificationImage.image_id).distinct()
                for number, identity_id in self._session.execute(statement.where(columns[0].in_(part))):
                    owners.setdefault(number, set()).add(identity_id)
        for number, whose in owners.items():
            if len(whose) == 1:
                moved = update(Identification).where(Identification.id == number).values(identity_id=whose.pop())
                self._session.execute(moved)
            else:
                self._lapse("images_apart", Identification.id == number)

    def forget_images(self, image_ids: Iterable[int]) -> None:
        """Erase that anything rests on images; what rests on nothing then goes. Its query, which found the person,
        loses what tells who that is: vectors of pictures, name and purpose."""
        ids = list(image_ids)
        with seeing(None):
            touched = self._resting_on(ids)
            for part in pieces(ids):
                self._session.execute(delete(IdentificationImage).where(IdentificationImage.image_id.in_(part)))
            gone = [number for number, left in self.images(sorted(touched)).items() if not left]
        for part in pieces(gone):
            mine = Identification.id.in_(part)
            asked = select(Identification.query_id).where(mine, Identification.state.in_(STANDING))
            told = {"vectors": None, "name": None, "saved_at": None, "purpose": None}
            self._session.execute(update(Query).where(Query.id.in_(asked)).values(told))
            self._session.execute(delete(Identification).where(mine))

    def forget_words(self, names: Names) -> None:
        """Erase what people wrote about others, where it names somebody who is gone."""
        words = ("purpose", "note", "decision_note", "end_note")
        columns = [getattr(Identification, name) for name in words]
        with seeing(None):
            statement = select(Identification.id, *columns).where(or_(*map(names.maybe_in_text, columns)))
            rows = self._session.execute(statement)
            found = {row.id: {name: ERASED for name in words if names.held_by(getattr(row, name))} for row in rows}
        for number, gone in found.items():
            if gone:
                self._session.execute(update(Identification).where(Identification.id == number).values(gone))

    def query_gone(self, query_id: str) -> None:
        """A query is deleted: nobody can see any more what a proposal answers. What was confirmed stays."""
        self._lapse("query_deleted", Identification.query_id == query_id, Identification.state == "proposed")

    def key_revoked(self, key_id: int) -> None:
        """A key is revoked: what its holder proposed waits for nobody any more. What was confirmed stays."""
        self._lapse("key_revoked", Identification.proposed_by == key_id, Identification.state == "proposed")

    def _lapse(self, because: str, *where: ColumnElement[bool]) -> None:
        at = now()
        values = {"state": "lapsed", "ended_at": at, "lapsed_because": because}
        self._session.execute(update(Identification).where(*where, _standing(at)).values(values))

    def _resting_on(self, image_ids: Iterable[int]) -> set[int]:
        found: set[int] = set()
        for part in pieces(image_ids):
            mine = IdentificationImage.image_id.in_(part)
            found.update(self._session.scalars(select(IdentificationImage.identification_id).where(mine).distinct()))
        return found


def _standing(at: datetime) -> ColumnElement[bool]:
    return or_(_in_state("proposed", at), Identification.state == "confirmed")


def _in_state(state: str, at: datetime) -> ColumnElement[bool]:
    """As `app.identifications.acts.state_of` says."""
    if state == "proposed":
        return and_(Identification.state == "proposed", Identification.expires_at > at)
    if state == "lapsed":
        ran_out = and_(Identification.state == "proposed", Identification.expires_at <= at)
        return or_(Identification.state == "lapsed", ran_out)
    return Identification.state == state
