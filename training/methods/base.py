"""What the engine knows of a training method."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from models.encoder import PersonEncoder
from training.records import Record

if TYPE_CHECKING:
    from training.recipe import Recipe


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
        epoch: of the step, from 0.
        plain: (B, 3, H, W) float32, resized and normalised only; for methods with `needs_plain`.
    """

    pixels: Tensor
    token_ids: Tensor
    identities: Tensor
    pairs: Tensor
    images: Tensor
    epoch: int
    plain: Tensor | None = None


@dataclass(frozen=True, slots=True)
class TrainSize:
    """How much there is to train on, for what a method sizes by it (memory banks, classifiers)."""

    pairs: int
    images: int
    identities: int


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

    Several processes (training/ranks.py): `gather` embeddings, identities and places before a loss that compares
    samples, and update banks from what was gathered: nothing else keeps buffers equal in all processes. A loss that is
    a mean over samples needs no gathering. Random numbers that belong to samples come from
    `models.noise.sample_uniform`; what is drawn after gathering is the same in all processes, which are seeded alike.
    """

    needs_plain: ClassVar[bool] = False
    """Whether batches carry `plain`."""

    def __init__(self, encoder: PersonEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    @classmethod
    def ablation(cls, recipe: "Recipe") -> tuple[Row, ...]:
        """The rows of the method's ablation table, the one to compare with first; empty if it has none."""
        return ()

    def prepare(self, records: tuple[Record, ...]) -> None:
        """Called once, before the first step or a state is read, with the train split that `Batch.pairs` numbers."""
        return

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted loss terms by name, each a scalar; the step minimises their sum."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of every epoch, and at a resume within one."""
        return

    def measurements(self) -> dict[str, float]:
        """What the epoch's event shall say beside the losses, by the first process; called at the end of an epoch."""
        return {}
