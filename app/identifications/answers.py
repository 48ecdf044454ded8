"""How an identification is told, to programs and to people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.access.principal import Principal
from app.database.identification_tables import Identification
from app.database.tables import Identity, Query
from app.identifications.acts import lapse_of, possible, state_of
from app.identifications.schemas import NOTICE, IdentificationOut, IdentifiedQuery, Said
from app.identities.schemas import IdentityOut
from app.queries.definition import in_words


@dataclass(frozen=True, slots=True)
class Answers:
    """What some identifications name.

    Attributes:
        images: that each rests on, by its id.
        counts: how many images each person has.
        queries: by id; those that are deleted are not among them.
        names: of keys, by id.
        who: asks; None at the command line.
    """

    images: Mapping[int, list[int]]
    identities: Mapping[int, Identity]
    counts: Mapping[int, int]
    queries: Mapping[str, Query]
    names: Mapping[int, str]
    who: Principal | None
    at: datetime

    def told(self, row: Identification) -> IdentificationOut:
        """One of them."""
        proposed = self._said(row.proposed_by, row.proposed_at, row.note)
        decided = self._said(row.decided_by, row.decided_at, row.decision_note)
        assert proposed is not None
        person, lapse = self.identities.get(row.identity_id), lapse_of(row, self.at)
        state = state_of(row, self.at)
        confirmed = state == "confirmed" and decided is not None
        return IdentificationOut(
            id=row.id,
            state=state,
            notice=f"Confirmed by two people: {proposed.name} and {decided.name}." if confirmed and decided else NOTICE,
            query_id=row.query_id,
            query=self._query(row.query_id),
            identity_id=row.identity_id,
            identity=None if person is None else IdentityOut.of(person),
            proposed_identity_id=row.proposed_identity_id,
            image_ids=self.images[row.id],
            images_of_identity=self.counts.get(row.identity_id, 0),
            purpose=row.purpose,
            proposed=proposed,
            expires_at=row.expires_at,
            decided=decided,
            withdrawn=self._said(row.ended_by, row.ended_at, row.end_note),
            lapsed_at=row.expires_at if lapse == "expired" else row.ended_at if lapse else None,
            lapsed_because=lapse,
            may=possible(row, self.who, self.at),
        )

    def _said(self, key_id: int | None, at: datetime | None, note: str | None) -> Said | None:
        if key_id is None or at is None:
            return None
        return Said(key_id=key_id, name=self.names.get(key_id, f"key {key_id}"), at=at, note=note)

    def _query(self, query_id: str) -> IdentifiedQuery | None:
        if (row := self.queries.get(query_id)) is None:
            return None
        words = in_words(row.definition)
        return IdentifiedQuery(id=query_id, words=words, purpose=row.purpose, created_at=row.created_at)


def in_short(one: IdentificationOut) -> str:
    """One line about it, for a sheet of results."""
    share = f"{len(one.image_ids)} of {one.images_of_identity} images"
    if one.state == "confirmed" and one.decided is not None:
        return f"identified by two people: {one.proposed.name} and {one.decided.name}, by {share}"
    if one.state == "proposed":
        return f"proposed as an identification by {one.proposed.name}, not confirmed: a candidate"
    return f"identification {one.state}"
