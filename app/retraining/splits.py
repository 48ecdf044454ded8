"""On which side of a retraining people stand: train, val or test.

The side is drawn from a hash of the person's external id, or of the identity's number, so that it is the same in every
retraining. What was on a side once is written down with the image (`images.split`), because identities change: when
people are merged, the group goes where the most has been seen (train before val before test), and images that are split
off keep their side. So nothing that was trained on is ever tested on. Pictures of the same bytes in two collections
count as one person's.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
"""In the order of what a model may have seen of them."""
_TRAIN, _VAL = 0.7, 0.1


@dataclass(frozen=True, slots=True)
class Member:
    """An image with what decides on its side.

    Attributes:
        split: its side in an earlier retraining, if it was in one.
    """

    image_id: int
    identity_id: int
    external_id: str | None
    sha256: str
    split: str | None


def drawn(key: str) -> Split:
    """The side of a person who was in no retraining yet: 70, 10 and 20 % of all keys."""
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
    return "train" if share < _TRAIN else "val" if share < _TRAIN + _VAL else "test"


def assign(members: Sequence[Member]) -> dict[int, Split]:
    """The side of each image."""
    groups = _groups(members)
    sides: dict[int, Split] = {}
    for group in groups.values():
        seen = {member.split for member in group}
        side = next((split for split in SPLITS if split in seen), None)
        if side is None:
            first = min(group, key=lambda member: member.identity_id)
            side = drawn(f"#{first.identity_id}" if first.external_id is None else first.external_id)
        sides.update((member.image_id, side) for member in group)
    return sides


def _groups(members: Sequence[Member]) -> dict[str, list[Member]]:
    """Images of one person, joined where two people have a picture of the same bytes."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = key = parent[parent[key]]
        return key

    for member in members:
        one, other = root(f"id {member.identity_id}"), root(member.sha256)
        parent[other] = one
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(root(f"id {member.identity_id}"), []).append(member)
    return found
