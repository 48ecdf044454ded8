"""The state of one application as metrics, read when somebody asks."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from app.core import Core
from app.database.tables import now
from app.jobs.kinds import KINDS
from app.jobs.names import names_in_use
from app.jobs.repository import State
from app.metrics.instruments import REQUEST_SECONDS, REQUESTS, STAGE_SECONDS
from app.metrics.repository import Counts, MetricsRepository
from app.metrics.together import Together
from app.registry.active import LoadedModel
from app.vectors.repository import HeadRow, LogRepository
from models.errors import DescryError

_log = logging.getLogger(__name__)
COUNTS_KEPT_S = 15.0
"""Seconds for which counts of the database are kept: a scrape must not cost what a search costs, however many ask."""
_ITEMS = ("waiting", "ingested", "duplicate", "rejected")


class Metrics:
    """What /metrics shows of a server: of one process, or of all on its port. Each replica has its own.

    Args:
        place: which of several processes this one is.
        name: what the processes of this server have in common; None where there is one, or each speaks for itself.
    """

    def __init__(self, core: Core, place: int = 0, name: str | None = None) -> None:
        self._registry, self._shared = CollectorRegistry(), CollectorRegistry()
        several = core.settings.processes > 1
        for known in (REQUESTS, REQUEST_SECONDS, STAGE_SECONDS, _State(core), ProcessCollector(registry=None)):
            self._registry.register(_Placed(known, str(place)) if several else known)
        self._shared.register(_Shared(core))
        self._together: Together | None = None
        if several and name is not None:
            self._together = Together(name, place, core.settings.processes, lambda: generate_latest(self._registry))

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        own = generate_latest(self._registry) if self._together is None else self._together.text()
        return own + generate_latest(self._shared)

    def close(self) -> None:
        """End what other processes are answered by."""
        if self._together is not None:
            self._together.close()


class _Placed(Collector):
    """The metrics of a collector with a label that says which of several processes on one port counted."""

    def __init__(self, collector: Collector, place: str) -> None:
        self._collector, self._place = collector, place

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for metric in self._collector.collect():
            placed = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            placed.samples = [one._replace(labels={**one.labels, "process": self._place}) for one in metric.samples]
            yield placed


def _asked(ask: Callable[[], Any]) -> Any:  # noqa: ANN401  what `ask` returns
    """What the database says, or None: metrics must be had most of all when it is away."""
    try:
        return ask()
    except (DescryError, SQLAlchemyError) as error:
        _log.warning("metrics without the database: %s", type(error).__name__)
        return None


class _Shared(Collector):
    """What database and machine say, whichever process is asked."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = threading.Lock()
        self._counts: tuple[float, Counts] | None = None

    def describe(self) -> list[Metric]:
        return []  # or registering would read the database

    def collect(self) -> Iterator[Metric]:
        if (counts := _asked(self._counted)) is not None:
            yield from _jobs(counts)
        here = len(names_in_use(self._core.settings.workers_dir))
        yield _gauge("descry_workers_here", "Workers of this data folder that run on this machine.", here)

    def _counted(self) -> Counts:
        with self._lock:
            if self._counts is None or time.monotonic() - self._counts[0] > COUNTS_KEPT_S:
                with self._core.database.read() as session:
                    self._counts = time.monotonic(), MetricsRepository(session).counts()
            return self._counts[1]


class _State(Collector):
    """What is so in this process."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def describe(self) -> list[Metric]:
        return []  # or registering would read the database

    def collect(self) -> Iterator[Metric]:
        loaded = self._core.active.loaded
        head = _asked(self._head)
        yield _gauge("descry_database_up", "Whether the database answered this scrape.", float(head is not None))
        if head is not None:
            yield _gauge("descry_log_head", "Last sequence number of the log.", head.sequence)
            yield _gauge("descry_active_model_version", "Version that the database names.", head.active_version_id or 0)
        yield _gauge("descry_loaded_model_version", "Version that answers here.", loaded.version_id if loaded else 0)
        if loaded is not None:
            yield from _index(loaded, head)
            yield from _encoder(loaded)

    def _head(self) -> HeadRow:
        with self._core.database.read() as session:
            return LogRepository(session).head()


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _jobs(counts: Counts) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("descry_jobs", "Jobs that the database knows.", labels=("kind", "state"))
    items = GaugeMetricFamily("descry_job_items", "Items of jobs that list some.", labels=("kind", "status"))
    for kind, about in KINDS.items():
        for state in get_args(State):
            jobs.add_metric((kind, state), counts.jobs.get((kind, state), 0))
        if about.listed:
            known = {status for of, status in counts.items if of == kind} | (set(_ITEMS) if kind == "ingest" else set())
            for status in sorted(known):
                items.add_metric((kind, status), counts.items.get((kind, status), 0))
    yield jobs
    yield items
    yield _gauge("descry_workers_busy", "Workers that have a running job, wherever they are.", counts.workers)
    silent = 0.0 if counts.oldest_beat is None else max(0.0, (now() - counts.oldest_beat).total_seconds())
    yield _gauge("descry_job_heartbeat_age_seconds", "Oldest sign of life for a running job; 0: none runs.", silent)


def _index(loaded: LoadedModel, head: HeadRow | None) -> Iterator[Metric]:
    size = GaugeMetricFamily("descry_index_vectors", "Vectors that searches see.", labels=("space",))
    applied = GaugeMetricFamily("descry_index_applied", "Last sequence number that is applied.", labels=("space",))
    exact = GaugeMetricFamily("descry_index_exact", "1: every search is exact; 0: by a shortlist.", labels=("space",))
    lag = GaugeMetricFamily("descry_index_lag", "Entries of the log that an index lacks.", labels=("space",))
    for space, view in loaded.views.items():
        size.add_metric((space,), view.count)
        applied.add_metric((space,), view.sequence)
        exact.add_metric((space,), float(view.exact))
        if head is not None:
            lag.add_metric((space,), max(0, head.sequence - view.sequence))
    yield size
    yield applied
    yield exact
    yield lag


def _encoder(loaded: LoadedModel) -> Iterator[Metric]:
    stats = loaded.encoder.stats
    waiting = GaugeMetricFamily("descry_encoder_waiting", "Items in the queues now.", labels=("queue",))
    items = CounterMetricFamily("descry_encoder_items", "What became of queued items.", labels=("queue", "outcome"))
    passes = CounterMetricFamily("descry_encoder_passes", "Passes over batches.", labels=("queue",))
    given_up = CounterMetricFamily("descry_encoder_stalls", "Threads that were given up.", labels=("queue",))
    for queue, length in loaded.encoder.waiting.items():
        waiting.add_metric((queue,), length)
        for outcome in ("answered", "failed", "refused", "cancelled", "late"):
            items.add_metric((queue, outcome), stats[queue][outcome])
        passes.add_metric((queue,), stats[queue]["passes"])
        given_up.add_metric((queue,), stats[queue]["abandoned"])
    asked = CounterMetricFamily("descry_text_cache_lookups", "Texts that were looked up.", labels=("result",))
    asked.add_metric(("hit",), stats["cache"]["hits"])
    asked.add_metric(("miss",), stats["cache"]["misses"])
    yield waiting
    yield items
    yield passes
    yield given_up
    yield asked
    yield _gauge("descry_text_cache_bytes", "Memory of the cache of texts.", stats["cache"]["bytes"])
    yield _gauge(
        "descry_encoder_up", "0: a pass hangs, and queries are refused.", float(loaded.encoder.trouble is None)
    )
