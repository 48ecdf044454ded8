"""Queries of several parts, measured on synthetic people, whose truth is known: how parts are fused, what denied parts
do, and how an identity's images are taken together.

The pictures that a query consists of are never in the gallery that it is asked of.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.confidence_fit import calibration_error
from models.encoder import Space
from models.fusion import Fusion
from training.evaluation import Embedded, Integers
from training.synthetic.errors import SyntheticSetError

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Row = dict[str, Any]
QUERIES, PAGE = 2000, 10
_AWAY = -1e9
_VIEWS = {"front": 0, "side": 1, "back": 2}


@dataclass(frozen=True, slots=True)
class Known:
    """A split with its vectors in double precision, and the truth about it.

    Attributes:
        images, portraits: (N, D) for descriptions and for pictures; texts: (Q, D).
        people: (P,) identities; whose: (N,) their numbers 0..P-1 by image; members: the images of each.
        described: (Q,) image of each description.
        views: (N,) 0 front, 1 side, 2 back.
        attributes: what each person is like.
    """

    split: str
    images: Floats
    portraits: Floats
    texts: Floats
    people: Integers
    whose: Integers
    members: tuple[Integers, ...]
    described: Integers
    views: Integers
    attributes: tuple[dict[str, str], ...]

    @classmethod
    def of(cls, embedded: Embedded, split: str, folder: Path) -> "Known":
        """With the truth that lies beside the images.

        Raises:
            SyntheticSetError: none does.
        """
        try:
            truth = json.loads((folder / "attributes.json").read_text("utf-8"))["identities"]
        except (OSError, ValueError, KeyError) as error:
            raise SyntheticSetError(f"{folder} is no readable synthetic set: {error}") from error
        seen = {Path(i["file_path"]).name: _VIEWS[i["view"]] for p in truth for i in p["images"]}
        known = {person["id"]: person["attributes"] for person in truth}
        people, whose = np.unique(embedded.gallery_ids, return_inverse=True)
        return cls(
            split,
            embedded.images.double().numpy(),
            embedded.portraits.double().numpy(),
            embedded.texts.double().numpy(),
            people,
            whose.astype(np.int64),
            tuple(np.flatnonzero(whose == number) for number in range(len(people))),
            embedded.described,
            np.array([seen[record.path.name] for record in embedded.records], np.int64),
            tuple(known[person] for person in people.tolist()),
        )

    def cosines(self, space: Space, parts: Integers) -> Floats:
        """(n, N) of descriptions or of pictures with all images."""
        if space == "text":
            return self.texts[parts] @ self.images.T
        return self.portraits[parts] @ self.portraits.T

    def by_person(self, scores: Floats) -> Floats:
        """(n, N) to (n, P): the best image of each person."""
        order = np.argsort(self.whose, kind="stable")
        starts = np.searchsorted(self.whose[order], np.arange(len(self.people)))
        return np.asarray(np.maximum.reduceat(scores[:, order], starts, axis=1), np.float64)


@dataclass(frozen=True, slots=True)
class Asked:
    """Queries of a kind: (space, (n,) descriptions or images) for each part, and whom they are of, (n,)."""

    parts: tuple[tuple[Space, Integers], ...]
    wanted: Integers

    def pictures(self) -> list[Integers]:
        """The images that are parts."""
        return [numbers for space, numbers in self.parts if space == "image"]


def composed_queries(known: Known, rng: np.random.Generator) -> dict[str, Asked]:
    """Queries of two parts about one person: two views, a description with a picture of another view, two
    descriptions of different images."""
    views, mixed, words = [], [], []
    said = [np.flatnonzero(known.described == image) for image in range(len(known.whose))]
    for images in known.members:
        for one, other in combinations(sorted(images.tolist(), key=lambda i: int(known.views[i])), 2):
            if known.views[one] != known.views[other]:
                views.append((one, other))
                mixed += [(text, other) for text in said[one]] + [(text, one) for text in said[other]]
            words += [(first, second) for first in said[one] for second in said[other]]
    kinds: dict[str, tuple[list[tuple[int, int]], tuple[Space, Space]]] = {
        "two views": (views, ("image", "image")),
        "description and picture": (mixed, ("text", "image")),
        "two descriptions": (words, ("text", "text")),
    }
    found = {}
    for name, (pairs, (first_space, second_space)) in kinds.items():
        chosen = np.array(pairs, np.int64)
        chosen = chosen[np.sort(rng.choice(len(chosen), min(QUERIES, len(chosen)), replace=False))]
        one, other = chosen[:, 0], chosen[:, 1]
        wanted = known.whose[other if second_space == "image" else known.described[other]]
        found[name] = Asked(((first_space, one), (second_space, other)), wanted)
    return found


def measure_fusions(known: Known, fusion: Fusion, rng: np.random.Generator) -> Iterator[Row]:
    """Each way of making one score of two parts, beside either part alone; images are ranked."""
    for kind, asked in composed_queries(known, rng).items():
        (one_space, _), (other_space, _) = asked.parts
        one, other = (known.cosines(space, numbers) for space, numbers in asked.parts)
        told = [fusion.support(space, scores) for (space, _), scores in zip(asked.parts, (one, other), strict=True)]
        ways: dict[str, Floats] = {
            "first part alone": one,
            "second part alone": other,
            "sum of cosines": one + other,
            "sum of log-odds (chosen)": told[0] + told[1],
            "larger log-odds": np.maximum(*told),
            "sum of z-scores": _standard(one) + _standard(other),
        }
        if one_space != other_space:
            for weight in (0.5, 2.0):
                ways[f"sum of log-odds, words weigh {weight:g}"] = weight * told[0] + told[1]
        for how, scores in ways.items():
            yield row_of(kind, known, how, **_ranked(known, scores, asked))


def _standard(scores: Floats) -> Floats:
    return np.asarray((scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True), np.float64)


def _ranked(known: Known, scores: Floats, asked: Asked) -> Row:
    """R@1 and mAP over images."""
    scores = scores.copy()
    for images in asked.pictures():
        scores[np.arange(len(scores)), images] = _AWAY
    order = np.argsort(-scores, axis=1, kind="stable")
    right = known.whose[order] == asked.wanted[:, None]
    gone = len(asked.pictures())
    precision = []
    for row in right:
        ranks = np.flatnonzero(row) + 1
        ranks = ranks[: len(ranks) - gone]  # its own pictures are last
        precision.append(float((np.arange(1, len(ranks) + 1) / ranks).mean()))
    return {"R@1": 100 * float(right[:, 0].mean()), "mAP": 100 * float(np.mean(precision)), "queries": len(right)}


def measure_groupings(known: Known) -> Iterator[Row]:
    """An identity's score as that of its best image, or as the mean of its best few; identities are ranked.

    The difference to the best image comes with its standard error over people.
    """
    own = known.whose[known.described]
    texts, pictures = np.arange(len(known.texts)), np.arange(len(known.portraits))
    asked: dict[str, tuple[Space, Integers, Integers, Integers | None]] = {
        "grouping, descriptions": ("text", texts, own, None),
        "grouping, descriptions, their image away": ("text", texts, own, known.described),
        "grouping, pictures": ("image", pictures, known.whose, pictures),
    }
    for kind, (space, numbers, wanted, away) in asked.items():
        scores = known.cosines(space, numbers)
        if away is not None:
            scores[numbers, away] = _AWAY
        ordered = [-np.sort(-scores[:, images], axis=1) for images in known.members]
        best: Booleans | None = None
        for most, how in ((1, "best image (chosen)"), (2, "mean of best 2"), (3, "mean of best 3"), (0, "mean of all")):
            people = np.stack([_mean(images, most) for images in ordered], axis=1)
            above = (people > people[np.arange(len(people)), wanted][:, None]).sum(axis=1)
            hit = above == 0
            best = hit if best is None else best
            gain = np.array([(hit[wanted == p].mean() - best[wanted == p].mean()) for p in np.unique(wanted)])
            yield row_of(
                kind,
                known,
                how,
                **{"R@1": 100 * float(hit.mean()), "mAP": 100 * float((1 / (above + 1)).mean()), "queries": len(hit)},
                gain=100 * float(gain.mean()),
                error=100 * float(gain.std(ddof=1) / np.sqrt(len(gain))),
            )


def _mean(ordered: Floats, most: int) -> Floats:
    """Of (n, m) descending scores of a person's images: the mean of the first `most` that are there; 0 means all."""
    first = ordered[:, : most or ordered.shape[1]]
    there = first > _AWAY
    return np.asarray(np.where(there, first, 0).sum(1) / np.maximum(1, there.sum(1)), np.float64)


def measure_examples(known: Known, rng: np.random.Generator) -> Iterator[Row]:
    """An identity as an example: the mean of its vectors, or the best of its images; half of them are the gallery."""
    for size in (2, 3):
        kept = [images for images in known.members if len(images) > size]
        chosen = np.array([rng.permutation(images)[:size] for images in kept])
        wanted = known.whose[chosen[:, 0]]
        asked = Asked(tuple(("image", chosen[:, place]) for place in range(size)), wanted)
        each = [known.cosines(space, numbers) for space, numbers in asked.parts]
        ways = {"one image": each[0], "best of its images": np.maximum.reduce(each), "mean vector (chosen)": sum(each)}
        for how, scores in ways.items():
            yield row_of(f"an identity of {size} images", known, how, **_ranked(known, np.asarray(scores), asked))


def measure_confidence(known: Known, fusion: Fusion, rng: np.random.Generator) -> Iterator[Row]:
    """Calibration error of fused confidences over the first page, by the number of descriptions and pictures."""
    said = {image: np.flatnonzero(known.described == image) for image in range(len(known.whose))}
    for words, pictures in ((1, 0), (0, 1), (2, 0), (0, 2), (1, 1), (3, 0), (2, 1), (1, 2)):
        wanted = rng.integers(len(known.people), size=QUERIES)
        mixed = [rng.permutation(known.members[person]) for person in wanted]
        parts: list[tuple[Space, Integers]] = [
            ("image", np.array([images[place] for images in mixed])) for place in range(pictures)
        ]
        for place in range(words):
            parts.append(("text", np.array([rng.choice(said[images[-1 - place]]) for images in mixed])))
        told = np.mean([fusion.support(space, known.cosines(space, numbers)) for space, numbers in parts], axis=0)
        for space, numbers in parts:
            if space == "image":
                told[np.arange(QUERIES), numbers] = _AWAY
        people = known.by_person(told)
        page = np.argsort(-people, axis=1, kind="stable")[:, :PAGE]
        chance = 1 / (1 + np.exp(-np.take_along_axis(people, page, 1)))
        right = page == wanted[:, None]
        yield row_of(
            "confidence of a page",
            known,
            f"{words} descriptions, {pictures} pictures",
            ECE=calibration_error(chance.ravel(), right.ravel()),
            queries=QUERIES,
        )


def row_of(kind: str, known: Known, how: str, **figures: Any) -> Row:  # noqa: ANN401  figures by name
    return {"kind": kind, "split": known.split, "how": how} | figures


Encode = Callable[[list[str]], Floats]
"""Descriptions to unit vectors (n, D)."""
