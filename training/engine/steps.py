"""One step of training: micro-batches, loss, gradient, and what to do when one of them is not a number."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.noise import samples_of
from training.errors import TrainingError
from training.methods.base import Batch, Method, Pictures
from training.processes.ranks import Share, mean_over_ranks

_MOST_SKIPPED = 30  # in a row; by then the scale has fallen by 2^30, so the gradient is at fault and not the scale


class NotFiniteError(TrainingError):
    """A loss or a gradient that is not a number; the weights were not changed by it."""

    def __init__(self, losses: dict[str, float], norm: float) -> None:
        self.losses, self.norm = losses, norm
        what = "the loss is" if not all(map(math.isfinite, losses.values())) else f"the gradient has norm {norm} under"
        super().__init__(f"{what} {losses}")


@dataclass(frozen=True, slots=True)
class Done:
    """A step: its loss terms (mean over micro-batches and processes), the norm of its gradient before clipping, and
    whether fp16's scaler left it out because that gradient overflowed."""

    losses: dict[str, float]
    norm: float
    skipped: bool


class Stepper:
    """Makes steps with a prepared method and optimiser.

    Args:
        share: what this process does of a batch.
        average: follows the encoder's weights after every step, where the recipe wants an average.
        clip: largest norm of the gradient; 0 does not clip.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        method: nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        share: Share,
        average: AveragedModel | None = None,
        clip: float = 0.0,
    ) -> None:
        self._accelerator, self._method, self._optimiser = accelerator, method, optimiser
        self._share, self._average, self._clip = share, average, clip
        self._parameters = [parameter for parameter in method.parameters() if parameter.requires_grad]
        self._skipped = 0

    def step(self, batch: Batch, seed: int) -> Done:
        """One step on this process's share of a batch.

        Args:
            seed: of all random numbers within; the same in every process.

        Raises:
            NotFiniteError: before the weights change.
            TrainingError: fp16's gradients overflow whatever the scale.
        """
        torch.manual_seed(seed)
        parts = cut(self._moved(batch), self._share.accumulate)
        micro = len(batch.pairs) * self._share.world // len(parts)
        rows = Share(self._share.rank, self._share.world).rows(micro)
        sums: dict[str, Tensor] = {}
        for index, part in enumerate(parts):
            waits = index + 1 < len(parts)
            with self._accelerator.no_sync(self._method) if waits else nullcontext(), samples_of(rows, micro):
                terms: dict[str, Tensor] = self._method(part)
                self._accelerator.backward(torch.stack(list(terms.values())).sum() / len(parts))
            for name, value in terms.items():
                mine = value.detach().float() / len(parts)
                sums[name] = sums[name] + mine if name in sums else mine
        norm = self._gradient_norm()
        # One read for all numbers: on a GPU each read waits for everything before it.
        *values, size = mean_over_ranks(torch.stack([*sums.values(), norm])).tolist()
        losses = dict(zip(sums, values, strict=True))
        scaled = self._accelerator.scaler is not None
        if not all(map(math.isfinite, values)) or not (scaled or math.isfinite(size)):
            raise NotFiniteError(losses, size)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return Done(losses, size, self._was_skipped(size))

    def _gradient_norm(self) -> Tensor:
        if self._clip:
            norm: Tensor = self._accelerator.clip_grad_norm_(self._parameters, self._clip)
            return norm.float()
        self._accelerator.unscale_gradients()
        present = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        return torch.nn.utils.get_total_norm(present).float()

    def _was_skipped(self, norm: float) -> bool:
        if self._accelerator.scaler is not None and not math.isfinite(norm):
            self._skipped += 1
            if self._skipped > _MOST_SKIPPED:
                raise TrainingError(
                    f"fp16 left out {self._skipped} steps in a row: their gradients overflow at any scale; "
                    "use precision bf16 or fp32"
                )
            return True
        self._skipped = 0
        if self._average:
            method: Method = self._accelerator.unwrap_model(self._method)
            self._average.update_parameters(method.encoder)
        return False

    def _moved(self, batch: Batch) -> Batch:
        device = self._accelerator.device
        layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
        return replace(
            batch,
            pixels=batch.pixels.to(device, memory_format=layout),
            token_ids=batch.token_ids.to(device),
            identities=batch.identities.to(device),
            pairs=batch.pairs.to(device),
            images=batch.images.to(device),
            plain=None if batch.plain is None else batch.plain.to(device, memory_format=layout),
            pictures=self._moved_pictures(batch.pictures),
        )

    def _moved_pictures(self, pictures: Pictures | None) -> Pictures | None:
        if pictures is None:
            return None
        device = self._accelerator.device
        layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
        return Pictures(
            pictures.pixels.to(device, memory_format=layout),
            pictures.identities.to(device),
            pictures.cameras.to(device),
            pictures.images.to(device),
        )


def cut(batch: Batch, parts: int) -> list[Batch]:
    """The batch as `parts` batches of equal size, in order; its pictures are cut likewise."""
    if parts == 1:
        return [batch]
    names = ("pixels", "token_ids", "identities", "pairs", "images", "plain")
    return [
        replace(batch, **_piece(batch, names, part, parts), pictures=_cut_pictures(batch.pictures, part, parts))
        for part in range(parts)
    ]


def _cut_pictures(pictures: Pictures | None, part: int, parts: int) -> Pictures | None:
    if pictures is None:
        return None
    return replace(pictures, **_piece(pictures, ("pixels", "identities", "cameras", "images"), part, parts))


def _piece(whole: Batch | Pictures, names: Sequence[str], part: int, parts: int) -> dict[str, Any]:
    size = len(whole.identities) // parts
    values = {name: getattr(whole, name) for name in names}
    return {name: value[part * size : (part + 1) * size] for name, value in values.items() if value is not None}
