"""GradNorm against numpy, torch's Adam, and a case whose balance is known (seed 002, eqs 5 and 6)."""

import copy
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from training.objectives.gradnorm import GradNorm, gradient_norms, gradnorm_loss, loss_ratios, task_weights

TASKS = ("infonce", "triplet", "adversarial", "decouple")


def test_weights_are_clipped_and_sum_to_the_number_of_tasks() -> None:
    s = torch.tensor([0.0, 5.0, -20.0, 1.0])
    clipped = np.clip(np.exp(s.double().numpy()), 1e-4, 10)
    weights = task_weights(s)
    np.testing.assert_allclose(weights.numpy(), clipped * 4 / clipped.sum(), rtol=1e-5)
    assert float(weights.sum()) == pytest.approx(4.0)
    assert torch.equal(task_weights(torch.zeros(3)), torch.ones(3))


def test_loss_ratios_are_equation_5s() -> None:
    losses, first = torch.tensor([1.0, 0.5, 3.0, 0.0]), torch.tensor([2.0, 0.5, 1.0, 1.0])
    ratios = np.array([0.5, 1.0, 3.0, 0.0])
    np.testing.assert_allclose(loss_ratios(losses, first).numpy(), np.clip(ratios / ratios.mean(), 0.1, 10), rtol=1e-6)
    tiny = loss_ratios(torch.tensor([1.0, 1e-4]), torch.tensor([1.0, 0.0]))  # L^0 counts as 1e-4 at least
    np.testing.assert_allclose(tiny.numpy(), [1.0, 1.0], rtol=1e-6)
    assert loss_ratios(torch.zeros(3), torch.ones(3)).isfinite().all()


def test_the_gradnorm_loss_and_its_gradient_are_those_of_a_second_backward_pass() -> None:
    torch.manual_seed(0)
    shared, inputs = nn.Parameter(torch.randn(3, 4)), torch.randn(5, 3)
    targets = [torch.randn(5, 4) for _ in range(3)]
    losses = [((inputs @ shared - target) ** 2).mean() * factor for target, factor in zip(targets, (1, 9, 0.1))]  # noqa: B905
    s = torch.tensor([0.2, -0.4, 0.1], requires_grad=True)
    pull = torch.tensor([0.7, 1.4, 0.9])
    # As printed: differentiate the weighted losses with a graph, then their norms by s.
    weights = 3 * s.softmax(dim=0)
    sizes = [torch.autograd.grad(weights[k] * losses[k], shared, create_graph=True)[0].norm() for k in range(3)]
    printed = sum((sizes[k] - (pull[k] * sizes[0]).detach()).abs() for k in range(3))
    ours = gradnorm_loss(weights, gradient_norms(losses, shared), pull)
    torch.testing.assert_close(ours, printed)
    torch.testing.assert_close(torch.autograd.grad(ours, s, retain_graph=True)[0], torch.autograd.grad(printed, s)[0])


def test_gradient_norms_leave_the_graph_and_take_no_part_in_it() -> None:
    shared, other = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    losses = [(shared * 3).sum(), (other * 2).sum()]  # the second one does not reach the shared layer
    norms = gradient_norms(losses, shared)
    np.testing.assert_allclose(norms.numpy(), [6.0, 0.0], rtol=1e-6)
    assert not norms.requires_grad
    assert shared.grad is None
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
    assert shared.grad is not None


def test_the_weights_wait_for_the_first_losses() -> None:
    balance = GradNorm(TASKS, warm=3)
    for value in (1.0, 2.0, 6.0):
        balance.update(torch.full((4,), value), torch.tensor([1.0, 9.0, 1.0, 1.0]))
        assert torch.equal(balance.weights, torch.ones(4))
    assert torch.allclose(balance.first, torch.full((4,), 3.0))
    balance.update(torch.ones(4), torch.tensor([1.0, 9.0, 1.0, 1.0]))
    assert not torch.equal(balance.weights, torch.ones(4))


@pytest.mark.parametrize("role", ["weight", "exponent"])
def test_a_step_is_torchs_adam_on_equation_6(role: Literal["weight", "exponent"]) -> None:
    torch.manual_seed(1)
    balance = GradNorm(TASKS, warm=1, role=role, penalty=0.1)
    first = torch.rand(4) + 0.5
    balance.update(first, torch.ones(4))
    s = nn.Parameter(torch.zeros(4))
    adam = torch.optim.Adam([s], lr=0.025)
    for _ in range(7):
        losses, norms = torch.rand(4) + 0.1, torch.rand(4) * 3
        pull = loss_ratios(losses, first)
        strength, pull = (1.5, pull) if role == "weight" else (1.0, pull**1.5)
        adam.zero_grad()
        weights = 4 * s.exp() / s.exp().sum()
        loss = strength * gradnorm_loss(weights, norms, pull) + 0.1 * (weights.log() ** 2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        with torch.no_grad():
            s.copy_(task_weights(s).log())
        balance.update(losses, norms)
        torch.testing.assert_close(balance.log_weights, s.detach())
        assert float(balance.weights.sum()) == pytest.approx(4.0, rel=1e-5)


def test_weighted_gradients_come_into_balance() -> None:
    """Two tasks that train alike, one of them with gradients nine times as large: 1.8 and 0.2 balance them."""
    balance = GradNorm(("small", "large"), warm=1)
    norms = torch.tensor([1.0, 9.0])
    for _ in range(400):
        balance.update(torch.ones(2), norms)
    assert float((balance.weights * norms).diff().abs()) < 0.1 * 8
    np.testing.assert_allclose(balance.weights.numpy(), [1.8, 0.2], atol=0.06)


def test_a_task_that_lags_behind_is_given_weight() -> None:
    balance = GradNorm(("ahead", "behind"), warm=1)
    balance.update(torch.ones(2), torch.ones(2))
    for _ in range(100):
        balance.update(torch.tensor([0.5, 1.0]), torch.ones(2))  # r~ is 2/3 and 4/3
    weights = balance.weights
    assert 1.2 < float(weights[1] / weights[0]) < 2.5


def test_numbers_that_are_none_change_nothing_and_silent_tasks_stay_finite() -> None:
    balance = GradNorm(TASKS, warm=1)
    balance.update(torch.ones(4), torch.ones(4))
    kept = copy.deepcopy(balance.state_dict())
    balance.update(torch.tensor([1.0, float("nan"), 1.0, 1.0]), torch.ones(4))
    balance.update(torch.ones(4), torch.tensor([1.0, float("inf"), 1.0, 1.0]))
    assert all(torch.equal(kept[name], value) for name, value in balance.state_dict().items())
    for _ in range(50):
        balance.update(torch.zeros(4), torch.zeros(4))
    assert balance.weights.isfinite().all()


def test_one_task_alone_keeps_weight_one() -> None:
    balance = GradNorm(("only",), warm=1)
    for value in (1.0, 0.5, 0.1):
        balance.update(torch.tensor([value]), torch.tensor([3.0]))
    assert float(balance.weights) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least one task"):
        GradNorm(())


def test_going_on_from_a_copy_of_the_buffers_is_going_on() -> None:
    torch.manual_seed(2)
    numbers = [(torch.rand(4) + 0.1, torch.rand(4)) for _ in range(20)]
    whole, stopped = GradNorm(TASKS, warm=4), GradNorm(TASKS, warm=4)
    for pair in numbers:
        whole.update(*pair)
    for pair in numbers[:9]:
        stopped.update(*pair)
    resumed = GradNorm(TASKS, warm=4)
    resumed.load_state_dict(stopped.state_dict())
    for pair in numbers[9:]:
        resumed.update(*pair)
    assert torch.equal(whole.log_weights, resumed.log_weights)
