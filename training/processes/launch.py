"""How a run meets its machine: device, precision and the other processes, through Accelerate."""

import os
from datetime import timedelta

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

from models.device import chosen_device
from models.errors import DeviceError
from training.errors import TrainingError
from training.recipe import Recipe

_LONGEST_WAIT = timedelta(hours=2)  # processes wait for one another through an evaluation


def accelerate(recipe: Recipe, device: str) -> Accelerator:
    """Accelerate with the recipe's precision; under torchrun it joins the other processes.

    Raises:
        TrainingError: fp16 without a GPU, or processes that could not be joined.
        DeviceError: another device than auto or cpu that is not there, or one GPU of several.
    """
    if ":" in chosen_device(device):
        raise DeviceError(f"a run takes the GPUs that it sees: name them in CUDA_VISIBLE_DEVICES instead of {device!r}")
    gpu = device != "cpu" and (torch.cuda.is_available() or torch.backends.mps.is_available())
    if recipe.precision == "fp16" and not gpu:
        raise TrainingError("precision fp16 needs a GPU; on a CPU use bf16, fp32 or auto")
    # Buffers change alike in all processes, and a method need not use every parameter in every step.
    together = DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=True)
    made = Accelerator(
        mixed_precision=_precision(recipe, device),
        cpu=not gpu,  # left to itself on a machine without GPUs, Accelerate would not join the processes
        kwargs_handlers=[together, InitProcessGroupKwargs(timeout=_LONGEST_WAIT)],
    )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if made.num_processes != started:
        raise TrainingError(f"{started} processes were started, but Accelerate joined {made.num_processes}")
    return made


def _precision(recipe: Recipe, device: str) -> str:
    if recipe.precision != "auto":
        return {"fp32": "no"}.get(recipe.precision, recipe.precision)
    if device != "cpu" and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "no"
