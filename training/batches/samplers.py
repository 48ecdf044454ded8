"""Which pairs form which batch of an epoch; the same for the same seed and epoch."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from training.errors import TrainingError
from training.recipe import SamplerPart


def seeded(seed: int, *position: int) -> torch.Generator:
    """A generator that depends on the run's seed and a position in it (epoch, step) and on nothing else."""
    words = np.random.SeedSequence([seed, *position]).generate_state(2, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


class Sampler(Protocol):
    """Orders pairs into batches."""

    steps: int
    """Batches in an epoch, every epoch."""

    def order(self, epoch: int) -> Tensor:
        """(steps * batch,) int64: the pairs of the epoch, batch after batch."""


def build_sampler(part: SamplerPart, identities: Tensor, *, batch: int, seed: int) -> Sampler:
    """The recipe's sampler.

    Args:
        identities: (N,) int64, of each pair.

    Raises:
        TrainingError: too few pairs or identities for one batch.
    """
    if part.name == "shuffle":
        return Shuffle(len(identities), batch=batch, seed=seed)
    return ByIdentity(identities, people=part.identities, each=part.pairs, seed=seed)


class Shuffle:
    """Every pair at most once an epoch, in random order; the last incomplete batch is dropped."""

    def __init__(self, pairs: int, *, batch: int, seed: int) -> None:
        if pairs < batch:
            raise TrainingError(f"the train split has {pairs} image-text pairs, fewer than one batch of {batch}")
        self.steps = pairs // batch
        self._pairs, self._batch, self._seed = pairs, batch, seed

    def order(self, epoch: int) -> Tensor:
        return torch.randperm(self._pairs, generator=seeded(self._seed, epoch))[: self.steps * self._batch]


class ByIdentity:
    """PK batches: `people` different identities, `each` pairs of every one, side by side.

    In an epoch an identity with n pairs comes max(1, n // each) times, each time with other pairs of it; one with fewer
    than `each` repeats some. The number of batches is the largest for which enough different identities are there:
    the largest m with sum over identities of min(times, m) >= people * m.

    Raises:
        TrainingError: fewer identities than `people`.
    """

    def __init__(self, identities: Tensor, *, people: int, each: int, seed: int) -> None:
        self._people, self._each, self._seed = people, each, seed
        order = torch.argsort(identities, stable=True)
        counts = torch.unique(identities, return_counts=True)[1]
        self._pairs = torch.split(order, counts.tolist())
        self._times = (counts // each).clamp(min=1)
        if len(counts) < people:
            raise TrainingError(
                f"the train split has {len(counts)} identities, fewer than the {people} of one batch; "
                "lower sampler.identities"
            )
        self.steps = self._most_batches()

    def _most_batches(self) -> int:
        low, high = 1, int(self._times.sum()) // self._people
        while low < high:
            middle = (low + high + 1) // 2
            enough = int(self._times.clamp(max=middle).sum()) >= self._people * middle
            low, high = (middle, high) if enough else (low, middle - 1)
        return max(low, 1)

    def order(self, epoch: int) -> Tensor:
        rng = seeded(self._seed, epoch)
        visits = self._visits(rng)
        rows = {n: self._rows(n, int(count), rng) for n, count in enumerate(torch.bincount(visits)) if count}
        # Dealing a list sorted by identity round the batches puts no identity twice into one (McNaughton's wrap-round).
        dealt = visits.view(self._people, self.steps).T[torch.randperm(self.steps, generator=rng)].reshape(-1)
        taken = dict.fromkeys(rows, 0)
        chosen: list[Tensor] = []
        for identity in dealt.tolist():
            chosen.append(rows[identity][taken[identity]])
            taken[identity] += 1
        return torch.cat(chosen)

    def _visits(self, rng: torch.Generator) -> Tensor:
        """(people * steps,) identities, equal ones side by side, none more often than there are batches."""
        times = self._times.clamp(max=self.steps)
        all_visits = torch.repeat_interleave(torch.arange(len(times)), times)
        kept = torch.randperm(len(all_visits), generator=rng)[: self._people * self.steps]
        place = torch.randperm(len(times), generator=rng)
        visits = all_visits[kept]
        return visits[torch.argsort(place[visits], stable=True)]

    def _rows(self, identity: int, times: int, rng: torch.Generator) -> Tensor:
        """(times, each) pairs of one identity, none twice unless there are too few."""
        own = self._pairs[identity]
        shuffled = own[torch.randperm(len(own), generator=rng)]
        return shuffled.repeat(-(-self._each // len(own)))[: times * self._each].view(times, self._each)
