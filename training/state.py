"""The state that a killed run resumes from: one safetensors file, written whole or not at all. Never pickle."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from training.errors import TrainingError

STATE = "state.safetensors"


@dataclass(slots=True)
class Position:
    """Where a run stands.

    Attributes:
        step: steps done.
        best: the best value of the selecting metric so far, in percent; -1 before the first evaluation.
        best_epoch: the epoch that gave it, from 0; -1 before.
        seconds: time spent training so far, over all its processes.
    """

    step: int = 0
    best: float = -1.0
    best_epoch: int = -1
    seconds: float = 0.0


def save_state(
    folder: Path, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer, position: Position, recipe: str
) -> None:
    """Write modules, optimiser and position to `folder/state.safetensors`.

    Args:
        recipe: the resolved recipe; resuming under another one is refused.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, module in modules.items():
        tensors |= {f"{prefix}.{name}": value for name, value in module.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    clean = {name: value.detach().to("cpu").contiguous().clone() for name, value in tensors.items()}
    partial = folder / f"{STATE}.partial"
    save_file(clean, partial, metadata={"position": json.dumps(asdict(position)), "recipe": recipe})
    with partial.open("rb") as handle:
        os.fsync(handle.fileno())
    partial.replace(folder / STATE)


def load_state(
    folder: Path, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer, recipe: str
) -> Position | None:
    """Read `save_state`'s file back into modules and optimiser; None when there is no state.

    Raises:
        TrainingError: the file is damaged, or belongs to another recipe.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata()
            if metadata["recipe"] != recipe:
                raise TrainingError(
                    f"{path} belongs to a run with another recipe; give the run another name or folder, or --restart it"
                )
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  not a mapping
            position = Position(**json.loads(metadata["position"]))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise TrainingError(f"{path} cannot be read ({error}); --restart begins the run again") from error
    for prefix, module in modules.items():
        module.load_state_dict(_below(tensors, prefix))
    state = optimiser.state_dict()
    for name, value in _below(tensors, "optimiser").items():
        index, _, key = name.partition(".")
        state["state"].setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(state)
    return position


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
