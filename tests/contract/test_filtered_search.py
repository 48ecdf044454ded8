"""Filtered search equals brute force: random galleries, filters, pages, ways of grouping and of searching, and inserts
between the pages; on either database, with each engine."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import delete

from app.core import Core
from app.database.tables import Identity, Image
from app.search import grouping, service
from app.search.filters import Filters
from app.search.query import Part, Query
from app.search.schemas import SearchAnswer, SearchOptions
from app.search.service import SearchService
from app.settings import Settings
from app.vectors.repository import LogRepository, NewEmbedding
from tests.app.toy import DIM
from tests.contract.filter_cases import Json, Person, Shot, filters, galleries, passes, people, shots
from tests.contract.milvus import need_milvus_lite
from tests.contract.test_filter_conditions import store

PHASES = (Phase.reuse, Phase.generate)
"""Without shrinking, which takes minutes where an example is a database."""
Vector = NDArray[np.float32]
Entry = tuple[int, tuple[tuple[int, float], ...]]


@pytest.fixture(params=["faiss", "milvus"])
def engine(request: pytest.FixtureRequest) -> str:
    """The engine of the settings, and so of `core`."""
    if request.param == "milvus":
        need_milvus_lite()
    return str(request.param)


@pytest.fixture
def settings(settings: Settings, engine: str) -> Settings:
    return settings.model_copy(update={"vector_engine": engine})


def unit(values: list[int]) -> NDArray[np.float16]:
    padded = np.array([2, *values] + [0] * (DIM - 1 - len(values)), np.float32)
    return np.asarray(padded / np.linalg.norm(padded), np.float16)


def index(core: Core, some: list[Shot]) -> None:
    """Insert images with their vectors."""
    store(core.database, some)
    with core.database.write() as session:
        LogRepository(session).add([NewEmbedding(shot.id, 1, "text", unit(shot.vector)) for shot in some])


def clear(core: Core) -> None:
    """Delete everything, as a log that goes on."""
    with core.database.write() as session:
        ids = [row.id for row in session.query(Image.id)]
        LogRepository(session).delete(ids)
        session.execute(delete(Image))
        session.execute(delete(Identity))


def ask(core: Core, vector: Vector, wanted: Json, **options: Any) -> SearchAnswer:  # noqa: ANN401  options
    asked = SearchOptions(filters=Filters.model_validate(wanted), **options)
    query = Query((Part(vector, "text"),), {"text": "x"})
    return SearchService(core.database, core.active.current()).answer(query, asked, started=time.perf_counter())


def entries(answer: SearchAnswer) -> list[Entry]:
    return [(one.identity.id, tuple((image.id, image.score) for image in one.images)) for one in answer.candidates]


def brute_force(some: list[Shot], vector: Vector, wanted: Json, group_by: str, per_identity: int) -> list[Entry]:
    """The whole answer."""
    matching = [shot for shot in some if passes(shot, wanted)]
    vectors = np.array([unit(shot.vector) for shot in matching], np.float64).reshape(-1, DIM)
    exact = {
        shot.id: float(score)
        for shot, score in zip(matching, (vectors * vector.astype(np.float64)).sum(1).astype(np.float32), strict=True)
    }
    owner = {shot.id: shot.person.id for shot in some}
    ranked = sorted(exact, key=lambda image: (-exact[image], image))
    if group_by == "image":
        return [(owner[image], ((image, _shown(exact[image])),)) for image in ranked]
    best: dict[int, list[tuple[int, float]]] = {}
    for image in ranked:
        best.setdefault(owner[image], []).append((image, _shown(exact[image])))
    return [(identity, tuple(images[:per_identity])) for identity, images in best.items()]


def _shown(score: float) -> float:
    return max(-1.0, min(1.0, score))


def walk(core: Core, vector: Vector, wanted: Json, between: Callable[[], None], **options: Any) -> list[Entry]:  # noqa: ANN401
    """Every page, one after the other; each but the last is full."""
    pages: list[list[Entry]] = []
    cursor = None
    while True:
        answer = ask(core, vector, wanted, cursor=cursor, **options)
        pages.append(entries(answer))
        if (cursor := answer.next_cursor) is None:
            assert [len(page) for page in pages[:-1]] == [options["limit"]] * (len(pages) - 1)
            assert pages[-1] or len(pages) == 1
            return [entry for page in pages for entry in page]
        assert len(pages) < 100, "the answer has no end"
        between()


@pytest.mark.parametrize("subset", [0, 3, 1000])  # the ranking is followed; either; the few are searched alone
def test_filtered_search_equals_brute_force(
    engine: str, core: Core, monkeypatch: pytest.MonkeyPatch, subset: int
) -> None:
    monkeypatch.setattr(service, "SUBSET", subset)
    monkeypatch.setattr(grouping, "_FIRST", 1)  # so that small galleries take several steps too

    # Milvus Lite takes its time, and its engine has searches of its own in test_vector_engines.
    @hypothesis_settings(
        max_examples=16 if engine == "faiss" else 3,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=PHASES,
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        clear(core)
        gallery = data.draw(galleries(most=30))
        index(core, gallery)
        vector = unit(data.draw(st.lists(st.integers(-1, 1), min_size=4, max_size=4))).astype(np.float32)
        old = [shot.person for shot in gallery]
        new = st.lists(shots(st.sampled_from(old) | people if old else people, 4), max_size=3)
        for _ in range(4):
            wanted = data.draw(filters({person.id for person in old}))
            group_by, per_identity = data.draw(st.sampled_from(["identity", "image"])), data.draw(st.integers(1, 3))
            limit = data.draw(st.integers(1, 12))
            expected = brute_force(gallery, vector, wanted, group_by, per_identity)
            more: list[Shot] = []

            def insert(more: list[Shot] = more) -> None:
                some = data.draw(new)
                index(core, some)
                more += some

            options = {"limit": limit, "group_by": group_by, "images_per_identity": per_identity}
            assert walk(core, vector, wanted, insert, **options) == expected, (wanted, options)
            gallery = [*gallery, *more]

    check()


def test_every_selectivity(engine: str, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 1 in 10,000 to all (Milvus Lite: 1,000), on rankings that begin with what does not match, or does."""
    count, dice = 10_000 if engine == "faiss" else 1_000, np.random.default_rng(7)
    values = dice.integers(-1, 2, (count, 5))
    crowd = [Person({"row": row}, bool(row % 2)) for row in range(count // 4)]
    order = dice.permutation(count)
    gallery = [
        Shot(crowd[row // 4], "door" if row % 10 else "roof", None, None, {"n": int(order[row])}, values[row].tolist())
        for row in range(count)
    ]
    index(core, gallery)
    core.active.current().view("text").maintain()
    vector = unit([1, -1, 0, 1, 1]).astype(np.float32)
    scores = np.array([unit(shot.vector) for shot in gallery]).astype(np.float32) @ vector
    worst = sorted({gallery[row].person.id for row in np.argsort(scores)[:200]})
    cases: list[Json] = [
        {"image_attributes": [{"field": "n", "op": "range", "value": {"lt": number}}]}
        for number in (0, 1, 10, 100, 1000, 5000, count)
    ]
    cases += [{"cameras": ["roof"]}, {"provisional": True, "cameras": ["roof"]}, {"identities": worst[:100]}]
    cases.append({"identity_attributes": [{"field": "row", "op": "range", "value": {"gte": 100, "lt": 101}}]})
    usual = service.SUBSET
    for wanted in cases:
        for group_by in ("identity", "image"):
            expected = brute_force(gallery, vector, wanted, group_by, 4)[:20]
            for subset in (usual, 0):
                monkeypatch.setattr(service, "SUBSET", subset)
                found = entries(ask(core, vector, wanted, limit=20, group_by=group_by, images_per_identity=4))
                assert found == expected, (wanted, group_by, subset)
