"""A query asked once more, with the version that answers now, and with what was learnt from feedback."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from app.association.repository import AssociationRepository
from app.core import Core
from app.database.tables import Query as QueryRow
from app.errors import QueryOutdatedError
from app.identities.repository import IdentityRepository
from app.queries.definition import OPTIONS, fingerprints, unpacked
from app.queries.feedback import Judged, judged
from app.queries.relevance import CONFIRMED, Vectors, rocchio
from app.queries.repository import FeedbackRepository
from app.queries.schemas import SearchAgain
from app.registry.active import LoadedModel
from app.search.encoding import QueryEncoder
from app.search.purpose import check_purpose_here
from app.search.query import Part, Query
from app.search.schemas import ComposedQuery, SearchAnswer, SearchOptions, Warned
from app.search.service import SearchService
from app.search.wording import Content, DescriptionEncoder
from models.encoder import Space

_IMAGES = 100
"""Most images by which a person who was judged is known: the newest."""


def options_of(row: QueryRow, asked: SearchAgain) -> SearchOptions:
    """The options of a query, with those that are wanted otherwise now."""
    stored = {name: value for name, value in row.definition.items() if name in OPTIONS}
    wanted = asked.model_dump(include={"limit", "images_per_identity", "cursor"}, exclude_none=True)
    return SearchOptions.model_validate({**stored, **wanted, "purpose": row.purpose})


class Again:
    """A query for a model version. Wait for what is `queued`, then make the `query`. Not for the event loop.

    Raises:
        QueryOutdatedError: it has an uploaded picture, of which only another version's vector is known.
        ImageNotFoundError, IdentityNotFoundError, ImageNotEncodedError: a part is not in the gallery any more.
        EncoderBusyError: too many are waiting.
    """

    def __init__(self, core: Core, model: LoadedModel, row: QueryRow) -> None:
        self._core, self._model, self._row = core, model, row
        self._content = {name: value for name, value in row.definition.items() if name not in OPTIONS}
        self._uploaded = unpacked(row.definition, row.vectors)
        if fingerprints(row.definition) and (row.model_version_id != model.version_id or not self._uploaded):
            raise QueryOutdatedError(
                "the query has a picture, which is not kept; its vector was erased, or belongs to a model version that "
                "does not answer any more. Search with the picture again"
            )
        self._composed: QueryEncoder | None = None
        self._described: DescriptionEncoder | None = None
        self.queued: dict[Content, Future[Any]] = {}
        if row.kind == "text":
            self._described = DescriptionEncoder(model, self._content["query"], core.settings.max_query_chars)
            self.queued = self._described.begin()
        elif row.kind == "composed":
            self._composed = QueryEncoder(core, model, _as_asked(self._content), {}, self._uploaded)
            self.queued = self._composed.begin()

    def query(self, encoded: Mapping[Content, Any], *, learn: bool) -> Query:
        """The query, from the results of what was queued; if that is wished moved by the feedback on it.

        Raises:
            QueryNotUnderstoodError: the model knows no word of a text.
        """
        asked = replace(self._plain(encoded), id=self._row.id)
        if not learn:
            return asked
        with self._core.database.read() as session:
            return Learning(session, self._model).learnt(asked)

    def _plain(self, encoded: Mapping[Content, Any]) -> Query:
        if self._composed is not None:
            return self._composed.query(encoded)
        if self._described is not None:
            return self._described.query(encoded)
        (vector,) = self._uploaded.values()
        return Query((Part(vector, "image"),), self._content, uploaded=self._uploaded)


def _as_asked(content: Mapping[str, Any]) -> ComposedQuery:
    """The body of a composed query, with its pictures under their SHA-256 as names."""

    def named(part: Mapping[str, Any]) -> dict[str, Any]:
        picture = part.get("picture")
        return {**part, "picture": picture["sha256"]} if picture else dict(part)

    sides = {side: [named(part) for part in content.get(side, ())] for side in ("parts", "negatives")}
    return ComposedQuery.model_validate({**content, **sides})


def answer_again(core: Core, row: QueryRow, asked: SearchAgain) -> SearchAnswer:
    """A page of the answer to a query, without HTTP. The active version must be loaded.

    Raises:
        QueryOutdatedError: see `Again`.
        PurposeRequiredError: it has no purpose, and needs one. And what `SearchService.answer` raises.
    """
    started, model = time.perf_counter(), core.active.current()
    options = options_of(row, asked)
    check_purpose_here(options, core.settings, core.database)
    again = Again(core, model, row)
    found = {content: future.result() for content, future in again.queued.items()}
    query = again.query(found, learn=asked.use_feedback)
    service = SearchService(core.database, model, protected=core.settings.protected_attributes)
    return service.answer(query, options, started=started)


class Learning:
    """Moves a query by the verdicts on its candidates."""

    def __init__(self, session: Session, model: LoadedModel) -> None:
        self._session, self._model = session, model

    def learnt(self, query: Query) -> Query:
        """The query after the feedback that it has; rejected identities and images are left out of its answer.

        The vector of a plain query moves. A composed one gets a further part: what was confirmed.
        """
        verdicts = judged(FeedbackRepository(self._session).of_query(query.id or ""))
        if not verdicts:
            return query
        parts = self._with_part(query.parts, verdicts) if query.composed else self._moved(query.parts, verdicts)
        scale = "; the scores are not calibrated then" if any(part.learnt for part in parts) else ""
        told = Warned(code="feedback_used", message=_counted(verdicts) + scale)
        return replace(
            query,
            parts=parts,
            definition={**query.definition, "feedback": _digestible(verdicts)},
            warnings=(*query.warnings, told),
            without_identities=query.without_identities | (verdicts.rejected - verdicts.confirmed),
            without_images=query.without_images | (verdicts.rejected_images - verdicts.confirmed_images),
        )

    def _moved(self, parts: tuple[Part, ...], verdicts: Judged) -> tuple[Part, ...]:
        (part,) = parts
        confirmed = self._rows(part.space, verdicts.confirmed, verdicts.confirmed_images)
        rejected = self._rows(part.space, verdicts.rejected, verdicts.rejected_images)
        moved = rocchio(part.vector, confirmed, rejected)
        # With rejections alone the query stays where it is, and its scores mean what they meant.
        return parts if np.allclose(moved, part.vector, atol=1e-6) else (replace(part, vector=moved, learnt=True),)

    def _with_part(self, parts: tuple[Part, ...], verdicts: Judged) -> tuple[Part, ...]:
        confirmed = self._rows("image", verdicts.confirmed, verdicts.confirmed_images)
        if not len(confirmed):
            return parts
        mean = confirmed.mean(axis=0, dtype=np.float64)
        length = float(np.linalg.norm(mean))
        vector = confirmed[0] if length < 1e-6 else (mean / length).astype(np.float32)
        return (*parts, Part(vector, "image", weight=CONFIRMED * sum(one.weight for one in parts if not one.negative)))

    def _rows(self, asked: Space, identities: frozenset[int], images: frozenset[int]) -> Vectors:
        """One vector for each verdict: of an image its own, of a person the mean of the images'."""
        owned = IdentityRepository(self._session).images_of(identities)
        groups = [own[-_IMAGES:] for own in owned.values()] + [[image] for image in images]
        spec = self._model.encoder.spec
        space = spec.stored(asked)
        dim = spec.spaces[space].dim
        found: dict[int, Any] = {}
        wanted = [image for group in groups for image in group]
        log = AssociationRepository(self._session)
        for ids, vectors in log.vectors(wanted, self._model.version_id, space, dim):
            found.update(zip(ids, vectors.astype(np.float32), strict=True))
        rows = [np.mean(own, axis=0) for group in groups if (own := [found[i] for i in group if i in found])]
        return np.array(rows, np.float32).reshape(len(rows), dim)


def _counted(verdicts: Judged) -> str:
    yes = len(verdicts.confirmed) + len(verdicts.confirmed_images)
    no = len(verdicts.rejected) + len(verdicts.rejected_images)
    return f"ranked with {yes:,} confirmed and {no:,} rejected candidates in mind"


def _digestible(verdicts: Judged) -> list[list[int]]:
    """What tells this feedback from any other, for cursors: a page of one ranking does not go on in another."""
    sets = (verdicts.confirmed, verdicts.rejected, verdicts.confirmed_images, verdicts.rejected_images)
    return [sorted(ids) for ids in sets]
