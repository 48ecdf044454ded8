"""The training split as batches of image-text pairs, the same for the same seed and step.

Images without a description are in no pair; pictures of a second set join the batches through `pictures.py`.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import torch
from torch import Tensor

from models.encoder import PersonEncoder
from models.noise import samples_of
from training.batches.pictures import TrainingPictures, number_identities
from training.batches.samplers import build_sampler, seeded
from training.datasets.images import ImageSource
from training.methods.base import Batch, TrainSize
from training.processes.ranks import Share
from training.recipe import Recipe
from training.records import Record, pairs_of


class TrainingPairs:
    """All (image, description) pairs of a split, in the batches that the recipe's sampler forms.

    A batch is the batch of all processes; each makes its share of it. What happens to a sample depends on its place in
    the batch only, not on how many processes there are.

    Args:
        records: the train split.
        source: its pictures, in the same order.
        share: what this process does of a batch.
        plain: whether batches also carry pictures that are resized and normalised only.
        pictures: the train split of the recipe's `data.pictures`, with its images.

    Raises:
        TrainingError: fewer pairs or identities than one batch.
        ValueError: a batch that does not divide into the shares.
    """

    def __init__(
        self,
        records: tuple[Record, ...],
        source: ImageSource,
        encoder: PersonEncoder,
        recipe: Recipe,
        *,
        share: Share = Share(),  # noqa: B008  frozen
        plain: bool = False,
        pictures: tuple[tuple[Record, ...], ImageSource] | None = None,
    ) -> None:
        pairs = pairs_of(records)
        self._records, self._source, self._recipe, self._plain = records, source, recipe, plain
        self._spec = encoder.spec.preprocessing
        self._rows = share.rows(recipe.batch)
        self._images = torch.tensor([index for index, _ in pairs], dtype=torch.int64)
        numbers = number_identities([records[index] for index, _ in pairs], pictures[0] if pictures else ())
        self._people = len(numbers)
        self._identities = torch.tensor([numbers[records[index].identity] for index, _ in pairs], dtype=torch.int64)
        self.pictures = TrainingPictures(*pictures, self._spec, recipe, numbers, share=share) if pictures else None
        self._sampler = build_sampler(recipe.sampler, self._identities, batch=recipe.batch, seed=recipe.seed)
        self._tokens = encoder.tokenize([text for _, text in pairs]).ids
        self._ordered = (-1, torch.empty(0, dtype=torch.int64))

    @property
    def size(self) -> TrainSize:
        """How much there is."""
        pictures = len(self.pictures) if self.pictures else 0
        return TrainSize(len(self._images), len(self._records), self._people, pictures)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self._sampler.steps

    @cached_property
    def fingerprint(self) -> str:
        """Of the pairs in their order: a run resumed on others would go on with other batches."""
        digest = hashlib.sha256()
        for values in (self._images, self._identities, self._tokens):
            digest.update(values.contiguous().numpy().tobytes())
        for record in self._records:
            digest.update(record.path.name.encode())
        if self.pictures:
            self.pictures.digest(digest)
        return digest.hexdigest()

    def members(self, epoch: int, step: int) -> Tensor:
        """(batch,) int64: the pairs of one batch, over all processes."""
        ordered = self._ordered
        if ordered[0] != epoch:
            ordered = self._ordered = (epoch, self._sampler.order(epoch))
        return ordered[1][step * self._recipe.batch : (step + 1) * self._recipe.batch]

    def paths(self, pairs: Tensor) -> list[str]:
        """The image file of each pair."""
        return [str(self._records[index].path) for index in self._images[pairs].tolist()]

    def epoch(self, epoch: int, *, first: int = 0) -> Iterator[Batch]:
        """This process's share of the batches of an epoch, from batch `first` on.

        The next one is made while this one is used.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="batch") as pool:
            waiting = pool.submit(self._make, epoch, first) if first < self.steps else None
            for step in range(first, self.steps):
                assert waiting is not None
                ready = waiting.result()
                waiting = pool.submit(self._make, epoch, step + 1) if step + 1 < self.steps else None
                yield ready

    def _make(self, epoch: int, step: int) -> Batch:
        whole = self.members(epoch, step)
        chosen = whole[self._rows]
        pixels = self._source.get(self._images[chosen].tolist())
        with samples_of(self._rows, len(whole)):
            rng = seeded(self._recipe.seed, epoch, step)
            augmented = self._recipe.augmentation(pixels, self._spec.mean, rng)
        # All processes cut at the longest text of the whole batch: one that saw less would draw other random numbers.
        longest = int((self._tokens[whole] != 0).any(dim=0).sum())
        return Batch(
            self._spec.normalise(augmented),
            self._tokens[chosen][:, : max(longest, 1)],
            self._identities[chosen],
            chosen,
            self._images[chosen],
            epoch,
            self._spec.normalise(pixels) if self._plain else None,
            self.pictures.make(epoch, step, self.steps) if self.pictures else None,
        )
