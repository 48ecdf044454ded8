"""The optimiser of a recipe with its parameter groups."""

import re

import torch
from torch import nn

from training.errors import RecipeError, TrainingError
from training.recipe import OptimiserPart


def build_optimiser(module: nn.Module, part: OptimiserPart) -> torch.optim.Optimizer:
    """Adam or AdamW over the parameters that take gradients, grouped by learning rate and weight decay.

    Raises:
        RecipeError: a rule of `part.groups` that matches no parameter.
        TrainingError: no parameter takes gradients.
    """
    _refuse_idle_rules(module, part)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(settings_of(name, parameter, part), []).append(parameter)
    if not groups:
        raise TrainingError("the method trains nothing: none of its parameters takes gradients")
    named = [
        {"params": parameters, "lr": lr, "weight_decay": decay, "base_lr": lr}
        for (lr, decay), parameters in groups.items()
    ]
    kind = torch.optim.AdamW if part.name == "adamw" else torch.optim.Adam
    return kind(named, lr=part.lr, betas=part.betas, eps=part.eps)


def settings_of(name: str, parameter: nn.Parameter, part: OptimiserPart) -> tuple[float, float]:
    """(learning rate, weight decay) of one parameter: the general rules, then `part.groups` in order, later wins.

    Parameters that their module marks `_no_weight_decay` (Mamba's A_log and D) take none unless a rule names one.
    """
    lr = part.lr * (part.bias_lr if name.endswith("bias") else 1.0)
    decayed = (parameter.ndim > 1 or part.decay_vectors) and not getattr(parameter, "_no_weight_decay", False)
    decay = part.weight_decay if decayed else 0.0
    for rule in part.groups:
        if re.search(rule.match, name):
            if rule.lr is not None:
                lr = rule.lr
            elif rule.lr_factor is not None:
                lr = part.lr * rule.lr_factor
            if rule.weight_decay is not None:
                decay = rule.weight_decay
    return lr, decay


def _refuse_idle_rules(module: nn.Module, part: OptimiserPart) -> None:
    names = [name for name, _ in module.named_parameters()]
    for index, rule in enumerate(part.groups):
        if not any(re.search(rule.match, name) for name in names):
            roots = ", ".join(sorted({".".join(name.split(".")[:2]) for name in names}))
            raise RecipeError(
                f"optimiser.groups[{index}] matches no parameter: {rule.match!r}; leave it out, or match one of {roots}"
            )
