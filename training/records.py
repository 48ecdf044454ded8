"""The one record that every data set yields, and the splits made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Role = Literal["query", "gallery"]


@dataclass(frozen=True, slots=True)
class Record:
    """One image of one identity with its descriptions.

    Attributes:
        path: the image file.
        identity: id that is the same for all images of a person within the data set, >= 0.
        descriptions: what is written about this image; empty for image-image data sets.
        camera: which camera took it, as the file's name spells it, where the data set says so.
        role: its side in image-to-image retrieval, where the data set says so; None stands on both sides.
        distractor: stays in the gallery to be ranked, and is nobody: neither a query nor an answer.
        groups: further (name, value) pairs by which results are told apart, such as ("collection", "north").
    """

    path: Path
    identity: int
    descriptions: tuple[str, ...]
    camera: str | None = None
    role: Role | None = None
    distractor: bool = False
    groups: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PersonData:
    """A data set: its name, its records by split (a split may be empty), and what a run must say about them.

    Attributes:
        notes: sentences that the log, the events and the model card repeat, such as that images were missing.
        pictures: an image-image set that is trained and measured on beside this one; its identities are numbered so
            that an id means the same person in both (`training.datasets.joint`).
    """

    name: str
    splits: dict[Split, tuple[Record, ...]]
    notes: tuple[str, ...] = ()
    pictures: "PersonData | None" = None

    def identities(self, split: Split) -> set[int]:
        """The people of a split; distractors are nobody."""
        return {record.identity for record in self.splits[split] if not record.distractor}


def carve_validation(data: PersonData, *, share: float, seed: int) -> PersonData:
    """Take a validation split by identity out of train, where the data set has none of its own (methods.md 3.1).

    Args:
        share: part of the train identities that moves, in (0, 1); at least one identity moves, at least one stays.
        seed: which ones.
    """
    if data.splits["val"]:
        return data
    identities = sorted(data.identities("train"))
    if len(identities) < 2:
        return data
    count = min(max(1, round(share * len(identities))), len(identities) - 1)
    moved = set(np.random.default_rng(seed).choice(identities, size=count, replace=False).tolist())
    train = tuple(record for record in data.splits["train"] if record.identity not in moved)
    val = tuple(record for record in data.splits["train"] if record.identity in moved)
    note = f"{data.name} has no val split: {count:,} of its {len(identities):,} train identities were set aside for it"
    return replace(data, splits={**data.splits, "train": train, "val": val}, notes=(*data.notes, note))


def pairs_of(records: Sequence[Record]) -> list[tuple[int, str]]:
    """All (index of the record, description) pairs, in order: what text-to-image training and evaluation run over."""
    return [(index, text) for index, record in enumerate(records) for text in record.descriptions]
