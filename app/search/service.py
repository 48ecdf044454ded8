"""The query path after encoding: catch up with the log, search, group by identity, fetch the page."""

import time
import uuid
from collections.abc import Callable

import numpy as np

from app.collections.service import CollectionService
from app.database.sessions import Database
from app.database.tables import Identity, Image
from app.errors import QueryEmptyError, QueryTooLongError
from app.identities.repository import IdentityRepository
from app.identities.schemas import IdentityOut, image_fields
from app.registry.active import LoadedModel
from app.search.cursor import MOST_SHOWN, Cursor
from app.search.grouping import (
    RankedIdentity,
    all_identities,
    all_images,
    best_identities,
    best_images,
    rank_identities,
)
from app.search.query import Query
from app.search.ranking import Ranking, ranking_of
from app.search.repository import SearchRepository
from app.search.schemas import Candidate, ModelRef, PartScore, ScoredImage, SearchAnswer, SearchOptions, Took, Warned
from app.search.scope import Scope
from app.search.standing import PEOPLE, Standing, standing_of
from app.vectors.repository import LogRepository

SUBSET = 2_000
"""Up to that many images of a narrow scope are scored one by one; more are filtered out of the ranking of all.

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

    def answer(self, query: Query, options: SearchOptions, *, started: float) -> SearchAnswer:
        """One page of the answer to an encoded query.

        Args:
            query: encoded with this version.
            started: `time.perf_counter()` when the query arrived; encoding ended now.

        Raises:
            CollectionNotFoundError: no collection has the name.
            CursorInvalidError, CursorMismatchError: the cursor is no cursor, or of another question.
            SupersededError: another version answers by now.
        """
        encoded = time.perf_counter()
        digest = query.digest(options)
        cursor = None if options.cursor is None else Cursor.read(options.cursor, digest)
        ranking = ranking_of(self._model, query)
        with self._database.read() as session:
            head = LogRepository(session).head()
            within = None if options.collection is None else CollectionService(session).find(options.collection)
        active = head.active_version_id
        if active is not None and active != self._model.version_id and self._ready(active):
            raise SupersededError
        # What another process wrote before this query came in is part of the answer.
        ranking.catch_up(head.sequence)
        with self._database.read() as session:
            scope = _scope(query, options, within, cursor)
            images = SearchRepository(session, scope)
            shown = frozenset[int]() if cursor is None else cursor.shown
            found = _find(ranking, images, scope, options, shown)
            page = found[: options.limit]
            newest = images.newest() if cursor is None else cursor.newest
            standing = self._standing(query, ranking, images, scope, options, None if shown else found)
            searched = time.perf_counter()
            candidates = _candidates(IdentityRepository(session), page, standing)
        fetched = time.perf_counter()
        place = Cursor(digest, self._model.version_id, newest, shown | _ids(page, options))
        more = len(found) > len(page)
        return SearchAnswer(
            query_id=uuid.uuid4().hex,
            model_version=ModelRef(id=self._model.version_id, name=self._model.name),
            group_by=options.group_by,
            candidates=candidates,
            calibrated=ranking.calibrated,
            weak_below=ranking.weak_below,
            no_good_match=standing.no_good_match,
            next_cursor=place.token() if more and len(place.shown) < MOST_SHOWN else None,
            warnings=[*query.warnings, *_told(query, options, cursor, place, empty=not candidates, more=more)],
            took_ms=_took(started, encoded, searched, fetched),
        )

    def _standing(
        self,
        query: Query,
        ranking: Ranking,
        images: SearchRepository,
        scope: Scope,
        options: SearchOptions,
        found: list[RankedIdentity] | None,
    ) -> Standing:
        """The standing of the whole answer. `found` is its beginning, if this is the first page."""
        people = found
        if people is None or options.group_by == "image":
            one = options.model_copy(update={"group_by": "identity", "limit": PEOPLE, "images_per_identity": 1})
            people = _find(ranking, images, scope, one, frozenset())
        first = [entry.identity_id for entry in people[:1]]
        return standing_of(self._model, query, ranking, people, len(images.of_identities(first)))


def _scope(query: Query, options: SearchOptions, within: int | None, cursor: Cursor | None) -> Scope:
    return Scope(
        within,
        options.filters,
        None if cursor is None else cursor.newest,
        without_images=query.without_images,
        without_identities=query.without_identities,
    )


def _find(
    ranking: Ranking, images: SearchRepository, scope: Scope, options: SearchOptions, shown: frozenset[int]
) -> list[RankedIdentity]:
    """The best entries that were not shown, and more than the page wants if there are; either way is complete."""
    limit = max(options.limit, PEOPLE) + 1
    subset = images.some(SUBSET + 1) if scope.narrow else {}
    hits = None
    if scope.narrow and len(subset) <= SUBSET:
        hits = ranking.scores(np.fromiter(subset, np.int64, len(subset)))
    if options.group_by == "image":
        if hits is not None:
            return all_images(hits, subset, limit, shown)
        return best_images(ranking.search, images.identity_of, limit, shown)
    if hits is not None:
        found = all_identities(hits, subset, limit, shown)
    else:
        found = best_identities(ranking.search, images.identity_of, limit, shown)
    return rank_identities(found, images.of_identities(found), ranking.scores, options.images_per_identity)


def _ids(page: list[RankedIdentity], options: SearchOptions) -> frozenset[int]:
    return frozenset(entry.images[0][0] if options.group_by == "image" else entry.identity_id for entry in page)


def _told(
    query: Query, options: SearchOptions, cursor: Cursor | None, place: Cursor, *, empty: bool, more: bool
) -> list[Warned]:
    """What the asker should know about the page."""
    found = []
    if cursor is not None and cursor.version_id != place.version_id:
        found.append(
            Warned(code="version_changed", message="another model version ranks from this page on than before it")
        )
    if empty and cursor is None:
        found.append(_nothing(query, options))
    if more and len(place.shown) >= MOST_SHOWN:
        found.append(Warned(code="answer_ended", message=f"answers end after {MOST_SHOWN:,}; limit the search further"))
    return found


def _nothing(query: Query, options: SearchOptions) -> Warned:
    if query.without_images or query.without_identities:
        return Warned(code="nothing_matches", message="there is nothing but what the query itself consists of")
    if options.filters is not None:
        return Warned(code="nothing_matches", message="no image meets the filters")
    if options.collection is None:
        return Warned(code="gallery_empty", message="the gallery holds no images yet")
    return Warned(code="collection_empty", message=f"the collection “{options.collection.strip()}” holds no images yet")


def _candidates(identities: IdentityRepository, page: list[RankedIdentity], standing: Standing) -> list[Candidate]:
    rows = identities.page([image for entry in page for image, _ in entry.images])
    told = standing.ranking.explained(np.array([entry.images[0][0] for entry in page], np.int64))
    return [_candidate(entry, rows, standing, told.get(entry.images[0][0])) for entry in page]


def _candidate(
    ranked: RankedIdentity, rows: dict[int, tuple[Image, Identity]], standing: Standing, parts: list[PartScore] | None
) -> Candidate:
    shown = standing.ranking.shown
    return Candidate(
        identity=IdentityOut.of(rows[ranked.images[0][0]][1]),
        score=shown(ranked.score),
        confidence=standing.confidence(ranked.score),
        images=[ScoredImage(**image_fields(rows[image][0]), score=shown(score)) for image, score in ranked.images],
        parts=parts,
    )


def _took(started: float, encoded: float, searched: float, fetched: float) -> Took:
    return Took(
        encode=_ms(encoded - started),
        search=_ms(searched - encoded),
        fetch=_ms(fetched - searched),
        total=_ms(fetched - started),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
