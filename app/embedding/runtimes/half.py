"""PyTorch in bfloat16 or float16.

Weights of matrix products and convolutions are converted once; autocast converts what goes into them. What products are
added to, norms and the last normalisation stay in float32: of CLIP ViT-B/16 that leaves half of the error of a network
that is converted whole (1 - cosine 3e-5 instead of 6e-5 for a text), at the same speed.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from app.embedding.runtime import PyTorch
from models.encoder import PersonEncoder, Space
from models.truncation import cut_texts

_CONVERTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.MultiheadAttention)


class _Attention(nn.MultiheadAttention):
    """Self-attention whose input lies in memory as it is read.

    PyTorch hands a transposed view to the first product. In half precision on a CPU that product then copies its
    weights for every position: 340 ms for two texts of a ViT-B/16, where one takes 12.
    """

    turned: bool

    @classmethod
    def take_over(cls, module: nn.MultiheadAttention) -> None:
        """Make a module one of these."""
        module.__class__ = cls
        assert isinstance(module, cls)
        module.turned, module.batch_first = module.batch_first, False

    def forward(  # type: ignore[override]  # the other arguments are passed on
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        **more: Any,  # noqa: ANN401  whatever the base takes
    ) -> tuple[Tensor, Tensor | None]:
        if not self.turned or query.dim() != 3:
            return super().forward(query, key, value, **more)
        first = query.transpose(0, 1).contiguous()
        keys, values = (first if one is query else one.transpose(0, 1).contiguous() for one in (key, value))
        found, weights = super().forward(first, keys, values, **more)
        return found.transpose(0, 1), weights


class HalfRuntime(PyTorch):
    """A copy of an encoder in half precision; weights that stay in float32 are shared with the encoder."""

    def __init__(self, encoder: PersonEncoder, dtype: torch.dtype) -> None:
        super().__init__(halved(encoder, dtype))
        self._dtype = dtype

    @torch.inference_mode()
    def _texts(self, ids: Tensor) -> Tensor:
        cut = cut_texts(ids, self._encoder.spec.tokenizer).to(self._device)
        with torch.autocast(self._device.type, dtype=self._dtype, cache_enabled=False):
            found = self._encoder.encode_text(cut)
        return found.float().cpu()

    @torch.inference_mode()
    def _pictures(self, pixels: Tensor) -> dict[Space, Tensor]:
        normalised = self._encoder.normalise(pixels.to(self._device))
        with torch.autocast(self._device.type, dtype=self._dtype, cache_enabled=False):
            found = self._encoder.encode_image(normalised)
        return {space: vectors.float().cpu() for space, vectors in found.items()}


@torch.no_grad()
def halved(encoder: PersonEncoder, dtype: torch.dtype) -> PersonEncoder:
    """The encoder with products and convolutions in `dtype`, to be called under autocast."""
    converted: dict[int, Tensor] = {}
    for module in encoder.modules():
        if isinstance(module, _CONVERTED):
            for parameter in module.parameters():
                half = nn.Parameter(parameter.to(dtype), requires_grad=False)
                converted[id(parameter)] = half
    kept: dict[int, object] = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    kept |= {id(part): part for part in (encoder.tokenizer, encoder.spec)}
    made = copy.deepcopy(encoder, {**kept, **converted})
    for module in list(made.modules()):
        if type(module) is nn.MultiheadAttention:
            _Attention.take_over(module)
    return made
