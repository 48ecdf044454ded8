"""What a checkpoint's scores mean, learnt on its validation split after training: when images are one person, and how
likely a candidate is right (`confidence.py`), and whether the person is there at all (`presence.py`).

The threshold and the linkage are those that maximise the F1 of pairs of images (a pair is right when both show the same
identity and are in one group). The tree of all merges is built once, and every threshold between two of its merges is
tried, so that the best one is found and not only the best of a grid.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models.association import MOST_DENSE, Floats, Ints, merges
from models.calibration import LINKAGES, AssociationRule, Linkage, write_section
from models.checkpoint import load_checkpoint
from training.calibration.confidence import fit_confidence
from training.calibration.presence import fit_presence
from training.datasets.images import ImageSource
from training.errors import DatasetError
from training.evaluation import embed_split
from training.records import PersonData, Record, Split


@dataclass(frozen=True, slots=True)
class PairScore:
    """Precision, recall and F1 over pairs of images, in [0, 1]. Without any pair in a group, precision is 1."""

    precision: float
    recall: float
    f1: float

    @classmethod
    def of(cls, right: int, grouped: int, true: int) -> "PairScore":
        """From the number of pairs that are right, that are in one group, and that are of one identity (above 0)."""
        # F1 as 2 right / (grouped + true), which is defined without any pair in a group.
        return cls(right / grouped if grouped else 1.0, right / true, 2 * right / (grouped + true))


def pair_score(labels: Sequence[int] | Ints, identities: Sequence[int] | Ints) -> PairScore:
    """Compare groups with the truth; both (N,).

    Raises:
        ValueError: no identity has two images, so that no pair is true.
    """
    groups, truth = np.asarray(labels), np.asarray(identities)
    true = _pairs(truth[:, None])
    if not true:
        raise ValueError("no identity has two images: there is nothing to find")
    return PairScore.of(_pairs(np.stack([groups, truth], axis=1)), _pairs(groups[:, None]), true)


def _pairs(keys: Ints) -> int:
    counts = np.unique(keys, axis=0, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def best_rule(vectors: Floats, identities: Ints) -> tuple[Linkage, float, PairScore]:
    """Linkage and threshold with the best F1 on (N, D) unit vectors with their identities (N,).

    The threshold lies halfway between the last merge that is wanted and the first one that is not. Equal F1: the
    stricter threshold, and the first of `LINKAGES`.

    Raises:
        ValueError: no identity has two images.
    """
    found = [(linkage, *_best_threshold(vectors, identities, linkage)) for linkage in LINKAGES]
    return max(found, key=lambda rule: rule[2].f1)


def _best_threshold(vectors: Floats, identities: Ints, linkage: Linkage) -> tuple[float, PairScore]:
    children, similarity = merges(vectors, linkage)
    true = _pairs(np.asarray(identities)[:, None])
    if not true:
        raise ValueError("no identity has two images: there is nothing to find")
    members = [Counter([identity]) for identity in identities.tolist()]
    right = grouped = 0
    best, best_at = PairScore.of(0, 0, true), -1
    for at, (one, other) in enumerate(children.tolist()):
        small, large = sorted((members[one], members[other]), key=len)
        right += sum(count * large[identity] for identity, count in small.items())
        grouped += small.total() * large.total()
        large.update(small)
        members.append(large)
        last = at + 1 == len(similarity) or similarity[at + 1] < similarity[at]  # equal ones happen together
        score = PairScore.of(right, grouped, true)
        if last and score.f1 > best.f1:
            best, best_at = score, at
    return _halfway(similarity, best_at), best


def _halfway(similarity: npt.NDArray[np.float64], at: int) -> float:
    above = float(similarity[at]) if at >= 0 else 1.0
    below = float(similarity[at + 1]) if at + 1 < len(similarity) else -1.0
    return min(max((above + below) / 2, -0.999), 0.999)


def halved(vectors: torch.Tensor) -> Floats:
    """(N, D) float32, unit-norm, rounded to half precision like those that the gallery keeps."""
    found = vectors.half().float().numpy()
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def some_of(records: Sequence[Record], most: int = MOST_DENSE) -> list[Record]:
    """Whole identities, evenly over the split, with at most `most` images together."""
    by_identity: dict[int, list[Record]] = {}
    for record in records:
        by_identity.setdefault(record.identity, []).append(record)
    step = max(1, -(-len(records) // most))
    chosen: list[Record] = []
    for identity in list(by_identity)[::step]:
        if len(chosen) + len(by_identity[identity]) <= most:
            chosen += by_identity[identity]
    return chosen


def calibrate(
    folder: Path,
    data: PersonData,
    split: Split,
    *,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> AssociationRule:
    """Learn on a split what a checkpoint's scores mean, and write it into the checkpoint: the confidence of candidates
    (for each space with enough queries) and the association rule, which is returned.

    Raises:
        DatasetError: no identity of the split has two images, so that there is no rule; the confidence is written.
        CheckpointError: the checkpoint cannot be loaded.
    """
    records = some_of(data.splits[split])
    encoder = load_checkpoint(folder, device=device)
    source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
    try:
        embedded = embed_split(encoder, records, source, progress=progress)
    finally:
        source.close()
    curves = fit_confidence(embedded, data.name, split)
    write_section(folder, "confidence", {space: curve.to_dict() for space, curve in curves.items()})
    rules = fit_presence(embedded, data.name, split)
    write_section(folder, "presence", {space: rule.to_dict() for space, rule in rules.items()})
    if len({record.identity for record in records}) == len(records):
        raise DatasetError(f"no identity in the {split} split of {data.name} has two images: nothing to calibrate on")
    vectors = halved(embedded.portraits)
    identities = np.array([record.identity for record in records], np.int64)
    linkage, threshold, score = best_rule(vectors, identities)
    rule = AssociationRule(
        linkage=linkage,
        threshold=round(threshold, 4),
        data=data.name,
        split=split,
        images=len(records),
        identities=len(set(identities.tolist())),
        precision=round(score.precision, 4),
        recall=round(score.recall, 4),
        f1=round(score.f1, 4),
    )
    write_section(folder, "association", rule.to_dict())
    return rule
