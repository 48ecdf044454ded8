"""GradNorm: task weights that bring the tasks' gradients into balance (seed 002, eqs 5 and 6; Chen et al. 2018).

The network's step takes the weights as constants; they have a step of their own, by Adam, on
strength * L_GradNorm + lambda * sum_k (log w_k)^2. Both in one loss, as eq 6 prints it, would drive the weights to
their lower bound, since sum_k w_k L_k falls with them (methods.md 8). The weights of that second loss are
w_k = K exp(s_k) / sum_j exp(s_j); the clip is applied after each of its steps.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from training.processes.ranks import mean_over_ranks

LEAST, MOST = 1e-4, 10.0
"""Bounds of a weight before the weights are made to sum to the number of tasks."""
_BETAS, _EPS = (0.9, 0.999), 1e-8
_LEAST_FIRST, _RATIOS = 1e-4, (0.1, 10.0)


def task_weights(log_weights: Tensor) -> Tensor:
    """w_k = exp(s_k), clipped to [1e-4, 10], then scaled to sum to the number of tasks; (K,) to (K,)."""
    clipped = log_weights.exp().clamp(LEAST, MOST)
    return clipped * (len(clipped) / clipped.sum())


def loss_ratios(losses: Tensor, first: Tensor) -> Tensor:
    """r~_k = (L_k / L_k^0) / mean of them, L^0 >= 1e-4, the result in [0.1, 10]; all (K,)."""
    ratios = losses / first.clamp_min(_LEAST_FIRST)
    return (ratios / ratios.mean().clamp_min(torch.finfo(ratios.dtype).tiny)).clamp(*_RATIOS)


def gradnorm_loss(weights: Tensor, norms: Tensor, pull: Tensor) -> Tensor:
    """sum_k |G_k - pull_k G_1| (eq 5) with G_k = w_k norms_k; the targets take no gradient.

    Since ||grad(w_k L_k)|| is w_k ||grad L_k||, its derivative by w_k needs no second backward pass.

    Args:
        weights: (K,) w.
        norms: (K,) ||grad_theta L_k|| of the unweighted losses; the first task is the reference.
        pull: (K,) r~_k.
    """
    sizes = weights * norms
    return (sizes - (pull * sizes[0]).detach()).abs().sum()


def gradient_norms(losses: Sequence[Tensor], shared: nn.Parameter) -> Tensor:
    """(K,) L2 norms of the gradients of the losses by the last shared layer; the graph is kept.

    With several processes these are the norms of the gradients of the whole batch, the same in all of them.
    """
    found = []
    for loss in losses:
        gradient = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)[0]
        found.append(torch.zeros_like(shared) if gradient is None else gradient)
    whole = mean_over_ranks(torch.stack(found)).float()
    norms: Tensor = torch.linalg.vector_norm(whole.flatten(1), dim=1)
    return norms


class GradNorm(nn.Module):
    """The weights of K tasks and what their optimiser remembers, all of it buffers, so that a resumed run has them.

    L_k^0 is the mean of the first `warm` iterations (INFERENCE: "the initial loss"); until then all weights are 1.

    Args:
        tasks: names; the gradient of the first one is the reference.
        alpha: 1.5 in the paper.
        role: whether alpha is the weight of L_GradNorm (eq 6, as printed) or the exponent of r~ (Chen et al.).
        lr: of the weights' Adam.
        penalty: lambda of eq 6.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        alpha: float = 1.5,
        role: Literal["weight", "exponent"] = "weight",
        lr: float = 0.025,
        penalty: float = 1e-3,
        warm: int = 50,
    ) -> None:
        super().__init__()
        if not tasks:
            raise ValueError("GradNorm needs at least one task")
        self.tasks = tuple(tasks)
        self.alpha, self.role, self.lr, self.penalty, self.warm = alpha, role, lr, penalty, warm
        self.log_weights: Tensor
        self.first: Tensor
        self.momentum: Tensor
        self.square: Tensor
        self.seen: Tensor
        for name in ("log_weights", "first", "momentum", "square"):
            self.register_buffer(name, torch.zeros(len(self.tasks)))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @property
    def weights(self) -> Tensor:
        """(K,) float32, sum K."""
        return task_weights(self.log_weights)

    @torch.no_grad()
    def update(self, losses: Tensor, norms: Tensor) -> None:
        """One iteration; (K,) unweighted losses, (K,) `gradient_norms`. Numbers that are none change nothing."""
        if not (losses.isfinite().all() and norms.isfinite().all()):
            return
        if self.seen < self.warm:
            self.first += losses / self.warm
        else:
            self._step(self._gradient(losses, norms), int(self.seen) - self.warm + 1)
        self.seen += 1

    def _gradient(self, losses: Tensor, norms: Tensor) -> Tensor:
        pull, strength = loss_ratios(losses, self.first), self.alpha
        if self.role == "exponent":
            pull, strength = pull**self.alpha, 1.0
        with torch.enable_grad():
            free = self.log_weights.clone().requires_grad_()
            # Through the sum of K: differentiated by exp(s) alone, Adam makes as much of the penalty on the reference
            # task, which has no other gradient, as of all else, and the weights never get away from 1.
            weights = len(free) * free.softmax(dim=0)
            loss = strength * gradnorm_loss(weights, norms, pull) + self.penalty * weights.log().square().sum()
            return torch.autograd.grad(loss, free)[0]

    def _step(self, gradient: Tensor, count: int) -> None:
        """Adam (Kingma and Ba), then back to weights that sum to K. A torch optimiser would not be in the state."""
        self.momentum.lerp_(gradient, 1 - _BETAS[0])
        self.square.lerp_(gradient.square(), 1 - _BETAS[1])
        mean, square = self.momentum / (1 - _BETAS[0] ** count), self.square / (1 - _BETAS[1] ** count)
        self.log_weights -= self.lr * mean / (square.sqrt() + _EPS)
        self.log_weights.copy_(task_weights(self.log_weights).log())
