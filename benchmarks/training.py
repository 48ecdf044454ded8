"""Training: our engine against a plain PyTorch loop, and a full-size step of a method through the engine."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import Figure, median
from training.batches.pairs import TrainingPairs
from training.datasets import read_dataset
from training.engine.optimisation import build_optimiser
from training.engine.trainer import Trainer
from training.events import EventLog, read_events
from training.methods import build_method
from training.methods.clip_baseline import ClipBaselineMethod
from training.networks.building import build_encoder
from training.objectives.infonce import infonce
from training.recipe import Recipe, load_recipe, read_recipe
from training.records import PersonData

PEOPLE = 120
ROUNDS = 5

FULL_SIZE: dict[str, dict[str, Any]] = {
    "clip_baseline": {
        "encoder": {"backbone": "ViT-B-16-quickgelu", "height": 384, "width": 128},
        "loss": {"infonce": 1.0, "sdm": 0.0, "tau": 0.07},
    },
    "dgcmia": {
        "encoder": {"backbone": "ViT-B-16-quickgelu", "height": 384, "width": 128},
        # Random weights make all features alike: at the paper's 0.7 everything would be taken for one person.
        "dgcmia": {"image_threshold": 0.999, "text_threshold": 0.999, "memory_threshold": 0.999},
    },
    "hkgr": {
        "encoder": {"backbone": "ViT-B-16-quickgelu", "height": 384, "width": 128},
        "hkgr": {"text_aug": "none"},
    },
    "hpl": {
        "encoder": {"backbone": "ViT-B-16-quickgelu", "height": 384, "width": 128},
        "before": [
            {
                "name": "construct",
                "optimiser": {"name": "adam", "lr": 5e-5, "groups": [{"match": "^id_tokens$", "lr": 0.02}]},
                "schedule": {"epochs": 1, "shape": "constant", "warmup": 0},
            }
        ],
    },
    "lgur": {
        "encoder": {"backbone": "deit-small+bert", "height": 384, "width": 128, "length": 100},
        "optimiser": {"name": "adam", "lr": 1e-4, "groups": [{"match": "classifiers|lstm", "lr": 1e-3}]},
    },
}
"""What a full-size recipe of a method says beside the method; add a method by its name."""
FALLS: dict[str, tuple[str, ...]] = {"dgcmia": ("itc", "lrc"), "lgur": ("id", "id_guided")}
"""The terms that must fall, where not their sum must: DGCMIA's global term only begins with the second step, and LGUR's
ranking leaves anchors out that have no semi-hard negative yet."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One measured epoch: wall seconds, and processor seconds of the whole process (user + system)."""

    wall: float
    processor: float


def measure_training(folder: Path) -> list[Figure]:
    """Images/s of `compact` in the engine and in a plain loop: alternated, median of rounds.

    Both take the same batches (pictures in memory, same augmentation, made one ahead), network, optimiser, clipping,
    precision; neither averages weights. Processor time is the second figure: it forgives a busy machine.
    """
    data = _people(folder / "set", PEOPLE)
    recipe = load_recipe("compact-synthetic", ["average=0", "batch=64", "schedule.epochs=1000"])
    trainer = Trainer(recipe, data, folder / "run", device="cpu")
    trainer.load_images()
    plain = _plain_loop(trainer, data)
    log = EventLog(folder / "run", silent=True)
    ours: list[Taken] = []
    theirs: list[Taken] = []
    for epoch in range(ROUNDS + 1):
        runs = {"ours": lambda epoch=epoch: trainer.train_epoch(epoch, log), "theirs": lambda epoch=epoch: plain(epoch)}
        order = ("ours", "theirs") if epoch % 2 else ("theirs", "ours")
        taken = {name: _take(runs[name]) for name in order}
        one, other = taken["ours"], taken["theirs"]
        if epoch:  # the first epoch warms both up
            ours.append(one)
            theirs.append(other)
    images = trainer.pairs.steps * recipe.batch
    for source in trainer.sources.values():
        source.close()
    return [
        Figure(
            f"training compact, {images} images an epoch ({name})",
            images / median([getattr(taken, clock) for taken in ours]),
            unit,
            images / median([getattr(taken, clock) for taken in theirs]),
            "plain PyTorch loop, bar 0.95",
        )
        for name, clock, unit in (
            ("wall", "wall", "images/s"),
            ("processor time", "processor", "images/processor s"),
        )
    ]


def _plain_loop(trainer: Trainer, data: PersonData) -> Callable[[int], None]:
    """What one would write without an engine; a run of its own, with weights of its own."""
    recipe = trainer.recipe
    torch.manual_seed(recipe.seed)
    encoder = build_encoder(recipe, data.splits["train"])
    pairs = TrainingPairs(data.splits["train"], trainer.sources["train"], encoder, recipe)
    method = build_method(recipe, encoder, pairs.size)
    method.to(memory_format=torch.channels_last)
    assert isinstance(method, ClipBaselineMethod)
    scale = method.log_scale
    optimiser = build_optimiser(method, recipe.optimiser)
    bf16 = trainer.accelerator.mixed_precision == "bf16"

    def epoch(number: int) -> None:
        encoder.train()
        for batch in pairs.epoch(number):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                images = encoder.encode_image(batch.pixels.to(memory_format=torch.channels_last))["text"]
                texts = encoder.encode_text(batch.token_ids)
                loss = infonce(images, texts, scale.exp(), batch.identities)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(method.parameters(), recipe.optimiser.clip)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    return epoch


def measure_full_size(folder: Path, method: str, steps: int, batch: int) -> list[Figure]:
    """A full-size method with random weights on one fixed batch through the engine: the loss, or `FALLS`, must fall.

    Raises:
        SystemExit: the loss did not fall.
    """
    recipe = _full_size_recipe(method, steps, batch)
    data = _exactly(_people(folder / "set", batch), batch)
    trainer = Trainer(recipe, data, folder / "run")
    trainer.load_images()
    log = EventLog(folder / "run")
    seconds = []
    for epoch in range(trainer.epochs):  # one batch is the whole epoch
        trainer.reach(epoch, log)
        began = time.perf_counter()
        trainer.train_epoch(epoch, log)
        seconds.append(time.perf_counter() - began)
    log.close()
    told = [event for event in read_events(folder / "run") if event["event"] == "step"][-steps:]  # of the main stage
    losses = [sum(event["losses"][term] for term in FALLS.get(method, event["losses"])) for event in told]
    sys.stderr.write(
        f"{method} {recipe.encoder.backbone} {recipe.encoder.height}x{recipe.encoder.width} batch {batch} "
        f"{trainer.accelerator.mixed_precision} on {trainer.accelerator.device}: "
        f"{sum(p.numel() for p in trainer.encoder.parameters()) / 1e6:.1f} M parameters, "
        f"peak {told[-1]['peak_memory'] / (1 << 30):.1f} GiB, losses {[round(loss, 4) for loss in losses]}\n"
    )
    if not losses[-1] < losses[0]:
        raise SystemExit(f"the loss of {method} did not fall on a fixed batch: {losses}")
    return [
        Figure(f"{method} full size, loss after {steps} steps", losses[-1], "loss", losses[0], "before the first"),
        Figure(f"{method} full size, seconds a step", median(seconds), "s", max(seconds), "slowest step"),
    ]


def _full_size_recipe(method: str, steps: int, batch: int) -> Recipe:
    if method not in FULL_SIZE:
        raise SystemExit(f"no full-size recipe for {method!r}; there are: {', '.join(FULL_SIZE)}")
    content: dict[str, Any] = {
        "name": f"{method}-full-size",
        "method": method,
        "data": {"root": "."},
        "augmentation": {"flip": 0.0, "shift": 0, "erase": 0.0},
        "optimiser": {"name": "adamw", "lr": 1e-5, "betas": [0.9, 0.98]},
        "schedule": {"epochs": steps, "shape": "constant", "warmup": 0},
        "batch": batch,
    }
    return read_recipe(content | FULL_SIZE[method], where=method)


def _people(folder: Path, train: int) -> PersonData:
    words = ["synthesise", str(folder), "--train", str(train), "--val", "8", "--test", "2", "--images", "4"]
    subprocess.run([sys.executable, "-m", "training", *words], check=True, capture_output=True)
    return read_dataset("cuhk_pedes", folder)


def _exactly(data: PersonData, pairs: int) -> PersonData:
    """A train split of `pairs` pictures of as many people, one description each."""
    first = {record.identity: record for record in reversed(data.splits["train"])}
    chosen = tuple(
        type(record)(record.path, record.identity, record.descriptions[:1], record.camera)
        for record in list(first.values())[:pairs]
    )
    return PersonData(data.name, {**data.splits, "train": chosen})


def _take(epoch: Callable[[], None]) -> Taken:
    wall, processor = time.perf_counter(), time.process_time()
    epoch()
    return Taken(time.perf_counter() - wall, time.process_time() - processor)
