"""Clients that search all the time, what they were answered, and whether each answer was of exactly one version."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import httpx
import numpy as np

from app.core import Core
from tests.end_to_end.violence.stack import Stack
from tests.waiting import LIMIT_S, until

CLIENTS = 16
SAME, OTHER = 1e-5, 1e-3
"""Scores of one version differ by less (rounding in batches), those of two versions somewhere by more."""


@dataclass
class Heard:
    """One answer: what was asked and when, by whom it was answered, and what it said."""

    query: str
    began: float
    server: str
    version: int
    scores: dict[int, float]


@dataclass
class Crowd:
    """Clients that search for as long as the block lasts, spread evenly over the replicas.

    Attributes:
        pause_s: between an answer and the next question of a client.
    """

    stack: Stack
    queries: Sequence[str]
    pause_s: float = 0.0
    heard: list[list[Heard]] = field(default_factory=lambda: [[] for _ in range(CLIENTS)])
    failures: list[str] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    """Images whose deletion was answered."""
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._search, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _search(self, number: int) -> None:
        server = self.stack.names[number % len(self.stack.names)]
        with httpx.Client(base_url=self.stack.url(server), timeout=LIMIT_S) as client:
            while not self._ended.is_set():
                query = self.queries[len(self.heard[number]) % len(self.queries)]
                gone, began = set(self.gone), time.monotonic()
                try:
                    response = client.post("/v1/search/text", json={"query": query, "limit": 20})
                    response.raise_for_status()
                    self.heard[number].append(heard := _heard(query, began, server, response.json()))
                    if found := gone & set(heard.scores):
                        self.failures.append(f"deleted, and in an answer: {found}")
                except (httpx.HTTPError, KeyError, ValueError) as error:
                    self.failures.append(f"{server}: {error!r}")
                    return
                self._ended.wait(self.pause_s)

    def follow(self, version: int, *, asked_after: float = 0.0) -> None:
        """Wait until every client was answered by a version, to a question after some moment of the monotonic clock."""

        def followed(last: Heard) -> bool:
            return last.version == version and last.began > asked_after

        until(
            lambda: bool(self.failures) or all(followed(heard[-1]) for heard in self.heard),
            f"every client has an answer of version {version}",
        )
        assert self.failures == []


def _heard(query: str, began: float, server: str, answer: dict[str, object]) -> Heard:
    images = [image for one in answer["candidates"] for image in one["images"]]  # type: ignore[attr-defined]
    version = int(answer["model_version"]["id"])  # type: ignore[index]
    return Heard(query, began, server, version, {image["id"]: image["score"] for image in images})


def check_scores(core: Core, crowd: Crowd, versions: Sequence[int]) -> None:
    """Every answer against the vectors of the version that it names, of which no two are alike."""
    tables = {version: _truth(core, version, crowd.queries) for version in versions}
    first, second = (tables[version] for version in versions[:2])
    assert max(abs(first[pair] - second[pair]) for pair in first) > OTHER
    for heard in crowd.heard:
        for one in heard:
            assert len(one.scores) >= 20, one
            for image, score in one.scores.items():
                if image not in crowd.gone:
                    assert abs(score - tables[one.version][one.query, image]) < SAME


def _truth(core: Core, version: int, queries: Sequence[str]) -> dict[tuple[str, int], float]:
    _, _, encoder = core.active.load_encoder(version)
    view = core.active.views(version)["text"]
    view.rebuild()
    table: dict[tuple[str, int], float] = {}
    for query in queries:
        vector = encoder.submit_text(query).result().vector
        hits = view.search(np.asarray(vector), view.count)
        table |= {(query, image): float(score) for image, score in zip(hits.ids.tolist(), hits.scores, strict=True)}
    encoder.close()
    return table
