"""The training loop: one readable loop on Accelerate, resumable at the exact step, in one process or several.

All randomness of a step is seeded by (seed, epoch, step), so a resumed run sees the same batches, augmentations and
dropped words as an uninterrupted one, and no generator state needs to be kept.
"""

import copy
import json
import os
import shutil
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.checkpoint import CheckpointInfo, read_info, save_checkpoint
from models.encoder import PersonEncoder
from training.calibration import calibrate
from training.errors import DatasetError, TrainingError
from training.evaluation import Metrics, embed_split
from training.events import Advance, EventLog, progress_bar
from training.images import MEMORY_LIMIT, ImageSource
from training.methods import METHODS, build_method
from training.methods.base import Method
from training.model_card import model_card
from training.networks import build_encoder
from training.optimisation import build_optimiser
from training.pace import Pace, Watch, peak_memory
from training.pairs import TrainingPairs
from training.ranks import Share, across_ranks, on_this_machine
from training.recipe import Recipe, dump_recipe
from training.records import PersonData
from training.samplers import seeded
from training.schedule import learning_rate_factor, set_learning_rate
from training.state import STATE, Parts, Position, load_state, save_state
from training.steps import Done, NotFiniteError, Stepper

BEST = "best"
_REPORT_SECONDS = 1.0
_LONGEST_WAIT = timedelta(hours=2)  # processes wait for one another through an evaluation


class Trainer:
    """One run of a recipe on a data set, in a folder of its own.

    The folder receives recipe.yaml, events.jsonl, state.safetensors (what a killed run resumes from), best/ (the
    checkpoint of the best epoch on `data.select_on`) and metrics.json.

    Under torchrun every process makes a Trainer and runs it; the first one (`main`) evaluates and writes, all read the
    folder, so several machines must share it. A run may go on with another number of processes.

    Args:
        device: "auto" (Accelerate's choice), or "cpu".
        restart: begin again even if the folder holds a state.

    Raises:
        TrainingError: too little data, a batch that does not divide into the processes, a precision that the device
            does not have, or a state of another recipe.
    """

    def __init__(
        self, recipe: Recipe, data: PersonData, folder: Path, *, device: str = "auto", restart: bool = False
    ) -> None:
        self.recipe, self.data, self.folder = recipe, data, folder
        self.accelerator = accelerate(recipe, device)
        self.main: bool = self.accelerator.is_main_process
        self._prepare_folder(restart)
        share = self._share()
        split = recipe.data.select_on
        if not any(record.descriptions for record in data.splits[split]):
            raise TrainingError(f"{data.name} has no descriptions in its {split} split, which chooses the best epoch")
        torch.manual_seed(recipe.seed)
        encoder = build_encoder(recipe, data.splits["train"])
        self.sources = {
            split: ImageSource(
                [record.path for record in data.splits[split]],
                encoder.spec.preprocessing,
                memory_limit=MEMORY_LIMIT // on_this_machine(),
            )
            for split in ("train", recipe.data.select_on)
        }
        plain = METHODS[recipe.method].needs_plain
        self.pairs = TrainingPairs(
            data.splits["train"], self.sources["train"], encoder, recipe, share=share, plain=plain
        )
        self._build(encoder, share)
        if self.main:
            (folder / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
        parts, told = self._parts(), dump_recipe(recipe)
        self.position = load_state(folder, parts, recipe=told, data=self.pairs.fingerprint) or Position()
        self.pace = Pace(recipe.batch)

    def _prepare_folder(self, restart: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if restart and self.main:
            _clear(self.folder)
        self.accelerator.wait_for_everyone()

    def _share(self) -> Share:
        share = Share(self.accelerator.process_index, self.accelerator.num_processes, self.recipe.accumulate)
        if self.recipe.batch % (share.world * share.accumulate):
            raise TrainingError(
                f"the batch of {self.recipe.batch} pairs does not divide into {share.world} processes x "
                f"{share.accumulate} micro-batches; change batch, accumulate or the number of processes"
            )
        return share

    def _build(self, encoder: PersonEncoder, share: Share) -> None:
        device = self.accelerator.device
        fresh = build_method(self.recipe, encoder, self.pairs.size)
        fresh.prepare(self.data.splits["train"])
        method: nn.Module = fresh
        if device.type == "cpu":
            method = method.to(memory_format=torch.channels_last)  # oneDNN's convolutions run on this layout
        method = across_ranks(method, device)
        optimiser = build_optimiser(method, self.recipe.optimiser)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)  # Accelerate knows no newer name
            self.method, self.optimiser = self.accelerator.prepare(method, optimiser)
        self.average = _averaged(encoder, self.recipe.average)
        self.stepper = Stepper(
            self.accelerator,
            self.method,
            self.optimiser,
            share=share,
            average=self.average,
            clip=self.recipe.optimiser.clip,
        )

    @property
    def encoder(self) -> PersonEncoder:
        """The encoder that is evaluated and saved: the average of the weights where the recipe wants one."""
        chosen = self.average.module if self.average else self.accelerator.unwrap_model(self.method).encoder
        assert isinstance(chosen, PersonEncoder)
        return chosen

    @property
    def epochs(self) -> int:
        """Epochs of the whole run."""
        return self.recipe.schedule.epochs

    def run(self) -> CheckpointInfo:
        """Train to the end of the schedule and return the best checkpoint.

        Raises:
            TrainingError: a loss that is not a number; the last saved state stays.
        """
        log = EventLog(self.folder, silent=not self.main)
        try:
            self.load_images()
            self._start(log)
            for epoch in range(self.position.step // self.pairs.steps, self.epochs):
                self.train_epoch(epoch, log)
                if self._evaluates_after(epoch):
                    self._evaluate(epoch, log)
                self._save_state()
            if self.main:
                self._calibrate(log)
            self.accelerator.wait_for_everyone()
            log.write("end", best=self.position.best, best_epoch=self.position.best_epoch, seconds=self._seconds())
        finally:
            log.close()
            for source in self.sources.values():
                source.close()
        return read_info(self.folder / BEST)

    def close(self) -> None:
        """Leave the other processes, after which this Trainer cannot train."""
        self.accelerator.end_training()

    def load_images(self) -> None:
        """Decode the pictures into memory, where they fit."""
        for split, source in self.sources.items():
            if split == "train" or self.main:
                with progress_bar(f"reading {split} images", silent=not self.main) as advance:
                    source.load(lambda done, total, report=advance: report(done, total, ""))  # type: ignore[misc]

    def train_epoch(self, epoch: int, log: EventLog) -> None:
        """The steps of an epoch that are still to be done.

        Raises:
            TrainingError: a loss or gradient that is not a number; the event `nan` names the batch.
        """
        self.method.train()
        method: Method = self.accelerator.unwrap_model(self.method)
        method.begin_epoch(epoch)
        first = self.position.step - epoch * self.pairs.steps
        watch, unreported = Watch(), 0.0
        sums: dict[str, float] = {}
        with progress_bar(f"epoch {epoch + 1}/{self.epochs}", silent=not self.main) as advance:
            for step, batch in enumerate(self.pairs.epoch(epoch, first=first), start=first):
                factor = learning_rate_factor(self.position.step, self.pairs.steps, self.recipe.schedule)
                set_learning_rate(self.optimiser, factor)
                try:
                    done = self.stepper.step(batch, seeded(self.recipe.seed, epoch, step, 1).initial_seed())
                except NotFiniteError as error:
                    raise self._name_batch(epoch, step, error, log) from error
                sums = {name: sums.get(name, 0.0) + value for name, value in done.losses.items()}
                self.position.step += 1
                self.position.skipped += done.skipped
                took = watch.lap()
                self.position.seconds += took
                self.pace.step(took)
                unreported += took
                if unreported >= _REPORT_SECONDS or step + 1 == self.pairs.steps:
                    unreported = 0.0
                    self._report(epoch, done, log)
                self._advance(advance, step + 1, done)
                # The last step's state is saved after the evaluation, so that a resumed run never leaves one out.
                if self.position.step % self.recipe.save_every == 0 and step + 1 < self.pairs.steps:
                    self._save_state()
        count = max(self.pairs.steps - first, 1)
        losses = {name: round(value / count, 5) for name, value in sums.items()}
        log.write("epoch", epoch=epoch, losses=losses, **method.measurements())

    def _start(self, log: EventLog) -> None:
        weights = sum(parameter.numel() for parameter in self.encoder.parameters())
        log.write(
            "resume" if self.position.step else "start",
            recipe=self.recipe.name,
            step=self.position.step,
            steps=self.pairs.steps * self.epochs,
            parameters=weights,
            precision=self.accelerator.mixed_precision,
            device=str(self.accelerator.device),
            notes=list(self.data.notes),
            processes=self.accelerator.num_processes,
            groups=[
                {"lr": group["base_lr"], "weight_decay": group["weight_decay"], "tensors": len(group["params"])}
                for group in self.optimiser.param_groups
            ],
        )

    def _name_batch(self, epoch: int, step: int, error: NotFiniteError, log: EventLog) -> TrainingError:
        """Write the event `nan` and give the error to raise."""
        members = self.pairs.members(epoch, step)
        paths = self.pairs.paths(members)
        told = {name: str(value) for name, value in error.losses.items()}  # NaN is not JSON
        log.write(
            "nan",
            epoch=epoch,
            batch=step,
            step=self.position.step,
            losses=told,
            gradient_norm=str(error.norm),
            pairs=members.tolist(),
            images=paths,
        )
        names = ", ".join(Path(path).name for path in paths[:3])
        return TrainingError(
            f"{error.message} at epoch {epoch + 1}, batch {step + 1}: images {names} and {len(paths) - 3} more, listed "
            f"in the event 'nan' of {self.folder / 'events.jsonl'}. The state before it is kept; look at these images, "
            "lower optimiser.lr, or use precision fp32 (--restart, or another run)"
        )

    def _advance(self, advance: Advance, step: int, done: Done) -> None:
        losses = " ".join(f"{name} {value:.3f}" for name, value in done.losses.items())
        memory = peak_memory(self.accelerator.device) / (1 << 30)
        words = f"{losses}  {self.pace.images_per_second:.0f} images/s  {memory:.1f} GiB  run ends in "
        advance(step, self.pairs.steps, words + _duration(self._seconds_left()))

    def _report(self, epoch: int, done: Done, log: EventLog) -> None:
        log.write(
            "step",
            step=self.position.step,
            epoch=epoch,
            losses={name: round(value, 5) for name, value in done.losses.items()},
            lr=self.optimiser.param_groups[0]["lr"],
            seconds=self._seconds(),
            images_per_second=round(self.pace.images_per_second, 1),
            seconds_left=round(self._seconds_left(), 1),
            peak_memory=peak_memory(self.accelerator.device),
            skipped=self.position.skipped,
        )

    def _seconds_left(self) -> float:
        steps = self.pairs.steps * self.epochs - self.position.step
        now = (self.position.step - 1) // self.pairs.steps
        return self.pace.seconds_left(steps, sum(map(self._evaluates_after, range(now, self.epochs))))

    def _evaluates_after(self, epoch: int) -> bool:
        return epoch + 1 == self.epochs or (epoch + 1) % self.recipe.evaluate_every == 0

    def _evaluate(self, epoch: int, log: EventLog) -> None:
        watch = Watch()
        if self.main:
            self._measure(epoch, log)
        self.accelerator.wait_for_everyone()
        self.pace.evaluation(watch.lap())

    def _measure(self, epoch: int, log: EventLog) -> None:
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

    def _parts(self) -> Parts:
        modules: dict[str, nn.Module] = {"method": self.accelerator.unwrap_model(self.method)}
        if self.average:
            modules["average"] = self.average
        return Parts(modules, self.optimiser, self.accelerator.scaler)

    def _save_state(self) -> None:
        if self.main:
            data = self.pairs.fingerprint
            save_state(self.folder, self._parts(), self.position, recipe=dump_recipe(self.recipe), data=data)

    def _seconds(self) -> float:
        return round(self.position.seconds, 2)


def accelerate(recipe: Recipe, device: str) -> Accelerator:
    """Accelerate with the recipe's precision; under torchrun it joins the other processes.

    Raises:
        TrainingError: fp16 without a GPU, or processes that could not be joined.
    """
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


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
