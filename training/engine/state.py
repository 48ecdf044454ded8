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
FORMAT = "2"  # raise it when a state means something else than before


@dataclass(slots=True)
class Position:
    """Where a run stands.

    Attributes:
        step: steps done.
        best: the best value of the selecting metric so far, in percent; -1 before the first evaluation.
        best_epoch: the epoch that gave it, from 0; -1 before.
        seconds: time spent training so far, over all starts of the run.
        skipped: steps that fp16's scaler left out.
        stage: the stage, from 0, whose optimiser the state holds.
    """

    step: int = 0
    best: float = -1.0
    best_epoch: int = -1
    seconds: float = 0.0
    skipped: int = 0
    stage: int = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a state is made of, as live objects: saved from, and loaded into.

    Attributes:
        modules: by name; parameters and buffers of each are kept, memory banks among them.
        scaler: fp16's loss scaler, where there is one.
    """

    modules: Mapping[str, nn.Module]
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler | None = None


def save_state(folder: Path, parts: Parts, position: Position, *, recipe: str, data: str) -> None:
    """Write parts and position to `folder/state.safetensors`.

    Args:
        recipe: the resolved recipe; resuming under another one is refused.
        data: fingerprint of the training pairs; likewise.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, module in parts.modules.items():
        tensors |= {f"{prefix}.{name}": value for name, value in module.state_dict().items()}
    for index, values in parts.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    clean = {name: value.detach().to("cpu").contiguous().clone() for name, value in tensors.items()}
    partial = folder / f"{STATE}.partial"
    scaler = parts.scaler.state_dict() if parts.scaler else None
    metadata = {
        "format": FORMAT,
        "position": json.dumps(asdict(position)),
        "recipe": recipe,
        "data": data,
        "scaler": json.dumps(scaler),
    }
    save_file(clean, partial, metadata=metadata)
    with partial.open("rb") as handle:
        os.fsync(handle.fileno())
    partial.replace(folder / STATE)


def saved_stage(folder: Path, *, recipe: str, data: str) -> int:
    """The stage whose optimiser the state in `folder` holds, for which the parts must be made; 0 without a state.

    Raises:
        TrainingError: as `load_state`.
    """
    path = folder / STATE
    if not path.is_file():
        return 0
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
        _refuse_foreign(path, metadata, recipe=recipe, data=data)
        return Position(**json.loads(metadata["position"])).stage
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error


def load_state(folder: Path, parts: Parts, *, recipe: str, data: str) -> Position | None:
    """Read `save_state`'s file back into the parts; None when there is no state.

    Raises:
        TrainingError: the file is damaged, or belongs to another recipe, other data or another version of Descry.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            _refuse_foreign(path, metadata, recipe=recipe, data=data)
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  not a mapping
        position = Position(**json.loads(metadata["position"]))
        for prefix, module in parts.modules.items():
            module.load_state_dict(_below(tensors, prefix))
        state = parts.optimiser.state_dict()
        for name, value in _below(tensors, "optimiser").items():
            index, _, key = name.partition(".")
            state["state"].setdefault(int(index), {})[key] = value
        parts.optimiser.load_state_dict(state)
        if parts.scaler:
            parts.scaler.load_state_dict(json.loads(metadata["scaler"]))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    return position


def _unreadable(path: Path, error: Exception) -> TrainingError:
    reason = " ".join(str(error).split())
    return TrainingError(f"{path} cannot be read ({reason}); --restart begins the run again")


def _refuse_foreign(path: Path, metadata: Mapping[str, str], *, recipe: str, data: str) -> None:
    way_out = "give the run another name or folder, or --restart it"
    if metadata.get("format") != FORMAT:
        raise TrainingError(f"{path} was written by another version of Descry; {way_out}")
    if metadata["recipe"] != recipe:
        raise TrainingError(f"{path} belongs to a run with another recipe; {way_out}")
    if metadata["data"] != data:
        raise TrainingError(f"{path} belongs to a run on other training data; {way_out}")


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
