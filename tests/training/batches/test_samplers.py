import pytest
import torch

from training.batches.samplers import ByIdentity, Shuffle, build_sampler
from training.errors import TrainingError
from training.recipe import SamplerPart


def crowd(*counts: int) -> torch.Tensor:
    """Identity n has counts[n] pairs, scattered."""
    identities = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return identities[torch.randperm(len(identities), generator=torch.Generator().manual_seed(3))]


def test_shuffle_takes_each_pair_at_most_once_and_differs_by_epoch() -> None:
    sampler = Shuffle(103, batch=10, seed=5)
    order = sampler.order(0)
    assert sampler.steps == 10
    assert len(set(order.tolist())) == len(order) == 100
    assert torch.equal(order, Shuffle(103, batch=10, seed=5).order(0))
    assert not torch.equal(order, sampler.order(1))
    assert not torch.equal(order, Shuffle(103, batch=10, seed=6).order(0))


@pytest.mark.parametrize(
    ("counts", "steps"),
    [
        ((8,) * 32, 4),  # each comes twice: 64 visits / 16
        ((4,) * 17, 1),
        ((1, 2, 3) * 16, 3),  # too few pairs: each comes once, 48 / 16
        ((400,) + (4,) * 31, 2),  # one with a hundred visits cannot fill batches alone
        ((80,) * 16, 20),
        ((9, 30, 4, 1, 70) * 8, 11),  # 8 x (2 + 7 + 1 + 1 + 11) = 16 x 11
    ],
)
def test_a_pk_batch_has_different_people_with_pairs_of_their_own(counts: tuple[int, ...], steps: int) -> None:
    identities = crowd(*counts)
    sampler = ByIdentity(identities, people=16, each=4, seed=1)
    assert sampler.steps == steps
    for epoch in (0, 7):
        order = sampler.order(epoch).view(steps, 16, 4)
        owners = identities[order]
        assert (owners == owners[..., :1]).all()
        for people in owners[..., 0]:
            assert len(set(people.tolist())) == 16
        for person, count in enumerate(counts):
            own = order[owners == person]
            assert len(set(own.flatten().tolist())) == min(count, len(own))  # none twice, unless there are too few


def test_pk_is_a_matter_of_seed_and_epoch() -> None:
    identities = crowd(*([9, 30, 4, 1] * 8))
    one, again = (ByIdentity(identities, people=8, each=4, seed=1) for _ in range(2))
    assert torch.equal(one.order(2), again.order(2))
    assert not torch.equal(one.order(2), one.order(3))
    assert not torch.equal(one.order(2), ByIdentity(identities, people=8, each=4, seed=2).order(2))


def test_over_epochs_everyone_comes_in() -> None:
    identities = crowd(*([4] * 33))
    sampler = ByIdentity(identities, people=16, each=4, seed=0)
    seen = {pair for epoch in range(12) for pair in sampler.order(epoch).tolist()}
    assert len(seen) == len(identities)


def test_too_few_people_are_told() -> None:
    with pytest.raises(TrainingError, match="15 identities, fewer than the 16"):
        build_sampler(SamplerPart(name="identity"), crowd(*([4] * 15)), batch=64, seed=0)
