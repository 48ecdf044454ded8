"""The training loop: one readable loop on Accelerate, resumable at the exact step, in one process or several.

All randomness of a step is seeded by (seed, epoch, step), so a resumed run sees the same batches, augmentations and
dropped words as an uninterrupted one, and no generator state needs to be kept.

A run has one stage, or several (`Recipe.before`): each begins with a fresh optimiser over what its method then trains.
"""

import copy
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.checkpoint import CheckpointInfo, read_info
from models.encoder import PersonEncoder
from training.batches.pairs import TrainingPairs
from training.batches.samplers import seeded
from training.datasets.images import MEMORY_LIMIT, ImageSource
from training.engine import selection
from training.engine.optimisation import build_optimiser
from training.engine.pace import Pace, Watch, peak_memory
from training.engine.schedule import learning_rate_factor, set_learning_rate
from training.engine.state import STATE, Parts, Position, load_state, save_state, saved_stage
from training.engine.steps import Done, NotFiniteError, Stepper
from training.errors import LossNotFiniteError, TrainingError
from training.events import Advance, EventLog, progress_bar
from training.methods import METHODS, build_method
from training.methods.base import Method
from training.networks.building import build_encoder
from training.processes.launch import accelerate
from training.processes.ranks import Share, across_ranks, on_this_machine
from training.recipe import Recipe, dump_recipe
from training.records import PersonData, Split

BEST = selection.BEST
_REPORT_SECONDS = 1.0
_STAGES = 3  # the stream of random numbers that begin stages


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
            does not have, a state of another recipe, or stages or a second data set that the method does not know.
    """

    def __init__(
        self, recipe: Recipe, data: PersonData, folder: Path, *, device: str = "auto", restart: bool = False
    ) -> None:
        _refuse_misfit(recipe, data)
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
        self.sources = self._open(data, encoder)
        self.picture_sources = self._open(data.pictures, encoder) if data.pictures else {}
        self.selection = selection.Selection(recipe, data, folder, self.sources, self.picture_sources)
        self.pairs = TrainingPairs(
            data.splits["train"],
            self.sources["train"],
            encoder,
            recipe,
            share=share,
            plain=METHODS[recipe.method].needs_plain,
            pictures=(data.pictures.splits["train"], self.picture_sources["train"]) if data.pictures else None,
        )
        self._build(encoder, share)
        told = dump_recipe(recipe)
        self.position = Position()
        self._enter(saved_stage(folder, recipe=told, data=self.pairs.fingerprint))
        self.position = load_state(folder, self._parts(), recipe=told, data=self.pairs.fingerprint) or self.position
        if self.main:
            (folder / "recipe.yaml").write_text(told, encoding="utf-8")

    def _prepare_folder(self, restart: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if restart and self.main:
            _clear(self.folder)
        self.accelerator.wait_for_everyone()

    def _share(self) -> Share:
        share = Share(self.accelerator.process_index, self.accelerator.num_processes, self.recipe.accumulate)
        sizes = {"pairs": self.recipe.batch}
        if self.recipe.data.pictures:
            sizes["pictures"] = self.recipe.data.pictures.batch
        for what, size in sizes.items():
            if size % (share.world * share.accumulate):
                raise TrainingError(
                    f"the batch of {size} {what} does not divide into {share.world} processes x "
                    f"{share.accumulate} micro-batches; change batch, accumulate or the number of processes"
                )
        return share

    def _open(self, data: PersonData, encoder: PersonEncoder) -> dict[Split, ImageSource]:
        """The pictures of the splits that a run reads."""
        splits: tuple[Split, Split] = ("train", self.recipe.data.select_on)
        limit = MEMORY_LIMIT // on_this_machine()
        return {
            split: ImageSource(
                [record.path for record in data.splits[split]], encoder.spec.preprocessing, memory_limit=limit
            )
            for split in splits
        }

    def _build(self, encoder: PersonEncoder, share: Share) -> None:
        device = self.accelerator.device
        made = build_method(self.recipe, encoder, self.pairs.size)
        made.prepare(self.data.splits["train"])
        method: nn.Module = made
        if device.type == "cpu":
            method = method.to(memory_format=torch.channels_last)  # oneDNN's convolutions run on this layout
        self.method: Any = across_ranks(method, device).to(device)  # a Module, or what Accelerate wraps round it
        self.average = _averaged(encoder, self.recipe.average)
        self._shared = share

    def _enter(self, index: int) -> None:
        """Begin a stage, or come back into one: an optimiser of its own over what the method now trains."""
        # Wrappers of the stage before would keep its optimiser and its list of what takes gradients.
        method = self.method = self.accelerator.unwrap_model(self.method, keep_fp32_wrapper=False)
        self.__dict__.pop("stepper", None)
        self.__dict__.pop("optimiser", None)
        self.accelerator.free_memory()
        torch.manual_seed(seeded(self.recipe.seed, index, _STAGES).initial_seed())
        self.stage = self.recipe.stages[index]
        method.begin_stage(self.stage.name)
        optimiser = build_optimiser(method, self.stage.optimiser)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)  # Accelerate knows no newer name
            self.method, self.optimiser = self.accelerator.prepare(method, optimiser)
        self.stepper = Stepper(
            self.accelerator,
            self.method,
            self.optimiser,
            share=self._shared,
            average=self.average,
            clip=self.stage.optimiser.clip,
        )
        pictures = self.recipe.data.pictures
        self.pace = Pace(self.recipe.batch + (pictures.batch if pictures else 0))
        self.position.stage = index

    @property
    def encoder(self) -> PersonEncoder:
        """The encoder that is evaluated and saved: the average of the weights where the recipe wants one."""
        chosen = self.average.module if self.average else self.accelerator.unwrap_model(self.method).encoder
        assert isinstance(chosen, PersonEncoder)
        return chosen

    @property
    def epochs(self) -> int:
        """Epochs of the whole run."""
        return self.recipe.epochs

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
                self.reach(epoch, log)
                self.train_epoch(epoch, log)
                if self._evaluates_after(epoch):
                    self._evaluate(epoch, log)
                self._save_state()
            if self.main:
                self.selection.calibrate(self.accelerator.device, log)
            self.accelerator.wait_for_everyone()
            log.write("end", best=self.position.best, best_epoch=self.position.best_epoch, seconds=self._seconds())
        finally:
            log.close()
            for source in (*self.sources.values(), *self.picture_sources.values()):
                source.close()
        return read_info(self.folder / BEST)

    def close(self) -> None:
        """Leave the other processes, after which this Trainer cannot train."""
        self.accelerator.end_training()

    def load_images(self) -> None:
        """Decode the pictures into memory, where they fit."""
        for split, source in (*self.sources.items(), *self.picture_sources.items()):
            if split == "train" or self.main:
                with progress_bar(f"reading {split} images", silent=not self.main) as advance:
                    source.load(lambda done, total, report=advance: report(done, total, ""))  # type: ignore[misc]

    def reach(self, epoch: int, log: EventLog) -> None:
        """See that the stage of an epoch has begun; `run` does before each."""
        index = next(n for n, stage in enumerate(self.recipe.stages) if epoch < stage.end)
        if index != self.position.stage:
            self._enter(index)
        if self.recipe.before and self.position.step == self.stage.first * self.pairs.steps:
            log.write(
                "stage",
                stage=self.stage.name,
                epoch=epoch,
                epochs=self.stage.schedule.epochs,
                groups=self._groups(),
            )

    def _groups(self) -> list[dict[str, object]]:
        return [
            {"lr": group["base_lr"], "weight_decay": group["weight_decay"], "tensors": len(group["params"])}
            for group in self.optimiser.param_groups
        ]

    def _of_stage(self) -> dict[str, object]:
        """What events say of the stage, in a run of several."""
        return {"stage": self.stage.name} if self.recipe.before else {}

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
        within = f"{self.stage.name}, " if self.recipe.before else ""
        with progress_bar(f"{within}epoch {epoch + 1}/{self.epochs}", silent=not self.main) as advance:
            for step, batch in enumerate(self.pairs.epoch(epoch, first=first), start=first):
                within_stage = self.position.step - self.stage.first * self.pairs.steps
                factor = learning_rate_factor(within_stage, self.pairs.steps, self.stage.schedule)
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
        log.write("epoch", epoch=epoch, losses=losses, **self._of_stage(), **method.measurements())

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
            groups=self._groups(),
            **self._of_stage(),
        )

    def _name_batch(self, epoch: int, step: int, error: NotFiniteError, log: EventLog) -> TrainingError:
        """Write the event `nan` and give the error to raise."""
        members = self.pairs.members(epoch, step)
        paths = self.pairs.paths(members)
        beside = self.pairs.pictures
        pictures = beside.paths(beside.members(epoch * self.pairs.steps + step)) if beside else []
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
            **self._of_stage(),
            **({"pictures": pictures} if pictures else {}),
        )
        names = ", ".join(Path(path).name for path in paths[:3])
        return LossNotFiniteError(
            f"{error.message} at epoch {epoch + 1}, batch {step + 1}: images {names} and {len(paths) - 3} more, listed "
            f"in the event 'nan' of {self.folder / 'events.jsonl'}. The state before it is kept; look at these images, "
            "lower optimiser.lr, or use precision fp32 (--restart, or another run)"
        )

    def _advance(self, advance: Advance, step: int, done: Done) -> None:
        losses = " ".join(f"{name} {value:.3f}" for name, value in done.losses.items())
        memory = peak_memory(self.accelerator.device) / (1 << 30)
        words = f"{losses}  {self.pace.images_per_second:.0f} images/s  {memory:.1f} GiB  "
        if self.recipe.before:
            words += f"{self.stage.name} ends in {_duration(self._seconds_left(self.stage.end))}, "
        advance(step, self.pairs.steps, f"{words}run ends in {_duration(self._seconds_left(self.epochs))}")

    def _report(self, epoch: int, done: Done, log: EventLog) -> None:
        log.write(
            "step",
            step=self.position.step,
            epoch=epoch,
            losses={name: round(value, 5) for name, value in done.losses.items()},
            lr=self.optimiser.param_groups[0]["lr"],
            seconds=self._seconds(),
            images_per_second=round(self.pace.images_per_second, 1),
            seconds_left=round(self._seconds_left(self.epochs), 1),
            peak_memory=peak_memory(self.accelerator.device),
            skipped=self.position.skipped,
            **self._of_stage(),
            **({"stage_seconds_left": round(self._seconds_left(self.stage.end), 1)} if self.recipe.before else {}),
        )

    def _seconds_left(self, end: int) -> float:
        """Until epoch `end` is reached, at the present stage's speed."""
        steps = self.pairs.steps * end - self.position.step
        now = (self.position.step - 1) // self.pairs.steps
        return self.pace.seconds_left(steps, sum(map(self._evaluates_after, range(now, end))))

    def _evaluates_after(self, epoch: int) -> bool:
        stage = next(stage for stage in self.recipe.stages if epoch < stage.end)
        if epoch + 1 in (stage.end, self.epochs):
            return stage.evaluate
        return stage.evaluate and (epoch + 1 - stage.first) % self.recipe.evaluate_every == 0

    def _evaluate(self, epoch: int, log: EventLog) -> None:
        watch = Watch()
        if self.main:
            self.selection.measure(self.encoder, epoch, self.position, log, **self._of_stage())
        self.accelerator.wait_for_everyone()
        self.pace.evaluation(watch.lap())

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


def _refuse_misfit(recipe: Recipe, data: PersonData) -> None:
    kind = METHODS[recipe.method]
    unknown = [stage.name for stage in recipe.stages if stage.name not in kind.stages]
    if unknown:
        known = ", ".join(kind.stages)
        raise TrainingError(f"the method {recipe.method} knows no stage {', '.join(unknown)}; its stages are: {known}")
    if recipe.data.pictures and not kind.takes_pictures:
        raise TrainingError(f"the method {recipe.method} trains on pairs alone; leave out data.pictures")
    if bool(recipe.data.pictures) != bool(data.pictures):
        one = "names" if recipe.data.pictures else "does not name"
        raise TrainingError(f"the recipe {one} a second data set in data.pictures, which is not what {data.name} holds")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _blend(decay: float) -> Callable[..., None]:
    return cast("Callable[..., None]", get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]


def _averaged(encoder: PersonEncoder, decay: float) -> AveragedModel | None:
    return AveragedModel(copy.deepcopy(encoder), multi_avg_fn=_blend(decay)) if decay else None


def _clear(folder: Path) -> None:
    for name in (STATE, "events.jsonl", "metrics.json"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / BEST, ignore_errors=True)
