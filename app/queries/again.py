"""A query asked once more, with the version that answers now, and with what was learnt from feedback."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from app.association.repository import AssociationRepository
from app.core import Core
from app.database.sessions import Database
from app.database.tables import Query as QueryRow
from app.embedding.service import TextEmbedding
from app.errors import QueryOutdatedError
from app.identities.repository import IdentityRepository
from app.queries.definition import OPTIONS, all_texts, fingerprints, unpacked
from app.queries.feedback import Judged, judged
from app.queries.relevance import Vectors, rocchio
from app.queries.repository import FeedbackRepository
from app.queries.schemas import SearchAgain
from app.registry.active import LoadedModel
from app.search.query import Part, Query
from app.search.schemas import SearchAnswer, SearchOptions, Warned
from app.search.service import SearchService, text_warnings

_IMAGES = 100
"""Most images by which a person who was judged is known: the newest."""


def options_of(row: QueryRow, asked: SearchAgain) -> SearchOptions:
    """The options of a query, with those that are wanted otherwise now."""
    stored = {name: value for name, value in row.definition.items() if name in OPTIONS}
    wanted = asked.model_dump(include={"limit", "images_per_identity", "cursor"}, exclude_none=True)
    return SearchOptions.model_validate({**stored, **wanted})


def encoded_again(model: LoadedModel, row: QueryRow, words: Mapping[str, TextEmbedding]) -> Query:
    """The query for a model version.

    Args:
        words: its texts, encoded by that version.

    Raises:
        QueryOutdatedError: it has an uploaded picture, of which only another version's vector is known.
    """
    content = {name: value for name, value in row.definition.items() if name not in OPTIONS}
    uploaded = unpacked(row.definition, row.vectors)
    if fingerprints(row.definition) and (row.model_version_id != model.version_id or not uploaded):
        raise QueryOutdatedError(
            "the query has a picture, which is not kept; its vector was erased, or belongs to a model version that "
            "does not answer any more. Search with the picture again"
        )
    if "query" in content:
        told = words[content["query"]]
        return Query((Part(told.vector, "text"),), content, tuple(text_warnings(told)), row.id)
    (vector,) = uploaded.values()
    return Query((Part(vector, "image"),), content, (), row.id, uploaded)


def asked_again(
    database: Database, model: LoadedModel, row: QueryRow, words: Mapping[str, TextEmbedding], *, learn: bool
) -> Query:
    """`encoded_again`, and if that is wished moved by the feedback."""
    query = encoded_again(model, row, words)
    if not learn:
        return query
    with database.read() as session:
        return Learning(session, model).learnt(query, row.id)


def answer_again(core: Core, row: QueryRow, asked: SearchAgain) -> SearchAnswer:
    """A page of the answer to a query, without HTTP. The active version must be loaded.

    Raises:
        QueryOutdatedError: see `encoded_again`. And what `SearchService.answer` raises.
    """
    started, model = time.perf_counter(), core.active.current()
    words = {text: model.encoder.submit_text(text).result() for text in all_texts(row.definition)}
    query = asked_again(core.database, model, row, words, learn=asked.use_feedback)
    return SearchService(core.database, model).answer(query, options_of(row, asked), started=started)


class Learning:
    """Moves a query by the verdicts on its candidates."""

    def __init__(self, session: Session, model: LoadedModel) -> None:
        self._session, self._model = session, model

    def learnt(self, query: Query, query_id: str) -> Query:
        """The query after the feedback that it has; rejected identities and images are left out of its answer."""
        verdicts = judged(FeedbackRepository(self._session).of_query(query_id))
        if not verdicts:
            return query
        parts = tuple(self._moved(part, verdicts) for part in query.parts)
        scale = "; the scores are not calibrated then" if any(part.learnt for part in parts) else ""
        told = Warned(code="feedback_used", message=_counted(verdicts) + scale)
        return replace(
            query,
            parts=parts,
            definition={**query.definition, "feedback": _digestible(verdicts)},
            warnings=(*query.warnings, told),
            without_identities=verdicts.rejected - verdicts.confirmed,
            without_images=verdicts.rejected_images - verdicts.confirmed_images,
        )

    def _moved(self, part: Part, verdicts: Judged) -> Part:
        if part.negative:
            return part
        confirmed = self._rows(part, verdicts.confirmed, verdicts.confirmed_images)
        rejected = self._rows(part, verdicts.rejected, verdicts.rejected_images)
        moved = rocchio(part.vector, confirmed, rejected)
        # With rejections alone the query stays where it is, and its scores mean what they meant.
        return replace(part, vector=moved, learnt=True) if not np.allclose(moved, part.vector, atol=1e-6) else part

    def _rows(self, part: Part, identities: frozenset[int], images: frozenset[int]) -> Vectors:
        """One vector for each verdict: of an image its own, of a person the mean of the images'."""
        owned = IdentityRepository(self._session).images_of(identities)
        groups = [own[-_IMAGES:] for own in owned.values()] + [[image] for image in images]
        spec = self._model.encoder.spec
        space = spec.stored(part.space)
        found: dict[int, Any] = {}
        wanted = [image for group in groups for image in group]
        log = AssociationRepository(self._session)
        for ids, vectors in log.vectors(wanted, self._model.version_id, space, spec.spaces[space].dim):
            found.update(zip(ids, vectors.astype(np.float32), strict=True))
        rows = [np.mean(own, axis=0) for group in groups if (own := [found[i] for i in group if i in found])]
        return np.array(rows, np.float32).reshape(len(rows), len(part.vector))


def _counted(verdicts: Judged) -> str:
    yes = len(verdicts.confirmed) + len(verdicts.confirmed_images)
    no = len(verdicts.rejected) + len(verdicts.rejected_images)
    return f"ranked with {yes:,} confirmed and {no:,} rejected candidates in mind"


def _digestible(verdicts: Judged) -> list[list[int]]:
    """What tells this feedback from any other, for cursors: a page of one ranking does not go on in another."""
    sets = (verdicts.confirmed, verdicts.rejected, verdicts.confirmed_images, verdicts.rejected_images)
    return [sorted(ids) for ids in sets]
