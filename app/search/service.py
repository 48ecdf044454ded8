"""The query path after encoding: catch up with the log, search, group by identity, fetch the page."""

import time
from collections.abc import Callable, Iterable

import numpy as np
from sqlalchemy.orm import Session

from app.audit.note import noted
from app.collections.service import CollectionService
from app.database.sessions import Database
from app.errors import ModelNotLoadedError
from app.gallery.repository import ImageRepository
from app.queries.ids import new_id
from app.registry.active import LoadedModel
from app.search.cursor import MOST_SHOWN, Cursor
from app.search.grouping import Owners, RankedIdentity, best_identities, best_images, rank_identities
from app.search.protected import check_protected
from app.search.purpose import asked_with
from app.search.query import Query
from app.search.ranking import Order, Ranking, ranking_of
from app.search.repository import SearchRepository
from app.search.schemas import ModelRef, SearchAnswer, SearchOptions, Took, Warned
from app.search.scope import Scope
from app.search.standing import PEOPLE, Standing, standing_of
from app.search.written import AnswerParts, WrittenAnswer, write_answer
from app.settings import PROTECTED_ATTRIBUTES
from app.vectors.contract import Hits
from app.vectors.repository import LogRepository

SUBSET = 2_000
"""Up to that many images of a narrow scope are searched alone; of more, the ranking of all images is followed.

Of 100,000 images x 512, milliseconds of one core for a page (`benchmarks/filters.py`): of 1,000 that a camera took 20
alone, 53 in the ranking; of 10,000 37 and 18; of 50,000 67 and 10. Of 10, the ranking takes 1,356.
"""


class SupersededError(Exception):
    """Another version answers by now, and it is in memory: ask that one."""


class SearchService:
    """Searches with one loaded model version.

    Args:
        ready: whether a version that the database names instead could answer now. Then this one does not: what was
            rolled back must not answer any more. Else it does as long as it has every image: those that came since the
            switch are encoded for the other one alone.
        protected: attributes by which nobody may search.
    """

    def __init__(
        self,
        database: Database,
        model: LoadedModel,
        ready: Callable[[int], bool] = lambda version_id: False,
        protected: Iterable[str] = PROTECTED_ATTRIBUTES,
    ) -> None:
        self._database, self._model, self._ready, self._protected = database, model, ready, protected

    def answer(self, query: Query, options: SearchOptions, *, started: float) -> SearchAnswer:
        """`written`, read again."""
        return self.written(query, options, started=started).read()

    def written(self, query: Query, options: SearchOptions, *, started: float) -> WrittenAnswer:
        """One page of the answer to an encoded query.

        Args:
            query: encoded with this version.
            started: `time.perf_counter()` when the query arrived; encoding ended now.

        Raises:
            AttributeProtectedError: a filter names a protected attribute.
            CollectionNotFoundError: no collection has the name.
            CursorInvalidError, CursorMismatchError: the cursor is no cursor, or of another question.
            SupersededError: another version answers by now.
            ModelNotLoadedError: it does, is not in memory, and there are images that this one lacks.
        """
        noted(**query.definition, **asked_with(options))
        found = self._page(query, options, started)
        noted(
            identities=found.identities,
            images=found.images,
            facts={"version": found.version_id, "query_id": found.query_id},
        )
        return found

    def _page(self, query: Query, options: SearchOptions, started: float) -> WrittenAnswer:
        encoded = time.perf_counter()
        check_protected(options.filters, self._protected)
        digest = query.digest(options)
        cursor = None if options.cursor is None else Cursor.read(options.cursor, digest)
        ranking = ranking_of(self._model, query)
        with self._database.read() as session:
            head = LogRepository(session).head()
            within = None if options.collection is None else CollectionService(session).find(options.collection)
            self._check_complete(session, head.active_version_id)
            noted(facts={"collection": within})
            # What another process wrote before this query came in is part of the answer. What the index learns beyond
            # the state of this session is not in its rows, and so left out; what it has forgotten is not found.
            ranking.catch_up(head.sequence)
            last = None if cursor is None else cursor.newest
            scope = Scope(within, options.filters, last, query.without_images, query.without_identities)
            images = SearchRepository(session, scope)
            shown = frozenset[int]() if cursor is None else cursor.shown
            found = _find(ranking, images, scope, options, shown)
            page = found[: options.limit]
            newest = images.newest() if cursor is None else cursor.newest
            standing = self._standing(query, ranking, images, scope, options, None if shown else found)
            searched = time.perf_counter()
            rows = images.page(image for entry in page for image, _ in entry.images)
            told = ranking.explained(np.array([entry.images[0][0] for entry in page], np.int64))
        fetched = time.perf_counter()
        query_id = query.id or (new_id() if cursor is None else cursor.query_id)
        place = Cursor(digest, self._model.version_id, newest, shown | _ids(page, options), query_id)
        more = len(found) > len(page)
        parts = AnswerParts(
            query_id=query_id,
            model=ModelRef(id=self._model.version_id, name=self._model.name),
            options=options,
            next_cursor=place.token() if more and len(place.shown) < MOST_SHOWN else None,
            warnings=[*query.warnings, *_told(query, options, cursor, place, empty=not page, more=more)],
            took=_took(started, encoded, searched, fetched),
        )
        return write_answer(parts, page, rows, told, ranking, standing)

    def _check_complete(self, session: Session, active: int | None) -> None:
        """Let the version of this service answer although another one is active, or say why not."""
        if active is None or active == self._model.version_id:
            return
        if self._ready(active):
            raise SupersededError
        log, images = LogRepository(session), ImageRepository(session).count()
        if any(log.count(self._model.version_id, space) != images for space in self._model.views):
            raise ModelNotLoadedError(active)

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
        return standing_of(self._model, query, ranking, people)


def _find(
    order: Order, images: SearchRepository, scope: Scope, options: SearchOptions, shown: frozenset[int]
) -> list[RankedIdentity]:
    """The best entries that were not shown, and more than the page wants if there are; either way is complete."""
    limit = max(options.limit, PEOPLE) + 1
    search, owners, sparse = _walk(order, images, scope)
    if options.group_by == "image":
        return best_images(search, owners, limit, shown, sparse)
    found = best_identities(search, owners, limit, shown, sparse)
    return rank_identities(found, images.of_identities(found), order.scores, options.images_per_identity)


def _walk(order: Order, images: SearchRepository, scope: Scope) -> tuple[Callable[[int], Hits], Owners, float]:
    """How the best images of a scope are found: among them alone where they are few, else in the ranking of all.

    Returns:
        The best k, whose they are (those outside the scope left out), and one in how many of them lies in the scope.
    """
    if not scope.narrow:
        return order.search, images.identity_of, 1.0
    subset = images.some(SUBSET + 1)
    if len(subset) > SUBSET:
        # Rows come roughly by id. If not, this only makes the first step longer or shorter.
        return order.search, images.identity_of, (max(subset) - min(subset) + 1) / len(subset)
    ids = np.fromiter(subset, np.int64, len(subset))
    return (lambda k: order.among(ids, k)), (lambda some: {image: subset[image] for image in some}), 1.0


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
    if options.filters:
        return Warned(code="nothing_matches", message="no image meets the filters")
    if options.collection is None:
        return Warned(code="gallery_empty", message="the gallery holds no images yet")
    return Warned(code="collection_empty", message=f"the collection “{options.collection.strip()}” holds no images yet")


def _took(started: float, encoded: float, searched: float, fetched: float) -> Took:
    return Took(
        encode=_ms(encoded - started),
        search=_ms(searched - encoded),
        fetch=_ms(fetched - searched),
        total=_ms(fetched - started),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
