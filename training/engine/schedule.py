"""The learning-rate schedule of a recipe, as a factor on every group's base learning rate."""

import math

import torch

from training.recipe import SchedulePart


def learning_rate_factor(step: int, steps_per_epoch: int, part: SchedulePart) -> float:
    """Factor at a step (from 0): linear warm-up, then the recipe's shape (methods.md 1.5, 4, 7)."""
    if part.per == "epoch":
        step = step // steps_per_epoch * steps_per_epoch
    warm = part.warmup * steps_per_epoch
    if step < warm:
        return part.warmup_from + (1 - part.warmup_from) * step / warm
    if part.shape == "steps":
        return math.prod(part.gamma for epoch in part.milestones if step >= epoch * steps_per_epoch)
    if part.shape == "exponential":
        return float(part.gamma ** ((step - warm) / steps_per_epoch))
    if part.shape == "constant":
        return 1.0
    total = max(part.epochs * steps_per_epoch - warm, 1)
    progress = min((step - warm) / total, 1.0)
    return part.floor + (1 - part.floor) * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Give each group its base learning rate times `factor`."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * factor
