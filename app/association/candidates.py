"""What is to be grouped: provisional identities as one vector each, and what their cameras say."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from app.association.repository import AssociationRepository, Sighting
from app.association.schemas import AssociationFound
from app.errors import AssociationTooLargeError
from app.identities.history import HistoryRepository
from models.association import Groups, Sightings
from models.encoder import EncoderSpec

MOST = 50_000
"""Identities of one run: beyond that the comparison of all pairs takes too long for one step of a job."""
CROWD = 64
"""More images than this of one camera at one instant are a rounded time, not a crowd."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Provisional identities, in ascending order, as rows.

    Attributes:
        ids: (N,) identities.
        vectors: (N, dim) float32: the mean over an identity's images, unit-norm again.
        sightings: what rules out that two of them are one person.
        images: number of images of each.
        without_vector: images that are not encoded.
        crowded: instants of a camera that were not believed.
    """

    ids: list[int]
    vectors: npt.NDArray[np.float32]
    sightings: Sightings
    images: list[int]
    without_vector: int
    crowded: int

    def groups(self, found: Groups) -> list[list[int]]:
        """The groups of more than one identity."""
        members: dict[int, list[int]] = defaultdict(list)
        for identity_id, label in zip(self.ids, found.labels.tolist(), strict=True):
            members[label].append(identity_id)
        return [ids for ids in members.values() if len(ids) > 1]

    def count(self, found: Groups) -> AssociationFound:
        """The figures of a grouping."""
        sizes: Counter[int] = Counter()
        for label, images in zip(found.labels.tolist(), self.images, strict=True):
            sizes[label] += images
        return AssociationFound(
            images=sum(self.images),
            identities=len(self.ids),
            persons=len(sizes),
            groups=len(self.groups(found)),
            without_vector=self.without_vector,
            cut=found.cut,
            crowded_instants=self.crowded,
            sizes=dict(sorted(Counter(sizes.values()).items())),
        )


def read_candidates(
    session: Session,
    collection_id: int,
    version_id: int,
    spec: EncoderSpec,
    *,
    window_s: float | None,
    instants_apart: bool,
) -> Candidates:
    """Read what a run groups, from one state of the database.

    Raises:
        AssociationTooLargeError: there are more than `MOST` identities.
    """
    runs = AssociationRepository(session)
    if (count := runs.count_candidates(collection_id)) > MOST:
        raise AssociationTooLargeError(
            f"{count:,} provisional identities are in the collection, and at most {MOST:,} are grouped in one run; "
            "ingest with tracks, or into collections by day or place"
        )
    seen = runs.sightings(collection_id)
    row_of = {identity: row for row, identity in enumerate(sorted({item.identity_id for item in seen}))}
    space = spec.stored("image")
    dim = spec.spaces[space].dim
    sums, images = np.zeros((len(row_of), dim), np.float32), np.zeros(len(row_of), np.int64)
    owner = {item.image_id: row_of[item.identity_id] for item in seen}
    for ids, vectors in runs.vectors(list(owner), version_id, space, dim):
        rows = [owner[image] for image in ids]
        np.add.at(sums, rows, vectors.astype(np.float32))
        np.add.at(images, rows, 1)
    lengths = np.linalg.norm(sums, axis=1)
    kept = np.flatnonzero((images > 0) & (lengths > 0))
    place = {identity: at for at, identity in enumerate(np.array(list(row_of), np.int64)[kept].tolist())}
    strangers, crowded = _met(seen, place) if instants_apart else (set(), 0)
    for one, other in HistoryRepository(session).splits(place):
        if other in place:
            strangers.add((place[one], place[other]))
    first, last = _spans(seen, place)
    return Candidates(
        ids=list(place),
        vectors=sums[kept] / lengths[kept, None],
        sightings=Sightings(
            first, last, np.array(sorted(strangers), np.int64).reshape(-1, 2), np.inf if window_s is None else window_s
        ),
        images=images[kept].tolist(),
        without_vector=len(seen) - int(images[kept].sum()),
        crowded=crowded,
    )


def _spans(seen: Iterable[Sighting], place: dict[int, int]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    first, last = np.full(len(place), np.nan), np.full(len(place), np.nan)
    for item in seen:
        if item.captured_at is not None and (row := place.get(item.identity_id)) is not None:
            at = item.captured_at.timestamp()
            first[row], last[row] = np.fmin(first[row], at), np.fmax(last[row], at)
    return first, last


def _met(seen: Iterable[Sighting], place: dict[int, int]) -> tuple[set[tuple[int, int]], int]:
    """Pairs of rows that one camera saw at one instant, without copies of one picture; and the crowded instants."""
    moments: dict[tuple[int, str, float], list[Sighting]] = defaultdict(list)
    for item in seen:
        if item.camera is not None and item.captured_at is not None and item.identity_id in place:
            moments[item.collection_id, item.camera, item.captured_at.timestamp()].append(item)
    crowded = [moment for moment, items in moments.items() if len(items) > CROWD]
    for moment in crowded:
        del moments[moment]
    pairs: set[tuple[int, int]] = set()
    for items in moments.values():
        for one, other in combinations(items, 2):
            rows = sorted((place[one.identity_id], place[other.identity_id]))
            if rows[0] != rows[1] and _original(one) != _original(other):
                pairs.add((rows[0], rows[1]))
    return pairs, len(crowded)


def _original(item: Sighting) -> int:
    return item.image_id if item.near_duplicate_of is None else item.near_duplicate_of
