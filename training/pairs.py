"""The training split as batches: shuffled image-text pairs, the same for the same seed and step."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from models.encoder import PersonEncoder
from training.errors import TrainingError
from training.images import ImageSource
from training.methods.base import Batch, TrainSize
from training.records import Record, pairs_of
from training.transforms import Augmentation


def seeded(seed: int, *position: int) -> torch.Generator:
    """A generator that depends on the run's seed and a position in it (epoch, step) and on nothing else."""
    words = np.random.SeedSequence([seed, *position]).generate_state(2, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


class TrainingPairs:
    """All (image, description) pairs of a split, cut into shuffled batches; the last incomplete batch is dropped.

    Raises:
        TrainingError: fewer pairs than one batch.
    """

    def __init__(
        self,
        records: tuple[Record, ...],
        source: ImageSource,
        encoder: PersonEncoder,
        augmentation: Augmentation,
        *,
        batch: int,
        seed: int,
        plain: bool = False,
    ) -> None:
        pairs = pairs_of(records)
        if len(pairs) < batch:
            raise TrainingError(f"the train split has {len(pairs)} image-text pairs, fewer than one batch of {batch}")
        self._source, self._augmentation, self._spec = source, augmentation, encoder.spec.preprocessing
        self._batch, self._seed, self._plain = batch, seed, plain
        self._records = len(records)
        self._images = torch.tensor([index for index, _ in pairs])
        self._tokens = encoder.tokenize([text for _, text in pairs]).ids
        numbers = {identity: n for n, identity in enumerate(sorted({record.identity for record in records}))}
        self._identities = torch.tensor([numbers[records[index].identity] for index, _ in pairs])

    @property
    def size(self) -> TrainSize:
        """How much there is."""
        return TrainSize(len(self._images), self._records, int(self._identities.max()) + 1)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return len(self._images) // self._batch

    def epoch(self, epoch: int, *, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from batch `first` on; the next one is made while this one is used."""
        order = torch.randperm(len(self._images), generator=seeded(self._seed, epoch))
        with ThreadPoolExecutor(1, thread_name_prefix="batch") as pool:
            waiting = pool.submit(self._make, order, epoch, first) if first < self.steps else None
            for step in range(first, self.steps):
                assert waiting is not None
                ready = waiting.result()
                waiting = pool.submit(self._make, order, epoch, step + 1) if step + 1 < self.steps else None
                yield ready

    def _make(self, order: torch.Tensor, epoch: int, step: int) -> Batch:
        chosen = order[step * self._batch : (step + 1) * self._batch]
        pixels = self._source.get(self._images[chosen].tolist())
        augmented = self._augmentation(pixels, self._spec.mean, seeded(self._seed, epoch, step))
        tokens = self._tokens[chosen]
        longest = int((tokens != 0).any(dim=0).sum())
        return Batch(
            self._spec.normalise(augmented),
            tokens[:, : max(longest, 1)],
            self._identities[chosen],
            chosen,
            self._images[chosen],
            epoch,
            self._spec.normalise(pixels) if self._plain else None,
        )
