"""Training-time augmentation of a whole batch at once; every sample draws its own.

Random numbers come from a generator that the caller seeds by step, so a resumed run sees the same pictures; within
`models.noise.samples_of` a sample's are the same however the batch is spread over processes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.noise import sample_integers, sample_uniform


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may happen to a training image (methods.md 1.1 gives flip 0.5, pad 10 at 384x128, erase 0.5).

    Attributes:
        flip: probability of a mirror image, in [0, 1].
        shift: furthest move in pixels each way before cropping back (pad + random crop), >= 0. What comes in has the
            mean colour; in IRRA's code it is black.
        erase: probability that a rectangle is replaced by the mean colour, in [0, 1]. IRRA's code erases what is
            normalised already with the means as they are, which is lighter.
        erase_area: smallest and largest share of the picture that is erased.
        brightness, contrast, colour: largest relative change of overall light, contrast, and each channel, in [0, 1).
    """

    flip: float = 0.5
    shift: int = 10
    erase: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability, got {getattr(self, name)}")
        for name in ("brightness", "contrast", "colour"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.shift < 0:
            raise ValueError(f"shift must be >= 0 pixels, got {self.shift}")
        if not 0 < self.erase_area[0] <= self.erase_area[1] < 1:
            raise ValueError(f"erase_area must be 0 < smallest <= largest < 1, got {self.erase_area}")

    def __call__(self, pixels: Tensor, mean: tuple[float, float, float], rng: torch.Generator) -> Tensor:
        """Augment (B, 3, H, W) uint8 into (B, 3, H, W) float32 in [0, 1].

        Args:
            mean: the channel means that fill shifted borders and erased rectangles.
        """
        x = pixels.float() / 255
        fill = torch.tensor(mean).view(1, 3, 1, 1)
        if self.flip:
            flipped = sample_uniform(len(x), generator=rng) < self.flip
            x = torch.where(flipped.view(-1, 1, 1, 1), x.flip(3), x)
        if self.shift:
            x = _shift(x, self.shift, fill, rng)
        if self.brightness or self.contrast or self.colour:
            x = self._relight(x, rng)
        if self.erase:
            x = self._erase(x, fill, rng)
        return x

    def _relight(self, x: Tensor, rng: torch.Generator) -> Tensor:
        def factor(channels: int, largest: float) -> Tensor:
            return 1 + (2 * sample_uniform(len(x), channels, 1, 1, generator=rng) - 1) * largest

        grey = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - grey) * factor(1, self.contrast) + grey
        return (x * factor(1, self.brightness) * factor(3, self.colour)).clamp_(0, 1)

    def _erase(self, x: Tensor, fill: Tensor, rng: torch.Generator) -> Tensor:
        batch, _, height, width = x.shape
        chosen = sample_uniform(batch, generator=rng) < self.erase
        low, high = self.erase_area
        area = (low + (high - low) * sample_uniform(batch, generator=rng)) * height * width
        aspect = torch.exp((2 * sample_uniform(batch, generator=rng) - 1) * torch.log(torch.tensor(3.3)))
        tall = torch.sqrt(area * aspect).clamp(1, height)
        wide = torch.sqrt(area / aspect).clamp(1, width)
        top = sample_uniform(batch, generator=rng) * (height - tall)
        left = sample_uniform(batch, generator=rng) * (width - wide)
        rows, columns = torch.arange(height)[None], torch.arange(width)[None]
        inside_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
        inside_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
        inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :] & chosen.view(-1, 1, 1, 1)
        return torch.where(inside, fill, x)


def _shift(x: Tensor, most: int, fill: Tensor, rng: torch.Generator) -> Tensor:
    """Move each picture by its own offset in [-most, most] both ways, filling what comes in."""
    batch, _, height, width = x.shape
    down = sample_integers(-most, most + 1, batch, 1, generator=rng)
    right = sample_integers(-most, most + 1, batch, 1, generator=rng)
    rows = torch.arange(height)[None] - down
    columns = torch.arange(width)[None] - right
    sample = torch.arange(batch)[:, None, None]
    from_rows, from_columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    moved = x.permute(0, 2, 3, 1)[sample, from_rows[:, :, None], from_columns[:, None, :]]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    return torch.where(inside[:, None], moved.permute(0, 3, 1, 2), fill)
