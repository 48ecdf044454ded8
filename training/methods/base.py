"""What the engine knows of a training method."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from models.encoder import PersonEncoder
from training.recipe import MAIN, Recipe
from training.records import Record


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures without words of one forward pass, of a recipe's `data.pictures`, on the training device.

    With several processes or micro-batches P is this process's part of the recipe's `data.pictures.batch`.

    Attributes:
        pixels: (P, 3, H, W) float32, augmented and normalised.
        identities: (P,) int64, numbered together with those of the pairs.
        cameras: (P,) int64, from 0; -1 where the data set does not say.
        images: (P,) int64, the place of each in the train split of its own data set.
    """

    pixels: Tensor
    identities: Tensor
    cameras: Tensor
    images: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """The image-text pairs of one forward pass, on the training device.

    With several processes or micro-batches B is this process's part of the recipe's batch.

    Attributes:
        pixels: (B, 3, H, W) float32, augmented and normalised.
        token_ids: (B, L) int64.
        identities: (B,) int64, from 0 without gaps.
        pairs: (B,) int64, each pair's place among the pairs of the train split: what memory banks are indexed by.
        images: (B,) int64, the place of each pair's image in the train split; captions of one image share it.
        epoch: of the step, from 0 over all stages.
        plain: (B, 3, H, W) float32, resized and normalised only; for methods with `needs_plain`.
        pictures: what the second data set adds to the step, where the recipe names one (`takes_pictures`).
    """

    pixels: Tensor
    token_ids: Tensor
    identities: Tensor
    pairs: Tensor
    images: Tensor
    epoch: int
    plain: Tensor | None = None
    pictures: Pictures | None = None


@dataclass(frozen=True, slots=True)
class TrainSize:
    """How much there is to train on, for what a method sizes by it (memory banks, classifiers).

    Attributes:
        pairs, images: of the text-image set.
        identities: of both sets; those of the pairs come first.
        pictures: images of the second set; 0 without one.
    """

    pairs: int
    images: int
    identities: int
    pictures: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an ablation table: a recipe with some fields changed.

    Attributes:
        name: as the table shall call it; unique within the table.
        overrides: "section.field=value", as `training.recipe.load_recipe` takes them.
        equal_budget: whether it processes as many image-text pairs as the first row. Rows that do not are marked.
    """

    name: str
    overrides: tuple[str, ...] = ()
    equal_budget: bool = True


class Method(nn.Module, ABC):
    """Owns the encoder and what training alone needs (temperatures, classifiers, memory banks).

    What must survive a kill is a parameter or a buffer: the engine saves both, and nothing else of a method.

    Several processes (`training.processes.ranks`): `gather` embeddings, identities and places before a loss that
    compares samples, and update banks from what was gathered: nothing else keeps buffers equal in all processes. A loss
    that is a mean over samples needs no gathering. Random numbers that belong to samples come from
    `models.noise.sample_uniform`, which knows the pairs of a batch and not its pictures; what is drawn after gathering
    is the same in all processes, which are seeded alike.
    """

    needs_plain: ClassVar[bool] = False
    """Whether batches carry `plain`."""
    takes_pictures: ClassVar[bool] = False
    """Whether it trains on `Batch.pictures`; a recipe with `data.pictures` is refused for others."""
    stages: ClassVar[tuple[str, ...]] = (MAIN,)
    """Names of the stages that it knows, the main one among them; a recipe with others is refused."""

    def __init__(self, encoder: PersonEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.stage = MAIN

    @classmethod
    def ablation(cls, recipe: Recipe) -> tuple[Row, ...]:
        """The rows of the method's ablation table, the one to compare with first; empty if it has none."""
        return ()

    def prepare(self, records: tuple[Record, ...]) -> None:
        """Called once, before the first step or a state is read, with the train split that `Batch.pairs` numbers.

        What is learnt of it need not survive a kill: a resumed run calls it again.
        """
        return

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted loss terms by name, each a scalar; the step minimises their sum."""

    def begin_stage(self, stage: str) -> None:
        """Called before a stage's optimiser is made, and at a resume within the stage before the state is read back.

        Here a method freezes and frees parameters (`requires_grad_`): the optimiser takes those that are free, and
        nobody else trains. It may fill buffers with what the stage before gave; a resume puts the saved ones over them.
        Every process calls it, with the same weights. `self.stage` says the stage from then on.
        """
        self.stage = stage

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of every epoch, and at a resume within one."""
        return

    def measurements(self) -> dict[str, float]:
        """What the epoch's event shall say beside the losses, by the first process; called at the end of an epoch."""
        return {}
