"""Two checkpoints on the same queries: R@1 and mAP of each, and the difference with a bootstrap interval.

The difference is paired: both answer every query. What is drawn again in the bootstrap are identities with all of their
queries, for the descriptions of one person stand and fall together; drawing queries would make intervals too narrow
(Field and Welsh 2007, the cluster bootstrap).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.checkpoint import load_checkpoint
from training.datasets import read_dataset
from training.datasets.images import ImageSource
from training.errors import DatasetError
from training.evaluation import Embedded, Integers, average_precision_of, embed_split, relevant_ranks
from training.records import PersonData, Record, Split

Floats = npt.NDArray[np.float64]
METRICS = ("R@1", "mAP")
_DRAWS_AT_ONCE = 1 << 22  # weights in memory: draws x identities
_MOST_GROUPS = 100


@dataclass(frozen=True, slots=True)
class Demands:
    """What a group of queries must have to be judged, and how intervals are taken.

    Attributes:
        queries, identities: least numbers for a subgroup of its own.
        confidence: of an interval, in (0, 1). Those of the G subgroups of a split have 1 - (1 - confidence) / G, so
            that all of them together are as sure as one.
        draws: bootstrap samples.
        seed: of their random numbers.
    """

    queries: int = 50
    identities: int = 10
    confidence: float = 0.95
    draws: int = 2000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answers:
    """One checkpoint's result on each query, in percent: (Q,) 0 or 100, and (Q,) average precision."""

    hits: Floats
    precision: Floats

    def of(self, metric: str) -> Floats:
        """The values of a metric, query by query."""
        return self.hits if metric == "R@1" else self.precision


def answers(embedded: Embedded) -> tuple[Integers, Answers]:
    """The queries that have a relevant image, ascending, and how each was answered.

    Raises:
        NothingRelevantError: there is none.
    """
    ranks = relevant_ranks(embedded.text_scores(), embedded.query_ids, embedded.gallery_ids)
    hits = np.array([100.0 * (found[0] == 1) for found in ranks.values()])
    precision = np.array([100.0 * average_precision_of(found) for found in ranks.values()])
    return np.array(list(ranks), np.int64), Answers(hits, precision)


def bootstrap_difference(
    difference: Floats, clusters: Integers, *, confidence: float, draws: int, seed: int
) -> tuple[float, float]:
    """Percentile interval of the mean of (Q,) paired differences, drawing whole clusters (Q,) with replacement.

    Raises:
        ValueError: no query, or a confidence outside (0, 1).
    """
    if not len(difference) or not 0 < confidence < 1:
        raise ValueError("an interval needs queries, and a confidence in (0, 1)")
    _, which = np.unique(clusters, return_inverse=True)
    sums, counts = np.bincount(which, weights=difference), np.bincount(which).astype(np.float64)
    size, rng = len(counts), np.random.default_rng(seed)
    means: list[Floats] = []
    left = draws
    while left:
        now = min(left, max(1, _DRAWS_AT_ONCE // size))
        weights = rng.multinomial(size, np.full(size, 1 / size), size=now)
        means.append((weights @ sums) / (weights @ counts))
        left -= now
    edges = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(edges[0]), float(edges[1])


def compare_split(
    candidate: Path,
    active: Path,
    data: PersonData,
    split: Split,
    demands: Demands,
    *,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Figures of both checkpoints on a split, JSON-ready: of the whole and of each subgroup that is large enough.

    Raises:
        DatasetError: the split has no descriptions.
        NothingRelevantError: no description has a relevant image.
        CheckpointError: a checkpoint cannot be loaded.
    """
    records = data.splits[split]
    if not any(record.descriptions for record in records):
        raise DatasetError(f"{data.name} has no descriptions in its {split} split: nothing to compare on")
    found: list[Answers] = []
    for place, folder in enumerate((candidate, active)):
        encoder = load_checkpoint(folder, device=device)
        source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
        tell = _shifted(progress, place * len(records), 2 * len(records))
        try:
            embedded = embed_split(encoder, records, source, progress=tell)
        finally:
            source.close()
        queries, one = answers(embedded)
        found.append(one)
    described = [records[int(embedded.described[query])] for query in queries]
    identities = np.array([record.identity for record in described], np.int64)
    return {
        "data": data.name,
        "split": split,
        "images": len(records),
        **figures(found[0], found[1], identities, demands, demands.confidence),
        "groups": _groups(found[0], found[1], described, identities, demands),
    }


def figures(candidate: Answers, active: Answers, identities: Integers, demands: Demands, sure: float) -> dict[str, Any]:
    """Each metric of both, their difference (candidate - active, points) and its interval at confidence `sure`."""
    told: dict[str, Any] = {"queries": len(identities), "identities": len(np.unique(identities)), "confidence": sure}
    for metric in METRICS:
        new, old = candidate.of(metric), active.of(metric)
        low, high = bootstrap_difference(new - old, identities, confidence=sure, draws=demands.draws, seed=demands.seed)
        told[metric] = {
            "candidate": round(float(new.mean()), 3),
            "active": round(float(old.mean()), 3),
            "difference": round(float((new - old).mean()), 3),
            "low": round(low, 3),
            "high": round(high, 3),
        }
    return told


def _groups(
    candidate: Answers, active: Answers, described: Sequence[Record], identities: Integers, demands: Demands
) -> list[dict[str, Any]]:
    """By camera, collection and attribute; a group that is all queries is none, and says nothing new."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for query, record in enumerate(described):
        for name, value in (*((("camera", record.camera),) if record.camera else ()), *record.groups):
            members[name, value].append(query)
    large = {
        key: np.array(own)
        for key, own in sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))
        if demands.queries <= len(own) < len(described)
        and len(np.unique(identities[np.array(own)])) >= demands.identities
    }
    chosen = dict(list(large.items())[:_MOST_GROUPS])
    sure = 1 - (1 - demands.confidence) / max(1, len(chosen))
    return [
        {
            "name": name,
            "value": value,
            **figures(
                Answers(candidate.hits[own], candidate.precision[own]),
                Answers(active.hits[own], active.precision[own]),
                identities[own],
                demands,
                sure,
            ),
        }
        for (name, value), own in chosen.items()
    ]


def compare(
    candidate: Path,
    active: Path,
    sets: Sequence[tuple[str, Path, Split]],
    demands: Demands,
    *,
    device: str | torch.device = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """`compare_split` on each (format, folder, split), in order.

    Raises:
        DatasetError, CheckpointError: see `compare_split` and `read_dataset`.
    """
    told = []
    for format_name, root, split in sets:
        data = read_dataset(format_name, root)
        tell = None if progress is None else (lambda d, t, name=data.name: progress(name, d, t))
        told.append(compare_split(candidate, active, data, split, demands, device=device, progress=tell))
    return told


def _shifted(progress: Callable[[int, int], None] | None, done: int, total: int) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda now, _: progress(done + now, total)
