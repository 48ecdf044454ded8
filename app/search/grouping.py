"""From ranked images to the entries of a page. Complete: a page is only short when the scope is."""

from collections import Counter
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from app.vectors.contract import Hits, Ids

_FIRST, _GROWTH = 8, 4
Owners = Callable[[list[int]], Mapping[int, int]]
"""The identity of each of some images that exists and lies in the scope."""


@dataclass(frozen=True, slots=True)
class RankedIdentity:
    """An identity and its best images: (image id, score), best first, equal scores by id.

    Attributes:
        count: how many images it has in what was searched; one that stands for itself counts as one.
    """

    identity_id: int
    images: tuple[tuple[int, float], ...]
    count: int = 1

    @property
    def score(self) -> float:
        """Score of the best image."""
        return self.images[0][1]


class _Known:
    """Whose images are, asked once for each."""

    def __init__(self, identity_of: Owners) -> None:
        self._identity_of = identity_of
        self._asked: set[int] = set()
        self.found: dict[int, int] = {}

    def learn(self, ids: list[int]) -> None:
        """Ask about those images that are new."""
        new = [image for image in ids if image not in self._asked]
        self._asked.update(new)
        self.found.update(self._identity_of(new))


def best_identities(
    search: Callable[[int], Hits],
    identity_of: Owners,
    limit: int,
    shown: AbstractSet[int] = frozenset(),
    sparse: float = 1.0,
) -> list[int]:
    """The first `limit` identities in the ranking of all images; fewer only if the scope has no more.

    Args:
        search: the best k images.
        shown: identities that are left out.
        sparse: one in about so many images lies in the scope; it says where to begin, and the answer is the same.
    """
    k = int((limit + len(shown)) * _FIRST * sparse)
    owners = _Known(identity_of)
    while True:
        ids = search(k).ids.tolist()
        owners.learn(ids)
        every = (owner for image in ids if (owner := owners.found.get(image)) is not None)
        found = list(dict.fromkeys(owner for owner in every if owner not in shown))
        if len(found) >= limit or len(ids) < k:
            return found[:limit]
        k *= _GROWTH


def best_images(
    search: Callable[[int], Hits],
    identity_of: Owners,
    limit: int,
    shown: AbstractSet[int] = frozenset(),
    sparse: float = 1.0,
) -> list[RankedIdentity]:
    """The first `limit` images of the scope in the ranking of all, each for itself.

    Args:
        search: the best k images.
        shown: images that are left out.
        sparse: see `best_identities`.
    """
    k = int((limit * 2 + len(shown)) * sparse)
    owners = _Known(identity_of)
    while True:
        hits = search(k)
        owners.learn(hits.ids.tolist())
        found = all_images(hits, owners.found, limit, shown)
        if len(found) >= limit or len(hits.ids) < k:
            return found
        k *= _GROWTH


def all_images(
    hits: Hits, identity_of: Mapping[int, int], limit: int, shown: AbstractSet[int] = frozenset()
) -> list[RankedIdentity]:
    """The first `limit` images of a ranking that is complete, each for itself.

    Args:
        identity_of: the identity of each image that exists.
        shown: images that are left out.
    """
    found = zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)
    kept = ((image, score) for image, score in found if image in identity_of and image not in shown)
    return [RankedIdentity(identity_of[image], ((image, score),)) for image, score in kept][:limit]


def rank_identities(
    identities: list[int], members: Mapping[int, int], scores: Callable[[Ids], Hits], images_per_identity: int
) -> list[RankedIdentity]:
    """Identities with their best images, ranked.

    Args:
        identities: those to rank.
        members: every image of them, with its identity.
        scores: ranked scores of the given images.
    """
    hits = scores(np.fromiter(members, np.int64, len(members)))
    counts, best = Counter(members.values()), dict[int, list[tuple[int, float]]]()
    for image, score in zip(hits.ids.tolist(), hits.scores.tolist(), strict=True):
        images = best.setdefault(members[image], [])
        if len(images) < images_per_identity:
            images.append((image, score))
    kept = (entry for entry in best.items() if entry[0] in identities)
    return [RankedIdentity(identity, tuple(images), counts[identity]) for identity, images in kept]
