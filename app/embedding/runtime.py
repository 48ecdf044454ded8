"""What runs the forward passes. Here: plain PyTorch in float32, on the device that the weights are on.

The others are in `app/embedding/runtimes`; `runtimes.opening.open_runtime` chooses.
"""

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from app.embedding.runtimes.spreading import spread
from models.encoder import PersonEncoder, Space
from models.truncation import cut_texts


class Runtime(Protocol):
    """One pass at a time on the calling thread; several threads may call at once.

    On a CPU a pass takes as many threads as the caller has set for itself with `torch.set_num_threads`, whatever
    library runs it.
    """

    def encode_text(self, ids: Tensor) -> Tensor:
        """Token ids (B, L) int64 on the CPU to (B, dim) float32 on the CPU, unit-norm, in the `text` space."""

    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        """Pictures (B, 3, H, W) uint8 on the CPU to (B, dim) float32 on the CPU for each stored space, unit-norm."""


class PyTorch(ABC):
    """What PyTorch runs in any precision: on a CPU a batch is cut into a piece for each thread of the caller."""

    def __init__(self, encoder: PersonEncoder) -> None:
        self._encoder = encoder
        self._device = next(encoder.parameters(), torch.empty(0)).device

    def encode_text(self, ids: Tensor) -> Tensor:
        """See `Runtime`."""
        return torch.cat(spread(self._texts, ids)) if self._device.type == "cpu" else self._texts(ids)

    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        """See `Runtime`."""
        if self._device.type != "cpu":
            return self._pictures(pixels)
        parts = spread(self._pictures, pixels)
        return {space: torch.cat([part[space] for part in parts]) for space in parts[0]}

    @abstractmethod
    def _texts(self, ids: Tensor) -> Tensor:
        """One pass."""

    @abstractmethod
    def _pictures(self, pixels: Tensor) -> dict[Space, Tensor]:
        """One pass."""


class TorchRuntime(PyTorch):
    """The encoder as it was loaded."""

    @torch.inference_mode()
    def _texts(self, ids: Tensor) -> Tensor:
        cut = cut_texts(ids, self._encoder.spec.tokenizer)
        return self._encoder.encode_text(cut.to(self._device)).float().cpu()

    @torch.inference_mode()
    def _pictures(self, pixels: Tensor) -> dict[Space, Tensor]:
        found = self._encoder.encode_image(self._encoder.normalise(pixels.to(self._device)))
        return {space: vectors.float().cpu() for space, vectors in found.items()}
