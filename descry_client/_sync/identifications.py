"""Identifications: proposed with one key, confirmed with another."""

from collections.abc import Iterator, Sequence
from typing import Literal

from descry_client._sync.transport import Transport, given
from descry_client.models import IdentificationOut, IdentificationPage

State = Literal["proposed", "confirmed", "refused", "withdrawn", "lapsed"]


class Identifications:
    """/v1/identifications. Until a second person confirms it, nobody is identified: they are candidates."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def propose(
        self, query_id: str, identity_id: int, *, purpose: str, note: str, image_ids: Sequence[int] | None = None
    ) -> IdentificationOut:
        """Say that somebody is the person whom a search looked for, by some images or all of them."""
        body = given(query_id=query_id, identity_id=identity_id, purpose=purpose, note=note)
        if image_ids is not None:
            body["image_ids"] = list(image_ids)
        return self._transport.json(IdentificationOut, "POST", "/v1/identifications", body=body)

    def page(
        self,
        *,
        state: State | None = None,
        query_id: str | None = None,
        identity_id: int | None = None,
        limit: int = 50,
        before: int | None = None,
    ) -> IdentificationPage:
        """A page of them, newest first."""
        params = given(state=state, query_id=query_id, identity_id=identity_id, limit=limit, before=before)
        return self._transport.json(IdentificationPage, "GET", "/v1/identifications", params=params)

    def all(self, *, state: State | None = None, page: int = 200) -> Iterator[IdentificationOut]:
        """Every one, newest first."""
        before: int | None = None
        while True:
            found = self.page(state=state, limit=page, before=before)
            for one in found.identifications:
                yield one
            if (before := found.next_before) is None:
                return

    def get(self, identification_id: int) -> IdentificationOut:
        """One."""
        return self._transport.json(
            IdentificationOut,
            "GET",
            "/v1/identifications/{identification_id}",
            ids={"identification_id": identification_id},
        )

    def confirm(self, identification_id: int, note: str | None = None) -> IdentificationOut:
        """Agree with what was proposed with another key."""
        return self._transport.json(
            IdentificationOut,
            "POST",
            "/v1/identifications/{identification_id}/confirm",
            ids={"identification_id": identification_id},
            body={"note": note},
        )

    def refuse(self, identification_id: int, reason: str) -> IdentificationOut:
        """Disagree with what was proposed with another key."""
        return self._transport.json(
            IdentificationOut,
            "POST",
            "/v1/identifications/{identification_id}/refuse",
            ids={"identification_id": identification_id},
            body={"reason": reason},
        )

    def withdraw(self, identification_id: int, reason: str) -> IdentificationOut:
        """Take back what this key has proposed or confirmed."""
        return self._transport.json(
            IdentificationOut,
            "POST",
            "/v1/identifications/{identification_id}/withdraw",
            ids={"identification_id": identification_id},
            body={"reason": reason},
        )
