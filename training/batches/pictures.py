"""The pictures that a second data set adds to every step: so many of each of so many people (PK)."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from models.noise import samples_of
from models.preprocessing import Preprocessing
from training.batches.samplers import ByIdentity, seeded
from training.datasets.images import ImageSource
from training.errors import TrainingError
from training.methods.base import Pictures
from training.processes.ranks import Share
from training.recipe import Recipe
from training.records import Record

_STREAM = 2  # of a step's random numbers; pairs draw from (seed, epoch, step), the method from (seed, epoch, step, 1)


class Digest(Protocol):
    """What bytes are fed to, such as `hashlib.sha256()`."""

    def update(self, data: bytes, /) -> None:
        """Take these too."""


def number_identities(described: Sequence[Record], pictures: Sequence[Record]) -> dict[int, int]:
    """Identities to numbers from 0 without gaps: those with descriptions in ascending order, then the other set's."""
    first = sorted({record.identity for record in described})
    others = sorted({record.identity for record in pictures} - set(first))
    return {identity: number for number, identity in enumerate((*first, *others))}


class TrainingPictures:
    """The train split of the recipe's `data.pictures`, in PK batches that go round as long as the pairs' epochs last.

    The pairs say how long an epoch is. The pictures keep their own count: their batch number n is that of the run's
    step, whatever its epoch, so that all of them come in, and a resumed run goes on with the same ones. What happens to
    a picture depends on its place in the batch only, not on how many processes there are.

    Args:
        records: the pictures.
        source: the same, to be decoded.
        numbers: identities to numbers.
        share: what this process does of a batch.

    Raises:
        TrainingError: fewer identities than one batch has.
        ValueError: a batch that does not divide into the shares.
    """

    def __init__(
        self,
        records: tuple[Record, ...],
        source: ImageSource,
        spec: Preprocessing,
        recipe: Recipe,
        numbers: Mapping[int, int],
        *,
        share: Share,
    ) -> None:
        part = recipe.data.pictures
        if part is None:
            raise ValueError("the recipe names no data.pictures")
        self._records, self._source, self._spec, self._recipe = records, source, spec, recipe
        self._batch, self._rows = part.batch, share.rows(part.batch)
        self._identities = torch.tensor([numbers[record.identity] for record in records], dtype=torch.int64)
        self._cameras = _cameras(records)
        # Of a seed of its own: with the pairs' one, equal sets would be shuffled alike.
        own = seeded(recipe.seed, _STREAM).initial_seed()
        try:
            self._sampler = ByIdentity(self._identities, people=part.identities, each=part.each, seed=own)
        except TrainingError as error:
            raise TrainingError(f"data.pictures: {error.message}") from error
        self._ordered = (-1, torch.empty(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self._records)

    def members(self, turn: int) -> Tensor:
        """(batch,) int64: the pictures of the run's step `turn`, over all processes."""
        round_, step = divmod(turn, self._sampler.steps)
        ordered = self._ordered
        if ordered[0] != round_:
            ordered = self._ordered = (round_, self._sampler.order(round_))
        return ordered[1][step * self._batch : (step + 1) * self._batch]

    def paths(self, pictures: Tensor) -> list[str]:
        """The image file of each."""
        return [str(self._records[index].path) for index in pictures.tolist()]

    def make(self, epoch: int, step: int, steps: int) -> Pictures:
        """This process's share of what joins the pairs' batch `step` of an `epoch` of `steps`."""
        whole = self.members(epoch * steps + step)
        chosen = whole[self._rows]
        pixels = self._source.get(chosen.tolist())
        with samples_of(self._rows, len(whole)):
            rng = seeded(self._recipe.seed, epoch, step, _STREAM)
            augmented = self._recipe.augmentation(pixels, self._spec.mean, rng)
        return Pictures(self._spec.normalise(augmented), self._identities[chosen], self._cameras[chosen], chosen)

    def digest(self, digest: Digest) -> None:
        """Feed the pictures in their order to a hash."""
        digest.update(self._identities.numpy().tobytes())
        for record in self._records:
            digest.update(record.path.name.encode())


def _cameras(records: Sequence[Record]) -> Tensor:
    numbers = {camera: n for n, camera in enumerate(sorted({r.camera for r in records if r.camera is not None}))}
    return torch.tensor([numbers.get(record.camera or "", -1) for record in records], dtype=torch.int64)
