"""What turns a picture into the tensor that an encoder eats; it travels with the checkpoint."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Interpolation = Literal["bilinear", "bicubic"]
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Evaluation-time preprocessing of one image.

    Attributes:
        height, width: the size in pixels that every image is stretched to (methods.md 1.1: 384 x 128 for CLIP).
        mean, std: per-channel normalisation of RGB in [0, 1].
        interpolation: Pillow's antialiased filter of that name.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"image size must be positive, got {self.height}x{self.width}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")
        if self.interpolation not in _RESAMPLING:
            raise ValueError(f"interpolation must be one of {sorted(_RESAMPLING)}, got {self.interpolation!r}")

    def resize(self, image: Image.Image) -> Tensor:
        """Return the picture as (3, height, width) uint8: cheap to keep, `normalise` does the rest in a batch."""
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        sized = rgb.resize((self.width, self.height), _RESAMPLING[self.interpolation])
        # Turned by NumPy: PyTorch would wake a thread on each core for it, in each thread that prepares pictures.
        return torch.from_numpy(np.asarray(sized).transpose(2, 0, 1).copy())

    def normalise(self, pixels: Tensor) -> Tensor:
        """Map (B, 3, H, W) uint8, or float in [0, 1], to a normalised float32 batch on the same device."""
        scaled = pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels.float()
        mean = torch.tensor(self.mean, device=pixels.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(1, 3, 1, 1)
        return (scaled - mean) / std
