"""Parameter groups and the learning-rate schedule of a recipe."""

import math

import torch
from torch import nn

from training.recipe import OptimiserPart, SchedulePart


def build_optimiser(module: nn.Module, part: OptimiserPart) -> torch.optim.Optimizer:
    """Adam or AdamW; biases, norms and other vectors take no weight decay, biases their own learning rate."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            lr = part.lr * (part.bias_lr if name.endswith("bias") else 1.0)
            decay = part.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((lr, decay), []).append(parameter)
    named = [
        {"params": parameters, "lr": lr, "weight_decay": decay, "base_lr": lr}
        for (lr, decay), parameters in groups.items()
    ]
    kind = torch.optim.AdamW if part.name == "adamw" else torch.optim.Adam
    return kind(named, lr=part.lr, betas=part.betas, eps=part.eps)


def learning_rate_factor(step: int, steps_per_epoch: int, part: SchedulePart) -> float:
    """Factor on every group's base learning rate at a step (from 0): linear warm-up, then half a cosine."""
    warm = part.warmup * steps_per_epoch
    if step < warm:
        return part.warmup_from + (1 - part.warmup_from) * step / warm
    total = max(part.epochs * steps_per_epoch - warm, 1)
    progress = min((step - warm) / total, 1.0)
    return part.floor + (1 - part.floor) * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Give each group its base learning rate times `factor`."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * factor
