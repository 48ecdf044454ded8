"""Searches, and searches as things: kept, named, asked again, judged."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from descry_client._sync.transport import Transport, given, jsonable
from descry_client.models import (
    Candidate,
    ComposedPart,
    FeedbackIn,
    FeedbackList,
    Filters,
    QueryOut,
    QueryPage,
    SearchAnswer,
)
from descry_client.uploads import Part

Conditions = Filters | Mapping[str, Any]
GroupBy = Literal["identity", "image"]


class Search:
    """/v1/search. Answers are candidates, not identifications.

    All searches take `limit` (1 to 100), `images_per_identity`, `collection`, `filters`, `group_by`, `cursor` (of the
    page before) and `purpose`, as the API has them.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def text(
        self,
        query: str,
        *,
        limit: int | None = None,
        images_per_identity: int | None = None,
        collection: str | None = None,
        filters: Conditions | None = None,
        group_by: GroupBy | None = None,
        cursor: str | None = None,
        purpose: str | None = None,
    ) -> SearchAnswer:
        """Find people by a description."""
        body = given(
            query=query,
            limit=limit,
            images_per_identity=images_per_identity,
            collection=collection,
            filters=filters,
            group_by=group_by,
            cursor=cursor,
            purpose=purpose,
        )
        return self._transport.json(SearchAnswer, "POST", "/v1/search/text", body=body, safe=True)

    def image(
        self,
        picture: Path | bytes,
        *,
        limit: int | None = None,
        images_per_identity: int | None = None,
        collection: str | None = None,
        filters: Conditions | None = None,
        group_by: GroupBy | None = None,
        cursor: str | None = None,
        purpose: str | None = None,
    ) -> SearchAnswer:
        """Find people by an example picture: a file, or the bytes of one."""
        form = given(
            limit=limit,
            images_per_identity=images_per_identity,
            collection=collection,
            filters=None if filters is None else _json(filters),
            group_by=group_by,
            cursor=cursor,
            purpose=purpose,
        )
        parts = [*_fields(form), Part("file", picture, "picture")]
        return self._transport.json(SearchAnswer, "POST", "/v1/search/image", parts=parts, safe=True)

    def composed(
        self,
        parts: Sequence[ComposedPart | Mapping[str, Any]],
        *,
        negatives: Sequence[ComposedPart | Mapping[str, Any]] = (),
        pictures: Mapping[str, Path | bytes] | None = None,
        include_examples: bool | None = None,
        limit: int | None = None,
        images_per_identity: int | None = None,
        collection: str | None = None,
        filters: Conditions | None = None,
        group_by: GroupBy | None = None,
        cursor: str | None = None,
        purpose: str | None = None,
    ) -> SearchAnswer:
        """Find people by several things at once, less what is denied; `pictures` by the names that parts give them."""
        body = given(
            parts=list(parts),
            negatives=list(negatives),
            include_examples=include_examples,
            limit=limit,
            images_per_identity=images_per_identity,
            collection=collection,
            filters=filters,
            group_by=group_by,
            cursor=cursor,
            purpose=purpose,
        )
        how: dict[str, Any] = {"body": body}
        if pictures:
            files = [Part("files", content, name) for name, content in pictures.items()]
            how = {"parts": [Part("query", _json(body).encode()), *files]}
        return self._transport.json(SearchAnswer, "POST", "/v1/search/composed", safe=True, **how)

    def text_candidates(
        self,
        query: str,
        *,
        page: int = 50,
        images_per_identity: int | None = None,
        collection: str | None = None,
        filters: Conditions | None = None,
        group_by: GroupBy | None = None,
        purpose: str | None = None,
    ) -> Iterator[Candidate]:
        """Every candidate for a description, best first, page after page. Stop where it is enough."""
        cursor: str | None = None
        while True:
            answer = self.text(
                query,
                limit=page,
                images_per_identity=images_per_identity,
                collection=collection,
                filters=filters,
                group_by=group_by,
                cursor=cursor,
                purpose=purpose,
            )
            for candidate in answer.candidates:
                yield candidate
            if (cursor := answer.next_cursor) is None:
                return


class Queries:
    """/v1/queries."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def page(self, *, saved: bool | None = None, limit: int = 50, cursor: str | None = None) -> QueryPage:
        """A page of queries, newest first."""
        params = given(saved=saved, limit=limit, cursor=cursor)
        return self._transport.json(QueryPage, "GET", "/v1/queries", params=params)

    def all(self, *, saved: bool | None = None, page: int = 200) -> Iterator[QueryOut]:
        """Every query, newest first."""
        cursor: str | None = None
        while True:
            found = self.page(saved=saved, limit=page, cursor=cursor)
            for query in found.queries:
                yield query
            if (cursor := found.next_cursor) is None:
                return

    def get(self, query_id: str) -> QueryOut:
        """One query."""
        return self._transport.json(QueryOut, "GET", "/v1/queries/{query_id}", ids={"query_id": query_id})

    def name(self, query_id: str, name: str | None) -> QueryOut:
        """Save a query under a name; None takes the name away."""
        return self._transport.json(
            QueryOut, "PATCH", "/v1/queries/{query_id}", ids={"query_id": query_id}, body={"name": name}
        )

    def forget(self, query_id: str) -> None:
        """Delete a query with its verdicts."""
        self._transport.send("DELETE", "/v1/queries/{query_id}", ids={"query_id": query_id})

    def again(
        self,
        query_id: str,
        *,
        limit: int | None = None,
        images_per_identity: int | None = None,
        cursor: str | None = None,
        use_feedback: bool | None = None,
    ) -> SearchAnswer:
        """Ask a query again. What is not given is as it was."""
        body = given(limit=limit, images_per_identity=images_per_identity, cursor=cursor, use_feedback=use_feedback)
        return self._transport.json(
            SearchAnswer, "POST", "/v1/queries/{query_id}/search", ids={"query_id": query_id}, body=body, safe=True
        )

    def results(
        self,
        query_id: str,
        *,
        form: Literal["html", "pdf", "csv"] = "html",
        limit: int | None = None,
        images_per_identity: int | None = None,
        use_feedback: bool | None = None,
    ) -> bytes:
        """The results as a file."""
        params = given(format=form, limit=limit, images_per_identity=images_per_identity, use_feedback=use_feedback)
        answer = self._transport.send(
            "GET", "/v1/queries/{query_id}/results", ids={"query_id": query_id}, params=params
        )
        return answer.content

    def feedback(self, query_id: str) -> FeedbackList:
        """The verdicts on a query's candidates."""
        return self._transport.json(
            FeedbackList, "GET", "/v1/queries/{query_id}/feedback", ids={"query_id": query_id}
        )

    def judge(self, query_id: str, verdicts: Sequence[FeedbackIn | Mapping[str, Any]]) -> FeedbackList:
        """Confirm or reject candidates, 1 to 500 at once."""
        return self._transport.json(
            FeedbackList, "POST", "/v1/queries/{query_id}/feedback", ids={"query_id": query_id}, body=list(verdicts)
        )

    def withdraw(self, query_id: str, feedback_id: int) -> None:
        """Take one verdict back."""
        self._transport.send(
            "DELETE",
            "/v1/queries/{query_id}/feedback/{feedback_id}",
            ids={"query_id": query_id, "feedback_id": feedback_id},
        )


def _fields(form: Mapping[str, Any]) -> list[Part]:
    return [Part(name, str(value).encode()) for name, value in form.items()]


def _json(value: Any) -> str:  # noqa: ANN401
    return json.dumps(jsonable(value))
