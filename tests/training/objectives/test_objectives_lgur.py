"""LGUR's objectives against plain loops (methods.md 4, eqs 6 and 7)."""

import math

import pytest
import torch
from torch.nn import functional as F

from training.objectives.identity import PartClassifiers, part_identity
from training.objectives.ranking import ranking


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a @ b) / (a.norm() * b.norm()))


def one_way(a: torch.Tensor, b: torch.Tensor, ids: list[int], margin: float) -> tuple[float, float]:
    """The least and the greatest value that eq 7 can have, over all draws of negatives."""
    least = greatest = 0.0
    found = False
    for i in range(len(ids)):
        pair = cosine(a[i], b[i])
        others = [cosine(a[i], b[j]) for j in range(len(ids)) if ids[j] != ids[i]]
        semi = [margin - pair + s for s in others if pair - margin < s < pair]
        if semi:
            found = True
            least, greatest = least + min(semi), greatest + max(semi)
    if not found:
        last = max(i for i in range(len(ids)) if any(j != ids[i] for j in ids))
        first = next(j for j in range(len(ids)) if ids[j] != ids[last])
        value = max(0.0, margin - cosine(a[last], b[last]) + cosine(a[last], b[first]))
        return value, value
    return least, greatest


@pytest.mark.parametrize("seed", range(8))
def test_ranking_lies_between_the_best_and_the_worst_draw(seed: int) -> None:
    torch.manual_seed(seed)
    a = torch.randn(7, 5)
    b = a + 0.7 * torch.randn(7, 5)
    ids = [0, 0, 1, 2, 3, 3, 4]
    low_ab, high_ab = one_way(a, b, ids, 0.3)
    low_ba, high_ba = one_way(b, a, ids, 0.3)
    value = float(ranking(a, b, torch.tensor(ids), 0.3))
    assert low_ab + low_ba - 1e-5 <= value <= high_ab + high_ba + 1e-5


def test_ranking_is_exact_where_there_is_nothing_to_draw() -> None:
    # Two identities: each anchor has one negative. Cosines: pairs 1 and 1; across 0.8 (semi-hard at 0.3).
    a = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    assert float(ranking(a, a, torch.tensor([0, 1]), 0.3)) == pytest.approx(4 * 0.1, abs=1e-6)


def test_without_semi_hard_negatives_one_triplet_counts() -> None:
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # negatives at 0 and -1: all further than the margin
    assert float(ranking(a, a, torch.tensor([0, 1, 2]), 0.3)) == 0.0
    b = torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # pairs at 0, negatives at 1: harder than semi-hard
    expected = 2 * (0.3 - 0.0 + 1.0)
    assert float(ranking(torch.eye(2), b, torch.tensor([0, 1]), 0.3)) == pytest.approx(expected)


def test_a_batch_of_one_identity_costs_nothing_and_has_a_gradient() -> None:
    a = torch.randn(4, 3, requires_grad=True)
    loss = ranking(a, torch.randn(4, 3), torch.zeros(4, dtype=torch.int64), 0.3)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0.0
    assert a.grad is not None
    assert torch.equal(a.grad, torch.zeros_like(a))


def test_same_identities_are_never_negatives() -> None:
    # The other image of the same person is semi-hard by its score; it must not count.
    a = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]])
    assert float(ranking(a, a, torch.tensor([0, 0, 1]), 0.3)) == 0.0


def test_the_draw_is_uniform_and_follows_the_seed() -> None:
    angle = torch.tensor([0.0, 0.6, 0.65, 0.7])
    a = torch.stack([angle.cos(), angle.sin()], dim=1)
    ids = torch.arange(4)
    values = set()
    for seed in range(40):
        torch.manual_seed(seed)
        first = float(ranking(a, a, ids, 0.3))
        torch.manual_seed(seed)
        assert float(ranking(a, a, ids, 0.3)) == first
        values.add(round(first, 5))
    assert len(values) > 5


def test_part_identity_is_the_mean_of_single_cross_entropies() -> None:
    torch.manual_seed(3)
    heads = PartClassifiers(3, 4, 5)
    with torch.no_grad():
        heads.weight.normal_()
        heads.bias.normal_()
    z, ids = torch.randn(6, 3, 4), torch.tensor([0, 1, 2, 3, 4, 0])
    weight, bias = heads.weight.detach(), heads.bias.detach()
    total = 0.0
    for i in range(6):
        for k in range(3):
            logits = [float(z[i, k] @ weight[k, :, c] + bias[k, c]) for c in range(5)]
            total += math.log(sum(map(math.exp, logits))) - logits[int(ids[i])]
    assert float(part_identity(heads(z), ids).detach()) == pytest.approx(total / 18, abs=1e-5)


def test_classifiers_start_at_indifference() -> None:
    torch.manual_seed(0)
    heads = PartClassifiers(6, 32, 10)
    assert float(heads.weight.std().detach()) == pytest.approx(0.001, rel=0.1)
    loss = part_identity(heads(F.normalize(torch.randn(8, 6, 32), dim=-1)), torch.arange(8))
    assert float(loss.detach()) == pytest.approx(math.log(10), abs=1e-3)
