"""The query path after encoding: catch up with the log, search, group by identity, fetch the page."""

import time
import uuid
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.collections.service import CollectionService
from app.database.sessions import Database
from app.database.tables import Identity, Image
from app.embedding.service import TextEmbedding
from app.errors import QueryEmptyError, QueryNotUnderstoodError, QueryTooLongError
from app.gallery.repository import ImageRepository
from app.identities.repository import IdentityRepository
from app.identities.schemas import IdentityOut, image_fields
from app.registry.active import LoadedModel
from app.search.grouping import RankedIdentity, all_identities, best_identities, rank_identities
from app.search.schemas import Candidate, ModelRef, ScoredImage, SearchAnswer, Took, Warned
from app.vectors.repository import LogRepository
from app.vectors.view import VectorView
from models.confidence import ConfidenceCurve
from models.encoder import Space

SUBSET = 2_000
"""Up to that many images of a collection are scored one by one; more are filtered out of the ranking of all.

Of 60,000 images x 512, two cores: scoring takes 1 ms for 100, 30 ms for 5,000, 98 ms for 20,000; following the ranking
takes 245 ms for 100, 14 ms for 5,000, 24 ms for 20,000.
"""


def check_query(text: str, max_chars: int) -> str:
    """The description, trimmed.

    Raises:
        QueryEmptyError, QueryTooLongError: nothing is left, or too much.
    """
    text = text.strip()
    if not text:
        raise QueryEmptyError("the description is empty; say what the person looks like")
    if len(text) > max_chars:
        raise QueryTooLongError(f"the description has {len(text):,} characters; at most {max_chars:,} are accepted")
    return text


def text_warnings(embedding: TextEmbedding) -> list[Warned]:
    """What the tokenizer made of a description.

    Raises:
        QueryNotUnderstoodError: the model knows no word of it.
    """
    if embedding.empty:
        words = f" (unknown: {', '.join(embedding.unknown[:10])})" if embedding.unknown else ""
        raise QueryNotUnderstoodError(
            f"the active model knows no word of this description{words}; describe clothes, colours, hair and what is "
            "carried, in English"
        )
    found: list[Warned] = []
    if embedding.unknown:
        found.append(Warned(code="unknown_words", message=f"not understood: {', '.join(embedding.unknown)}"))
    for typed, read in embedding.corrected:
        found.append(Warned(code="spelling_corrected", message=f"“{typed}” was read as “{read}”"))
    if embedding.truncated:
        found.append(Warned(code="query_truncated", message="the description is long; its end was not used"))
    return found


class SupersededError(Exception):
    """Another version answers by now, and it is in memory: ask that one."""


class SearchService:
    """Searches with one loaded model version.

    Args:
        ready: whether a version that the database names instead could answer now. Then this one does not: images that
            came since the switch are encoded for that one alone, and what was rolled back must not answer any more.
    """

    def __init__(
        self, database: Database, model: LoadedModel, ready: Callable[[int], bool] = lambda version_id: False
    ) -> None:
        self._database, self._model, self._ready = database, model, ready

    def answer(
        self,
        vector: NDArray[np.float32],
        space: Space,
        *,
        limit: int,
        images_per_identity: int,
        collection: str | None = None,
        warnings: list[Warned],
        started: float,
    ) -> SearchAnswer:
        """The answer to an encoded query.

        Args:
            vector: (dim,) unit-norm, in the given space.
            collection: name of the one to search; None searches all.
            started: `time.perf_counter()` when the query arrived; encoding ended now.

        Raises:
            CollectionNotFoundError: no collection has the name.
            SupersededError: another version answers by now.
        """
        encoded = time.perf_counter()
        view = self._model.view(space)
        with self._database.read() as session:
            head = LogRepository(session).head()
            within = None if collection is None else CollectionService(session).find(collection)
        active = head.active_version_id
        if active is not None and active != self._model.version_id and self._ready(active):
            raise SupersededError
        # What another process wrote before this query came in is part of the answer.
        view.catch_up(head.sequence)
        with self._database.read() as session:
            images = ImageRepository(session)
            found = _find(view, vector, images, within, limit)
            members = images.of_identities(found, within)
            ranked = rank_identities(found, members, lambda ids: view.scores(vector, ids), images_per_identity)
            searched = time.perf_counter()
            wanted = [image for identity in ranked for image, _ in identity.images]
            rows = IdentityRepository(session).page(wanted)
            curve = self._model.curves.get(space)
            candidates = [_candidate(identity, rows, curve) for identity in ranked]
        fetched = time.perf_counter()
        if not candidates:
            warnings = [*warnings, _nothing(collection)]
        return SearchAnswer(
            query_id=uuid.uuid4().hex,
            model_version=ModelRef(id=self._model.version_id, name=self._model.name),
            candidates=candidates,
            calibrated=curve is not None,
            weak_below=None if curve is None else curve.weak_below,
            next_cursor=None,
            warnings=warnings,
            took_ms=Took(
                encode=_ms(encoded - started),
                search=_ms(searched - encoded),
                fetch=_ms(fetched - searched),
                total=_ms(fetched - started),
            ),
        )


def _find(
    view: VectorView, vector: NDArray[np.float32], images: ImageRepository, within: int | None, limit: int
) -> list[int]:
    """The best identities, of all images or of those in a collection; both ways of doing that are complete."""
    if within is not None:
        subset = images.of_collection(within, SUBSET + 1)
        if len(subset) <= SUBSET:
            return all_identities(view.scores(vector, np.fromiter(subset, np.int64, len(subset))), subset, limit)
    return best_identities(lambda k: view.search(vector, k), lambda ids: images.identity_of(ids, within), limit)


def _nothing(collection: str | None) -> Warned:
    if collection is None:
        return Warned(code="gallery_empty", message="the gallery holds no images yet")
    return Warned(code="collection_empty", message=f"the collection “{collection.strip()}” holds no images yet")


def _candidate(
    ranked: RankedIdentity, rows: dict[int, tuple[Image, Identity]], curve: ConfidenceCurve | None
) -> Candidate:
    return Candidate(
        identity=IdentityOut.of(rows[ranked.images[0][0]][1]),
        score=_cosine(ranked.score),
        confidence=None if curve is None else round(curve(ranked.score), 4),
        images=[ScoredImage(**image_fields(rows[image][0]), score=_cosine(score)) for image, score in ranked.images],
    )


def _cosine(score: float) -> float:
    """Vectors are kept in half precision, so that their length, and with it a score, may be 1.000005."""
    return max(-1.0, min(1.0, score))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
