"""The training loop: one readable loop on Accelerate, resumable at the exact step.

All randomness of a step is seeded by (seed, epoch, step), so a resumed run sees the same batches, augmentations and
dropped words as an uninterrupted one, and no generator state needs to be kept.
"""

import copy
import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.checkpoint import CheckpointInfo, read_info, save_checkpoint
from models.encoder import PersonEncoder
from training.calibration import calibrate
from training.errors import DatasetError, TrainingError
from training.evaluation import Metrics, embed_split
from training.events import Advance, EventLog, progress_bar
from training.images import ImageSource
from training.methods import METHODS, build_method
from training.methods.base import Batch, Method
from training.model_card import model_card
from training.networks import build_encoder
from training.optimisation import build_optimiser, learning_rate_factor, set_learning_rate
from training.pairs import TrainingPairs, seeded
from training.recipe import Recipe, dump_recipe
from training.records import PersonData
from training.state import STATE, Position, load_state, save_state

BEST = "best"
_REPORT_SECONDS = 1.0


class Trainer:
    """One run of a recipe on a data set, in a folder of its own.

    The folder receives recipe.yaml, events.jsonl, state.safetensors (what a killed run resumes from), best/ (the
    checkpoint of the best epoch on `data.select_on`) and metrics.json.

    Args:
        device: "auto" (Accelerate's choice), or "cpu".
        restart: begin again even if the folder holds a state.

    Raises:
        TrainingError: several processes, too little data, or a state of another recipe.
    """

    def __init__(
        self, recipe: Recipe, data: PersonData, folder: Path, *, device: str = "auto", restart: bool = False
    ) -> None:
        self.recipe, self.data, self.folder = recipe, data, folder
        folder.mkdir(parents=True, exist_ok=True)
        if restart:
            _clear(folder)
        self.accelerator = Accelerator(mixed_precision=_precision(recipe, device), cpu=device == "cpu")
        if self.accelerator.num_processes > 1:
            raise TrainingError("this version trains in one process; start it without torchrun")
        split = recipe.data.select_on
        if not any(record.descriptions for record in data.splits[split]):
            raise TrainingError(f"{data.name} has no descriptions in its {split} split, which chooses the best epoch")
        torch.manual_seed(recipe.seed)
        encoder = build_encoder(recipe, data.splits["train"])
        self.sources = {
            split: ImageSource([record.path for record in data.splits[split]], encoder.spec.preprocessing)
            for split in ("train", recipe.data.select_on)
        }
        self.pairs = TrainingPairs(
            data.splits["train"],
            self.sources["train"],
            encoder,
            recipe.augmentation,
            batch=recipe.batch,
            seed=recipe.seed,
            plain=METHODS[recipe.method].needs_plain,
        )
        method = build_method(recipe, encoder, self.pairs.size)
        if self.accelerator.device.type == "cpu":
            method = method.to(memory_format=torch.channels_last)  # oneDNN's convolutions run on this layout
        self.method, self.optimiser = self.accelerator.prepare(method, build_optimiser(method, recipe.optimiser))
        self.average = _averaged(encoder, recipe.average)
        (folder / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
        self.position = load_state(folder, self._modules(), self.optimiser, dump_recipe(recipe)) or Position()

    @property
    def encoder(self) -> PersonEncoder:
        """The encoder that is evaluated and saved: the average of the weights where the recipe wants one."""
        chosen = self.average.module if self.average else self.accelerator.unwrap_model(self.method).encoder
        assert isinstance(chosen, PersonEncoder)
        return chosen

    def run(self) -> CheckpointInfo:
        """Train to the end of the schedule and return the best checkpoint.

        Raises:
            TrainingError: a loss that is not a number; the last saved state stays.
        """
        log = EventLog(self.folder)
        try:
            for split, source in self.sources.items():
                with progress_bar(f"reading {split} images") as advance:
                    source.load(lambda done, total, report=advance: report(done, total, ""))  # type: ignore[misc]
            self._start(log)
            for epoch in range(self.position.step // self.pairs.steps, self.recipe.schedule.epochs):
                self._epoch(epoch, log)
                last = epoch + 1 == self.recipe.schedule.epochs
                if last or (epoch + 1) % self.recipe.evaluate_every == 0:
                    self._evaluate(epoch, log)
                self._save_state()
            self._calibrate(log)
            log.write("end", best=self.position.best, best_epoch=self.position.best_epoch, seconds=self._seconds())
        finally:
            log.close()
            for source in self.sources.values():
                source.close()
        return read_info(self.folder / BEST)

    def _start(self, log: EventLog) -> None:
        weights = sum(parameter.numel() for parameter in self.encoder.parameters())
        log.write(
            "resume" if self.position.step else "start",
            recipe=self.recipe.name,
            step=self.position.step,
            steps=self.pairs.steps * self.recipe.schedule.epochs,
            parameters=weights,
            precision=self.accelerator.mixed_precision,
            device=str(self.accelerator.device),
            notes=list(self.data.notes),
        )

    def _epoch(self, epoch: int, log: EventLog) -> None:
        self.method.train()
        method: Method = self.accelerator.unwrap_model(self.method)
        method.begin_epoch(epoch)
        first = self.position.step - epoch * self.pairs.steps
        reported = began = time.monotonic()
        sums: dict[str, float] = {}
        with progress_bar(f"epoch {epoch + 1}/{self.recipe.schedule.epochs}") as advance:
            for step, batch in enumerate(self.pairs.epoch(epoch, first=first), start=first):
                terms = self._step(epoch, step, batch)
                sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
                self.position.step += 1
                now = time.monotonic()
                self.position.seconds += now - began
                began = now
                if now - reported >= _REPORT_SECONDS or step + 1 == self.pairs.steps:
                    reported = now
                    self._report(epoch, terms, log)
                self._advance(advance, step + 1, terms)
                # The last step's state is saved after the evaluation, so that a resumed run never leaves one out.
                if self.position.step % self.recipe.save_every == 0 and step + 1 < self.pairs.steps:
                    self._save_state()
        done = max(self.pairs.steps - first, 1)
        losses = {name: round(value / done, 5) for name, value in sums.items()}
        log.write("epoch", epoch=epoch, losses=losses, **method.measurements())

    def _step(self, epoch: int, step: int, batch: Batch) -> dict[str, float]:
        factor = learning_rate_factor(self.position.step, self.pairs.steps, self.recipe.schedule)
        set_learning_rate(self.optimiser, factor)
        torch.manual_seed(seeded(self.recipe.seed, epoch, step, 1).initial_seed())
        device = self.accelerator.device
        layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
        moved = replace(
            batch,
            pixels=batch.pixels.to(device, memory_format=layout),
            token_ids=batch.token_ids.to(device),
            identities=batch.identities.to(device),
            pairs=batch.pairs.to(device),
            images=batch.images.to(device),
            plain=None if batch.plain is None else batch.plain.to(device, memory_format=layout),
        )
        terms: dict[str, Tensor] = self.method(moved)
        total = torch.stack(list(terms.values())).sum()
        values = {name: float(value.detach()) for name, value in terms.items()}
        if not math.isfinite(float(total.detach())):
            raise TrainingError(
                f"the loss is {values} at epoch {epoch + 1}, batch {step + 1}; lower optimiser.lr or use precision fp32"
            )
        self.accelerator.backward(total)
        if self.recipe.optimiser.clip:
            self.accelerator.clip_grad_norm_(self.method.parameters(), self.recipe.optimiser.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average:
            self.average.update_parameters(self.accelerator.unwrap_model(self.method).encoder)
        return values

    def _advance(self, advance: Advance, step: int, terms: dict[str, float]) -> None:
        rate = self.position.step * self.recipe.batch / max(self.position.seconds, 1e-9)
        left = (self.pairs.steps * self.recipe.schedule.epochs - self.position.step) * self.recipe.batch / rate
        losses = " ".join(f"{name} {value:.3f}" for name, value in terms.items())
        advance(step, self.pairs.steps, f"{losses}  {rate:.0f} images/s  run ends in {left / 60:.1f} min")

    def _report(self, epoch: int, terms: dict[str, float], log: EventLog) -> None:
        losses = {name: round(value, 5) for name, value in terms.items()}
        lr = self.optimiser.param_groups[0]["lr"]
        log.write("step", step=self.position.step, epoch=epoch, losses=losses, lr=lr, seconds=self._seconds())

    def _evaluate(self, epoch: int, log: EventLog) -> None:
        split = self.recipe.data.select_on
        metrics = embed_split(self.encoder, self.data.splits[split], self.sources[split]).measure()
        log.write("evaluation", epoch=epoch, split=split, metrics=_short(metrics), seconds=self._seconds())
        if metrics.r1 > self.position.best:
            self.position.best, self.position.best_epoch = metrics.r1, epoch
            card = model_card(self.recipe, self.data, metrics, epoch, self.position.seconds)
            save_checkpoint(self.encoder, self.folder / BEST, card=card, precision=self.recipe.stored)
            (self.folder / "metrics.json").write_text(
                json.dumps({"split": split, "epoch": epoch, **metrics.to_dict()}, indent=1) + "\n", encoding="utf-8"
            )

    def _calibrate(self, log: EventLog) -> None:
        """Learn what the best checkpoint's scores mean. A split of single images teaches nothing, and fails nothing."""
        split = self.recipe.data.select_on
        try:
            rule = calibrate(self.folder / BEST, self.data, split, device=self.accelerator.device)
        except DatasetError as error:
            log.write("calibration", skipped=error.message)
        else:
            log.write("calibration", **rule.to_dict())

    def _modules(self) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module] = {"method": self.accelerator.unwrap_model(self.method)}
        return modules | ({"average": self.average} if self.average else {})

    def _save_state(self) -> None:
        save_state(self.folder, self._modules(), self.optimiser, self.position, dump_recipe(self.recipe))

    def _seconds(self) -> float:
        return round(self.position.seconds, 1)


def _blend(decay: float) -> Callable[..., None]:
    return cast("Callable[..., None]", get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]


def _averaged(encoder: PersonEncoder, decay: float) -> AveragedModel | None:
    return AveragedModel(copy.deepcopy(encoder), multi_avg_fn=_blend(decay)) if decay else None


def _precision(recipe: Recipe, device: str) -> str:
    if recipe.precision != "auto":
        return {"fp32": "no"}.get(recipe.precision, recipe.precision)
    if device != "cpu" and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "no"


def _short(metrics: Metrics) -> dict[str, float | int | list[float]]:
    return {name: value for name, value in metrics.to_dict().items() if name != "curve"}


def _clear(folder: Path) -> None:
    for name in (STATE, "events.jsonl", "metrics.json"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / BEST, ignore_errors=True)
