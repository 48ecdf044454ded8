"""The oracle: how well a caption can be answered by somebody who knows every attribute of every identity.

It scores a gallery image by how many of the caption's mentioned (attribute, meaning) pairs fit the image's identity.
Images with equal scores count with their expectation over a random order, so the result does not depend on the order
of the gallery.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.synthetic.errors import SyntheticSetError
from training.synthetic.lexicon import fits
from training.synthetic.phrases import Mention

_BLOCK = 512
_Integers = NDArray[np.int64]


@dataclass(frozen=True)
class OracleScore:
    """Expected CMC and mean average precision, all in 0..1, over `queries` captions."""

    rank1: float
    rank5: float
    rank10: float
    mean_ap: float
    queries: int


def score_set(folder: Path, split: str = "test") -> OracleScore:
    """The oracle on one split of a synthetic set: every caption against every image of the split.

    Raises SyntheticSetError if the folder holds no synthetic set or the split is empty.
    """
    try:
        people: list[dict[str, Any]] = json.loads((folder / "attributes.json").read_text("utf-8"))["identities"]
    except (OSError, ValueError, KeyError) as error:
        raise SyntheticSetError(f"{folder} is no readable synthetic set: {error}") from error
    people = [person for person in people if person["split"] == split]
    if not people:
        raise SyntheticSetError(f"{folder} has no identity in the split {split!r}")
    attributes = [person["attributes"] for person in people]
    sizes = np.array([len(person["images"]) for person in people])
    captions, owners = [], []
    for number, person in enumerate(people):
        for image in person["images"]:
            captions += [[(attribute, meaning) for attribute, meaning in mentions] for mentions in image["mentions"]]
            owners += [number] * len(image["mentions"])
    return score(attributes, sizes, captions, np.array(owners))


def score(
    attributes: Sequence[dict[str, str]], sizes: _Integers, captions: Sequence[Sequence[Mention]], owners: _Integers
) -> OracleScore:
    """The oracle on given truth.

    `attributes`: values per identity (I); `sizes`: (I,) images per identity; `captions`: mentions per caption (Q);
    `owners`: (Q,) the identity's number that each caption describes.
    """
    columns = {
        mention: column for column, mention in enumerate(dict.fromkeys(m for caption in captions for m in caption))
    }
    known = np.array(
        [[fits(name, meaning, values.get(name, "none")) for name, meaning in columns] for values in attributes],
        np.float32,
    )
    known = known.reshape(len(attributes), len(columns))
    said = np.zeros((len(captions), len(columns)), np.float32)
    for row, caption in enumerate(captions):
        said[row, [columns[mention] for mention in caption]] = 1
    total = np.zeros(4)
    for start in range(0, len(captions), _BLOCK):
        block = slice(start, start + _BLOCK)
        total += _expectations(said[block] @ known.T, sizes, owners[block])
    rank1, rank5, rank10, mean_ap = (total / max(1, len(captions))).tolist()
    return OracleScore(rank1, rank5, rank10, mean_ap, len(captions))


def _expectations(scores: NDArray[np.float32], sizes: _Integers, owners: _Integers) -> NDArray[np.float64]:
    """Sums over the captions of expected R@1, R@5, R@10 and AP. All images of an identity share its score, so they
    tie."""
    own = np.take_along_axis(scores, owners[:, None], axis=1)
    above = ((scores > own) * sizes).sum(axis=1)
    tied = ((scores == own) * sizes).sum(axis=1)
    matches = sizes[owners]
    sums = np.zeros(4)
    for before, ties, right in zip(above.tolist(), tied.tolist(), matches.tolist(), strict=True):
        sums += [*(_hit(before, ties, right, k) for k in (1, 5, 10)), _average_precision(before, ties, right)]
    return sums


def _hit(above: int, tied: int, right: int, k: int) -> float:
    """The probability that one of `right` images among `tied` equals, shuffled, comes within rank k after `above`
    better ones."""
    places = min(k - above, tied)
    if places <= 0:
        return 0.0
    miss = 1.0
    for place in range(places):
        miss *= max(0, tied - right - place) / (tied - place)
    return 1.0 - miss


def _average_precision(above: int, tied: int, right: int) -> float:
    """The expected average precision when all relevant images lie in one shuffled group of equals."""
    places = np.arange(tied)
    others = (right - 1) / (tied - 1) if tied > 1 else 0.0
    return float(((1 + places * others) / (above + places + 1)).sum() / tied)
