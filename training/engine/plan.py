"""What a run would be, before there is one: whether its recipe holds, how many steps it has, how long they take."""

import time
from dataclasses import asdict, dataclass

import torch

from models.checkpoint import read_info
from models.encoder import PersonEncoder
from training.engine.optimisation import build_optimiser
from training.errors import TrainingError
from training.methods import METHODS, build_method
from training.methods.base import Batch, TrainSize
from training.networks.building import build_encoder
from training.networks.start import check_start
from training.processes.ranks import Share
from training.recipe import Recipe

_MEASURED, _WORDS = 3, 24
_PLAIN = ("clip_baseline", "dgcmia", "lgur")
"""Methods that need no more than pairs: those of one stage, without pictures or parsed descriptions."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run on a number of image-text pairs.

    Attributes:
        steps: of the whole run.
        seconds_per_step: measured on random pictures and words, without their decoding; None if that was not asked for,
            or cannot be had for the method.
        seconds: of all steps at that speed, without evaluations.
    """

    recipe: str
    method: str
    batch: int
    epochs: int
    pairs: int
    steps: int
    seconds_per_step: float | None
    seconds: float | None

    def to_dict(self) -> dict[str, str | int | float | None]:
        """JSON-ready."""
        return asdict(self)


def make_plan(recipe: Recipe, pairs: int, *, device: str = "auto", measure: bool = False) -> Plan:
    """Check a recipe against the checkpoint that it starts from and the pairs that there are.

    Args:
        measure: take the time of a step; for recipes that start from a checkpoint.

    Raises:
        TrainingError: another method's checkpoint, fewer pairs than a batch, or a precision that the device lacks.
        CheckpointError: the checkpoint cannot be read.
    """
    if recipe.encoder.start is not None:
        check_start(recipe.method, read_info(recipe.encoder.start))
    if recipe.encoder.towers is not None:
        read_info(recipe.encoder.towers)
    if pairs < recipe.batch:
        raise TrainingError(
            f"there are {pairs:,} image-text pairs to train on, fewer than one batch of {recipe.batch}: describe more "
            "images, add a data set, or lower `batch`"
        )
    steps = pairs // recipe.batch * recipe.epochs
    measured = measure and recipe.encoder.start is not None and recipe.method in _PLAIN and not recipe.before
    took = _seconds_per_step(recipe, pairs, device) if measured else None
    return Plan(
        recipe=recipe.name,
        method=recipe.method,
        batch=recipe.batch,
        epochs=recipe.epochs,
        pairs=pairs,
        steps=steps,
        seconds_per_step=took and round(took, 4),
        seconds=took and round(took * steps, 1),
    )


def _seconds_per_step(recipe: Recipe, pairs: int, device: str) -> float:
    """Of the fastest of a few real steps, after one that warms up."""
    from training.engine.steps import Stepper
    from training.processes.launch import accelerate  # seconds, which a check without a measurement does without

    accelerator = accelerate(recipe, device)
    encoder = build_encoder(recipe, ())
    method = build_method(recipe, encoder, TrainSize(pairs, pairs, pairs))
    if accelerator.device.type == "cpu":
        method = method.to(memory_format=torch.channels_last)
    prepared, optimiser = accelerator.prepare(method, build_optimiser(method, recipe.optimiser))
    stepper = Stepper(
        accelerator, prepared, optimiser, share=Share(0, 1, recipe.accumulate), clip=recipe.optimiser.clip
    )
    batch = _random_batch(recipe, encoder)
    taken = []
    prepared.train()
    for seed in range(_MEASURED + 1):
        began = time.perf_counter()
        stepper.step(batch, seed)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def _random_batch(recipe: Recipe, encoder: PersonEncoder) -> Batch:
    size, pre = recipe.batch, encoder.spec.preprocessing
    rng = torch.Generator().manual_seed(recipe.seed)
    pixels = torch.randn(size, 3, pre.height, pre.width, generator=rng)
    tokenizer = encoder.tokenizer
    words = min(_WORDS, tokenizer.spec.length)
    ids = torch.randint(2, max(3, tokenizer.size), (size, words), generator=rng)
    ids[:, -1] = tokenizer.size - 1  # the end of a text, for tokenizers that have one
    places = torch.arange(size)
    plain = pixels if METHODS[recipe.method].needs_plain else None
    return Batch(pixels, ids, places, places, places, 0, plain)
