"""The two halves of an encoder as modules of tensors alone, which exporters can record."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models.encoder import PersonEncoder

TEXT_INPUT, IMAGE_INPUT = "ids", "pixels"
_RECORDING = threading.Lock()


class TextGraph(nn.Module):
    """Token ids (B, L) int64, cut by the caller, to (B, dim) float32."""

    def __init__(self, encoder: PersonEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.encoder.encode_text(ids)
        return found


class ImageGraph(nn.Module):
    """Pictures (B, 3, H, W) uint8 to (B, dim) float32 for each stored space, in the order of the spec."""

    def __init__(self, encoder: PersonEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        found = self.encoder.encode_image(self.encoder.normalise(pixels))
        return tuple(found[space] for space in self.encoder.spec.stored_spaces)


def example_ids(encoder: PersonEncoder) -> Tensor:
    """Two texts as long as the tokenizer lets them be: (2, L) int64."""
    words = [word for word in encoder.spec.tokenizer.vocabulary if word.isalpha()][:50] or ["person", "red", "coat"]
    text = " ".join(words * encoder.spec.tokenizer.length)
    return encoder.tokenize([text, text]).ids


def example_pixels(encoder: PersonEncoder) -> Tensor:
    """Two pictures: (2, 3, H, W) uint8."""
    pre = encoder.spec.preprocessing
    return torch.zeros(2, 3, pre.height, pre.width, dtype=torch.uint8)


@contextmanager
def recording() -> Iterator[None]:
    """While an exporter records: no gradients, no kernels that are fused in PyTorch alone, no warnings of constants.

    The switch for fused attention is the process's: passes of other threads take the unfused one meanwhile, which gives
    the same vectors more slowly.
    """
    with _RECORDING, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
