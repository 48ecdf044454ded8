"""BDAM's objectives against loops and numpy (seed 002, eqs 1, 2 and 4; methods.md 8)."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from training.objectives.decoupling import (
    adversarial,
    gate_regulariser,
    hsic,
    match_probability,
    reverse_gradient,
    reversed_matching,
)
from training.objectives.infonce import infonce
from training.objectives.triplet import squared_triplet


def unit(values: torch.Tensor) -> np.ndarray:
    rows = values.detach().double().numpy()
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.mark.parametrize("count", [2, 5, 9])
def test_hsic_is_the_trace_of_equation_2(count: int) -> None:
    torch.manual_seed(count)
    identity, clothing = torch.randn(count, 4), torch.randn(count, 7)
    k, other = unit(identity) @ unit(identity).T, unit(clothing) @ unit(clothing).T
    h = np.eye(count) - np.ones((count, count)) / count
    expected = np.trace(k @ h @ other @ h) / (count - 1) ** 2
    assert float(hsic(identity, clothing)) == pytest.approx(expected, rel=1e-4)


def test_hsic_is_small_for_independent_and_large_for_equal_features() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(512, 2), torch.randn(512, 2)
    assert float(hsic(one, other)) < 0.01
    assert float(hsic(one, one)) > 0.4  # unit vectors of the plane: two directions, each with half of the variance
    assert float(hsic(one, torch.ones(512, 2))) == pytest.approx(0.0, abs=1e-9)


def test_hsic_does_not_know_the_scale_and_one_image_depends_on_nothing() -> None:
    torch.manual_seed(1)
    one, other = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3)
    assert float(hsic(one.detach(), other)) == pytest.approx(float(hsic(100 * one.detach(), 7 * other)), rel=1e-4)
    alone = hsic(one[:1], other[:1])
    alone.backward()  # type: ignore[no-untyped-call]
    assert float(alone.detach()) == 0.0
    assert one.grad is not None
    assert not one.grad.any()


def test_descending_hsic_makes_features_independent() -> None:
    torch.manual_seed(2)
    shared = torch.randn(64, 3)
    turn = nn.Parameter(torch.randn(3, 3))
    optimiser = torch.optim.Adam([turn], lr=0.05)
    target = torch.cat([shared[:, :1], shared[:, :1].square()], dim=1)
    before = float(hsic(shared @ turn.detach(), target))
    for _ in range(100):
        optimiser.zero_grad()
        hsic(shared @ turn, target).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(hsic(shared @ turn.detach(), target)) < 0.2 * before


def test_the_adversarial_loss_is_equation_1() -> None:
    torch.manual_seed(3)
    features, texts, scale = torch.randn(5, 6), torch.randn(5, 6), 4.0
    cosine = unit(features) @ unit(texts).T
    expected = 0.0
    for i in range(5):
        total = sum(math.exp(scale * cosine[i, j]) for j in range(5))
        chance = math.exp(scale * cosine[i, i]) / total
        assert float(match_probability(features, texts, scale)[i]) == pytest.approx(chance, rel=1e-5)
        expected += -math.log(1 - chance) / 5
    assert float(adversarial(features, texts, scale)) == pytest.approx(expected, rel=1e-5)


def test_the_adversarial_loss_is_bounded_where_clothing_is_found_without_doubt() -> None:
    sure = adversarial(torch.eye(4), torch.eye(4), 1000.0)
    assert float(sure) == pytest.approx(-math.log(1e-6), rel=1e-4)
    alone = torch.randn(1, 3, requires_grad=True)
    loss = adversarial(alone, torch.randn(1, 3), 50.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert alone.grad is not None
    assert alone.grad.isfinite().all()


def test_descending_the_adversarial_loss_hides_the_clothing() -> None:
    torch.manual_seed(4)
    texts = torch.randn(8, 5)
    features = nn.Parameter(texts + 0.5 * torch.randn(8, 5))
    optimiser = torch.optim.Adam([features], lr=0.05)
    before = match_probability(features.detach(), texts, 5.0).mean()
    for _ in range(100):
        optimiser.zero_grad()
        adversarial(features, texts, 5.0).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert match_probability(features.detach(), texts, 5.0).mean() < 0.2 * before


def test_reversing_changes_the_sign_of_the_gradient_and_nothing_else() -> None:
    values = torch.randn(3, 2, requires_grad=True)
    weight = torch.randn(3, 2)
    out = reverse_gradient(values)
    assert torch.equal(out, values)
    (out * weight).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert torch.equal(values.grad, -weight)


def test_reversed_matching_is_two_infonce_terms_that_pull_apart() -> None:
    torch.manual_seed(5)
    identity, clothing = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    texts = torch.randn(6, 4, requires_grad=True)
    ids = torch.tensor([0, 0, 1, 2, 3, 3])
    loss = reversed_matching(identity, clothing, texts, 3.0, ids)
    text = F.normalize(texts, dim=-1)
    terms = [infonce(F.normalize(side, dim=-1), text, 3.0, ids) for side in (clothing, identity)]
    torch.testing.assert_close(loss, terms[0] + terms[1])
    plain = torch.autograd.grad(terms[0] + terms[1], [clothing, identity, texts], retain_graph=True)
    ours = torch.autograd.grad(loss, [clothing, identity, texts])
    torch.testing.assert_close(ours[0], plain[0])
    torch.testing.assert_close(ours[1], -plain[1])
    torch.testing.assert_close(ours[2], plain[2])


def test_the_gate_regulariser_is_a_mean_square_of_each_gate() -> None:
    gate, fusion = torch.tensor([[0.5, 0.9], [0.1, 0.5]]), torch.tensor([0.5, 1.0])
    assert float(gate_regulariser(gate, fusion)) == pytest.approx(0.32 / 4 + 0.25 / 2)
    assert float(gate_regulariser(gate, None)) == pytest.approx(0.08)
    assert float(gate_regulariser(None, fusion)) == pytest.approx(0.125)
    assert float(gate_regulariser(None, None)) == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_the_triplet_loss_takes_the_hardest_of_each_anchor(seed: int) -> None:
    torch.manual_seed(seed)
    features, ids = torch.randn(9, 3), [0, 0, 0, 1, 1, 2, 2, 2, 3]
    rows = unit(features)
    losses = []
    for a in range(9):
        near = [sum((rows[a] - rows[p]) ** 2) for p in range(9) if p != a and ids[p] == ids[a]]
        far = [sum((rows[a] - rows[n]) ** 2) for n in range(9) if ids[n] != ids[a]]
        if near:
            losses.append(max(0.0, max(near) - min(far) + 0.3))
    assert len(losses) == 8
    expected = sum(losses) / len(losses)
    assert float(squared_triplet(features, torch.tensor(ids), 0.3)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("ids", [[0, 0, 0], [0, 1, 2], [0]])
def test_without_positives_or_negatives_a_triplet_costs_nothing(ids: list[int]) -> None:
    features = torch.randn(len(ids), 4, requires_grad=True)
    loss = squared_triplet(features, torch.tensor(ids), 0.3)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0.0
    assert features.grad is not None
    assert not features.grad.any()


def test_equal_features_have_a_finite_gradient() -> None:
    features = torch.ones(4, 3, requires_grad=True)
    ids = torch.tensor([0, 0, 1, 1])
    loss = squared_triplet(features, ids, 0.3) + hsic(features, features) + adversarial(features, features, 50.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    assert features.grad.isfinite().all()
