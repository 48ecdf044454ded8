"""Identities, images, and the grouping of unnamed images into persons."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from descry_client._sync.transport import Transport, given
from descry_client.models import (
    AssociationList,
    AssociationOut,
    AssociationRequest,
    EventOut,
    HistoryList,
    IdentityDetail,
    ImageOut,
    MergeAnswer,
    Sighting,
    SplitAnswer,
    SupportAnswer,
    Timeline,
)


class Identities:
    """/v1/identities."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, identity_id: int) -> IdentityDetail:
        """A person with every image."""
        return self._transport.json(
            IdentityDetail, "GET", "/v1/identities/{identity_id}", ids={"identity_id": identity_id}
        )

    def change(self, identity_id: int, **changes: Any) -> IdentityDetail:  # noqa: ANN401
        """Set `external_id` (None takes it away), `attributes` (replaces all), or both."""
        return self._transport.json(
            IdentityDetail, "PATCH", "/v1/identities/{identity_id}", ids={"identity_id": identity_id}, body=changes
        )

    def delete(self, identity_id: int) -> None:
        """Delete a person with every image."""
        self._transport.send("DELETE", "/v1/identities/{identity_id}", ids={"identity_id": identity_id})

    def merge(
        self, identity_id: int, identities: Sequence[int], *, drop_names: bool | None = None
    ) -> MergeAnswer:
        """Make one person of several: `identities` go into the first."""
        return self._transport.json(
            MergeAnswer,
            "POST",
            "/v1/identities/{identity_id}/merge",
            ids={"identity_id": identity_id},
            body=given(identities=list(identities), drop_names=drop_names),
        )

    def split(
        self, identity_id: int, *, image_ids: Sequence[int] | None = None, undo: int | None = None
    ) -> SplitAnswer:
        """Take images away from a person, or undo a merge by its event."""
        body = given(image_ids=None if image_ids is None else list(image_ids), undo=undo)
        return self._transport.json(
            SplitAnswer, "POST", "/v1/identities/{identity_id}/split", ids={"identity_id": identity_id}, body=body
        )

    def history_page(
        self, identity_id: int, *, limit: int | None = None, after: int | None = None
    ) -> HistoryList:
        """A page of merges and splits, oldest first."""
        return self._transport.json(
            HistoryList,
            "GET",
            "/v1/identities/{identity_id}/history",
            ids={"identity_id": identity_id},
            params=given(limit=limit, after=after),
        )

    def history(self, identity_id: int) -> Iterator[EventOut]:
        """Every merge and split, oldest first."""
        after: int | None = None
        while True:
            found = self.history_page(identity_id, after=after)
            for event in found.events:
                yield event
            if (after := found.next_after) is None:
                return

    def timeline(
        self,
        identity_id: int,
        *,
        gap_s: float | None = None,
        collection: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Timeline:
        """A page of where and when a person was seen."""
        return self._transport.json(
            Timeline,
            "GET",
            "/v1/identities/{identity_id}/timeline",
            ids={"identity_id": identity_id},
            params=given(gap_s=gap_s, collection=collection, limit=limit, cursor=cursor),
        )

    def sightings(self, identity_id: int, *, collection: str | None = None) -> Iterator[Sighting]:
        """Every sighting that has a time, earliest first."""
        cursor: str | None = None
        while True:
            found = self.timeline(identity_id, collection=collection, cursor=cursor)
            for sighting in found.sightings:
                yield sighting
            if (cursor := found.next_cursor) is None:
                return


class Images:
    """/v1/images."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, image_id: int) -> ImageOut:
        """What is known of an image."""
        return self._transport.json(ImageOut, "GET", "/v1/images/{image_id}", ids={"image_id": image_id})

    def describe(self, image_id: int, description: str | None) -> ImageOut:
        """Set an image's description; None takes it away."""
        return self._transport.json(
            ImageOut, "PATCH", "/v1/images/{image_id}", ids={"image_id": image_id}, body={"description": description}
        )

    def delete(self, image_id: int) -> None:
        """Delete an image."""
        self._transport.send("DELETE", "/v1/images/{image_id}", ids={"image_id": image_id})

    def file(self, image_id: int, *, original: bool = False) -> bytes:
        """The picture, a JPEG; `original`: without blurred heads where the server blurs them, for keys with `admin`."""
        ids, params = {"image_id": image_id}, {"original": original or None}
        return (self._transport.send("GET", "/v1/images/{image_id}/file", ids=ids, params=params)).content

    def thumbnail(self, image_id: int) -> bytes:
        """The small picture, a JPEG."""
        answer = self._transport.send("GET", "/v1/images/{image_id}/thumbnail", ids={"image_id": image_id})
        return answer.content

    def support(self, image_id: int, query: str) -> SupportAnswer:
        """Which words of a description an image bears out."""
        return self._transport.json(
            SupportAnswer,
            "POST",
            "/v1/images/{image_id}/support",
            ids={"image_id": image_id},
            body={"query": query},
            safe=True,
        )

    def heatmap(self, image_id: int, query: str) -> bytes:
        """Where in an image a description is borne out, a PNG."""
        answer = self._transport.send(
            "POST", "/v1/images/{image_id}/heatmap", ids={"image_id": image_id}, body={"query": query}, safe=True
        )
        return answer.content


class Associations:
    """/v1/associations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def start(self, request: AssociationRequest | Mapping[str, Any] | None = None) -> AssociationOut:
        """Group unnamed images into persons, by a job (`job_id`)."""
        return self._transport.json(
            AssociationOut, "POST", "/v1/associations", body={} if request is None else request
        )

    def page(self, *, limit: int | None = None, before: int | None = None) -> AssociationList:
        """A page of runs, newest first."""
        return self._transport.json(
            AssociationList, "GET", "/v1/associations", params=given(limit=limit, before=before)
        )

    def all(self) -> Iterator[AssociationOut]:
        """Every run, newest first."""
        before: int | None = None
        while True:
            found = self.page(before=before)
            for run in found.runs:
                yield run
            if (before := found.next_before) is None:
                return

    def get(self, association_id: int) -> AssociationOut:
        """One run."""
        return self._transport.json(
            AssociationOut, "GET", "/v1/associations/{association_id}", ids={"association_id": association_id}
        )

    def undo(self, association_id: int) -> AssociationOut:
        """Undo what a run merged."""
        return self._transport.json(
            AssociationOut, "POST", "/v1/associations/{association_id}/undo", ids={"association_id": association_id}
        )
