"""Filtered search in a gallery of 100,000 images x 512: from 0.01 % to 50 % of them, by each kind of condition."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.database.migrate import upgrade
from app.database.sessions import Database
from app.database.tables import Embedding, Identity, Image, ModelVersion
from app.identities.repository import IdentityRepository
from app.search import service
from app.search.filters import Filters
from app.search.repository import SearchRepository
from app.search.schemas import SearchOptions
from app.search.scope import Scope
from app.vectors.contract import Hits, Ids
from app.vectors.engines import FaissEngine
from app.vectors.repository import LogRepository
from app.vectors.snapshot import SnapshotKey
from app.vectors.view import VectorView
from benchmarks.figures import Figure, median

IMAGES, DIM, PER_PERSON = 100_000, 512, 4
SHARES = (0.0001, 0.01, 0.1, 0.5)
_ROUNDS, _PIECE = 9, 5_000
_START = datetime(2026, 1, 1, tzinfo=UTC)

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Order:
    """A query by one vector, without a model."""

    view: VectorView
    vector: Vectors

    def search(self, k: int) -> Hits:
        return self.view.search(self.vector, k)

    def among(self, ids: Ids, k: int) -> Hits:
        return self.view.among(self.vector, ids, k)

    def scores(self, ids: Ids) -> Hits:
        return self.view.scores(self.vector, ids)


def measure_filters(data_dir: Path, images: int = IMAGES) -> list[Figure]:
    """CPU milliseconds of search and fetch on SQLite, where all of it is in this process; medians over queries.

    Beside each: the same page without a filter. What that one is beside is the matrix product of query and gallery.
    """
    database, view, vectors = make_gallery(data_dir, images)
    try:
        queries = _queries(vectors)
        whole = cpu_ms(database, view, queries, None)
        found = [Figure(f"page of {images:,} images", whole, "ms", _product_ms(vectors, queries), "matrix product")]
        for kind, make in conditions(images).items():
            for share in SHARES if kind != "time of day" else SHARES[1:]:  # a minute is 0.07 % of a day
                spent = cpu_ms(database, view, queries, Filters.model_validate(make(share)))
                found.append(Figure(f"page of {share:.2%} of them, by {kind}", spent, "ms", whole, "without a filter"))
        return found
    finally:
        database.close()


def conditions(images: int) -> dict[str, Callable[[float], dict[str, Any]]]:
    """Filters that a share of the images meets, by kind of condition."""
    day = timedelta(days=1)

    def attribute(share: float) -> dict[str, Any]:
        return {"field": "place", "op": "range", "value": {"lt": round(images * share)}}

    def clock(share: float) -> dict[str, Any]:
        return {"time_of_day": {"from": "00:00", "to": f"{_START + day * share:%H:%M}", "timezone": "UTC"}}

    return {
        "camera": lambda share: {"cameras": [f"camera {share}"]},
        "image attribute": lambda share: {"image_attributes": [attribute(share)]},
        "identity attribute": lambda share: {"identity_attributes": [attribute(share)]},
        "time": lambda share: {"captured_at": {"to": (_START + 100 * day * share).isoformat()}},
        "time of day": clock,
    }


def make_gallery(data_dir: Path, images: int) -> tuple[Database, VectorView, Vectors]:
    """Rows and vectors of random people. What an image is filtered by has nothing to do with its id or its vector.


    Returns:
        The database, its view, and the vectors in the order of the image ids.
    """
    dice = np.random.default_rng(0)
    vectors = dice.standard_normal((images, DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places = dice.permutation(images)
    database = Database(f"sqlite:///{data_dir / 'filters.sqlite3'}")
    upgrade(database)
    with database.write() as session:
        version = session.scalars(
            insert(ModelVersion).returning(ModelVersion.id),
            [{"name": "random", "fingerprint": "0" * 64, "spec": {}, "folder": "none", "standing": "registered"}],
        ).one()
        for start in range(0, images, _PIECE):
            _insert(session, version, places[start : start + _PIECE], vectors, start, images)
        with_head = LogRepository(session).head()
    key = SnapshotKey(with_head.history, "0" * 64, "text", DIM)
    view = VectorView(database, version, key, FaissEngine(data_dir / "index").storage(version, key))
    view.open()
    return database, view, vectors


def _insert(
    session: Session, version: int, places: NDArray[np.int64], vectors: Vectors, start: int, images: int
) -> None:
    people = range(start // PER_PERSON + 1, (start + len(places)) // PER_PERSON + 1)
    session.execute(
        insert(Identity),
        [
            {
                "id": person,
                "attributes": {"place": int(places[(person - 1) * PER_PERSON - start]), "hair": "brown"},
                "provisional": person % 2 == 0,
            }
            for person in people
        ],
    )
    rows = []
    for offset, place in enumerate(places.tolist()):
        number = start + offset + 1
        rows.append(
            {
                "id": number,
                "identity_id": (number - 1) // PER_PERSON + 1,
                "collection_id": 1,
                "sha256": f"{number:064x}",
                "width": 128,
                "height": 256,
                "camera": _camera(place / images),
                "captured_at": _START + timedelta(days=100) * (place / images),
                "description": "a person in a dark coat and blue jeans, carrying a bag over the left shoulder",
                "attributes": {"ticket": f"A-{number}", "place": place, "colours": ["blue", "black"], "vip": False},
                "store_name": f"{number:08d}",
            }
        )
    session.execute(insert(Image), rows)
    first = LogRepository(session).reserve(len(rows))
    session.execute(
        insert(Embedding),
        [
            {
                "sequence": first + offset,
                "image_id": start + offset + 1,
                "model_version_id": version,
                "space": "text",
                "vector": vectors[start + offset].astype("<f2").tobytes(),
            }
            for offset in range(len(rows))
        ],
    )


def _camera(place: float) -> str:
    """Cameras that took the shares of `SHARES`, one after the other, and one for the rest."""
    for share in SHARES:
        if place < share:
            return f"camera {share}"
        place -= share
    return "elsewhere"


def _queries(vectors: Vectors) -> list[Vectors]:
    """Vectors near some of the gallery."""
    dice = np.random.default_rng(1)
    found = vectors[dice.integers(0, len(vectors), _ROUNDS)] + 0.02 * dice.standard_normal((_ROUNDS, DIM))
    return [np.asarray(query / np.linalg.norm(query), np.float32) for query in found]


def cpu_ms(database: Database, view: VectorView, queries: list[Vectors], wanted: Filters | None) -> float:
    """Median CPU time of a page of ten, from the scope to the rows of the page."""
    options, times = SearchOptions(filters=wanted), []
    scope = Scope(filters=wanted)
    for query in [queries[0], *queries]:
        began = time.process_time()
        with database.read() as session:
            images = SearchRepository(session, scope)
            entries = service._find(_Order(view, query), images, scope, options, frozenset())[: options.limit]
            IdentityRepository(session).page([image for entry in entries for image, _ in entry.images])
        times.append((time.process_time() - began) * 1000)
    return median(times[1:])


def _product_ms(vectors: Vectors, queries: list[Vectors]) -> float:
    times = []
    for query in [queries[0], *queries]:
        began = time.process_time()
        scores = vectors @ query
        np.argpartition(scores, -min(40, len(scores)))
        times.append((time.process_time() - began) * 1000)
    return median(times[1:])
