"""Several processes that train as one (`torchrun`): what each does of a batch, and what they tell each other.

A recipe's batch is the batch of all processes together. Each takes its slice of it, gathers embeddings before the loss
and so sees the loss of the whole batch; gradients, batch statistics and losses are those of one process with that batch
(up to the order in which floats are added).
"""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F


def world() -> int:
    """Processes that train together; 1 without torchrun."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them, from 0; rank 0 evaluates and writes."""
    return dist.get_rank() if world() > 1 else 0


def on_this_machine() -> int:
    """How many of them share this machine (torchrun says so)."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@dataclass(frozen=True, slots=True)
class Share:
    """What one process does of a batch that is cut into `accumulate` micro-batches, each spread over `world`."""

    rank: int = 0
    world: int = 1
    accumulate: int = 1

    def rows(self, batch: int) -> Tensor:
        """(batch / world,) int64: this process's places in the batch, micro-batch by micro-batch.

        Raises:
            ValueError: a batch that does not divide evenly.
        """
        if batch % (self.world * self.accumulate):
            raise ValueError(f"{batch} pairs do not divide into {self.accumulate} x {self.world}")
        return torch.arange(batch).view(self.accumulate, self.world, -1)[:, self.rank].reshape(-1)


def gather(values: Tensor) -> Tensor:
    """All processes' rows, in the order of the batch: (b, ...) to (b * world, ...); with gradient.

    In one process the argument itself. Every process must call it, with the same shape. The gradient of a row is the
    sum over the losses of all processes; DistributedDataParallel then divides by their number, so that the result is
    the gradient of the mean of their losses: of the loss itself, where all compute the same one.
    """
    if world() == 1:
        return values
    gathered: Tensor = _Gather.apply(values)
    return gathered


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean over all processes, without gradient."""
    if world() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world()


def across_ranks(module: nn.Module, device: torch.device) -> nn.Module:
    """Replace batch norms by ones that count the samples of all processes; the names of their weights stay.

    PyTorch's SyncBatchNorm runs on GPUs only; on the CPU `RankBatchNorm` stands in.

    Args:
        device: on which the module will run.
    """
    if world() == 1:
        return module
    if device.type == "cuda":
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return synchronised
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            setattr(module, name, RankBatchNorm.of(child))
        else:
            across_ranks(child, device)
    return module


class RankBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the samples of all processes: (B, C, ...) to the same shape."""

    @classmethod
    def of(cls, norm: nn.modules.batchnorm._BatchNorm) -> "RankBatchNorm":
        """One that owns the weights and statistics of `norm`."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        made._parameters, made._buffers = norm._parameters, norm._buffers
        return made.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  the name that PyTorch gave it
        if input.dim() < 2:
            raise ValueError(f"expected (B, C, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name that PyTorch gave it
        self._check_input_dim(input)
        if not self.training:
            alone: Tensor = F.batch_norm(
                input,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=self.running_mean is None,
                eps=self.eps,
            )
            return alone
        x = input.float()
        over = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = _Sum.apply(x.new_tensor([x.numel() / x.shape[1]]))
        mean = _Sum.apply(x.sum(over)) / count
        centred = x - mean.view(shape)
        # Two passes: the mean of squares minus the square of the mean loses digits.
        variance = _Sum.apply(centred.square().sum(over)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        y = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        same_type: Tensor = y.to(input.dtype)
        return same_type

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(world())]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(world())[rank()]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total
