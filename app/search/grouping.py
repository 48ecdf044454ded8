"""From ranked images to ranked identities. Complete: a page is only short when the gallery is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from app.vectors.contract import Hits, Ids

_FIRST, _GROWTH = 8, 4


@dataclass(frozen=True, slots=True)
class RankedIdentity:
    """An identity and its best images: (image id, score), best first, equal scores by id."""

    identity_id: int
    images: tuple[tuple[int, float], ...]

    @property
    def score(self) -> float:
        """Score of the best image."""
        return self.images[0][1]


def best_identities(
    search: Callable[[int], Hits], identity_of: Callable[[list[int]], Mapping[int, int]], limit: int
) -> list[int]:
    """The first `limit` identities in the ranking of all images; fewer only if the gallery has no more.

    Args:
        search: the best k images.
        identity_of: the identity of each image that exists.
    """
    k = limit * _FIRST
    while True:
        ids = search(k).ids.tolist()
        owners = identity_of(ids)
        found = list(dict.fromkeys(owners[image] for image in ids if image in owners))
        if len(found) >= limit or len(ids) < k:
            return found[:limit]
        k *= _GROWTH


def all_identities(hits: Hits, identity_of: Mapping[int, int], limit: int) -> list[int]:
    """The first `limit` identities of a ranking that is complete.

    Args:
        identity_of: the identity of each image that exists.
    """
    images = (image for image in hits.ids.tolist() if image in identity_of)
    return list(dict.fromkeys(identity_of[image] for image in images))[:limit]


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
    best: dict[int, list[tuple[int, float]]] = {}
    for image, score in zip(hits.ids.tolist(), hits.scores.tolist(), strict=True):
        images = best.setdefault(members[image], [])
        if len(images) < images_per_identity:
            images.append((image, score))
    return [RankedIdentity(identity, tuple(images)) for identity, images in best.items() if identity in identities]
