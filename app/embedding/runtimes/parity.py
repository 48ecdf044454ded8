"""How near the vectors of a runtime are to the exact ones, on fixed descriptions and pictures."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from app.embedding.runtime import Runtime, TorchRuntime
from models.encoder import PersonEncoder, Space

LEAST_COSINE = 0.9999
"""Below this a runtime is refused. Vectors of one version may differ by that much (decision 0026)."""
TEXTS = (
    "man",
    "a woman in red",
    "a person with a black backpack",
    "a child in a yellow raincoat and blue boots",
    "The man is wearing a dark blue jacket, grey trousers and white shoes.",
    "She has long black hair, a white shirt with short sleeves, a blue skirt and brown sandals, and carries a handbag.",
    """An elderly man with short grey hair walks to the left. He wears glasses, a brown coat over a striped shirt, beige
    trousers and black leather shoes, and he holds an umbrella in his right hand.""",
    """A tall young woman with a ponytail, in a green hooded sweatshirt with a large white print on the front, black
    leggings with a stripe down the side, and bright pink running shoes. She has a small backpack over one shoulder, a
    phone in her left hand, and white headphones round her neck.""",
)
TYPICAL = (
    "A woman with long brown hair is wearing a red jacket over a white shirt, blue jeans and black shoes, and she "
    "carries a brown bag"
)
"""A description of the usual length: 30 of CLIP's tokens. What is measured for one query."""
_PICTURES = 6
_SEED = 26


@dataclass(frozen=True, slots=True)
class Probes:
    """Descriptions and pictures, and what the exact encoder makes of them.

    Attributes:
        ids: (B, L) int64.
        pixels: (P, 3, H, W) uint8.
        texts: (B, dim) float32.
        images: for each stored space (P, dim) float32.
    """

    ids: Tensor
    pixels: Tensor
    texts: Tensor
    images: dict[Space, Tensor]


def probes_of(encoder: PersonEncoder) -> Probes:
    """Probes of an encoder; texts of which it knows no word are left out unless it knows none at all."""
    ids = known_ids(encoder, TEXTS)
    pixels = pictures(encoder, _PICTURES)
    exact = TorchRuntime(encoder)
    return Probes(ids, pixels, exact.encode_text(ids), exact.encode_image(pixels))


def known_ids(encoder: PersonEncoder, texts: tuple[str, ...]) -> Tensor:
    """Token ids of those texts of which the encoder knows a word, else of all."""
    tokens = encoder.tokenize(texts)
    known = torch.tensor([not empty for empty in tokens.empty])
    return tokens.ids[known] if bool(known.any()) else tokens.ids


def pictures(encoder: PersonEncoder, count: int) -> Tensor:
    """Patches of colours with some noise, the same in every process: (count, 3, H, W) uint8."""
    pre = encoder.spec.preprocessing
    generator = torch.Generator().manual_seed(_SEED)
    patches = torch.rand(count, 3, 8, 4, generator=generator)
    smooth = F.interpolate(patches, size=(pre.height, pre.width), mode="bicubic", align_corners=False)
    noise = 0.1 * torch.rand(count, 3, pre.height, pre.width, generator=generator)
    return ((smooth + noise).clamp(0, 1) * 255).to(torch.uint8)


def least_cosine(runtime: Runtime, probes: Probes) -> float:
    """The smallest cosine between a runtime's vectors and the exact ones, in a batch and one by one."""
    ids, pixels = probes.ids, probes.pixels
    found = [cosine_of(runtime.encode_text(ids), probes.texts)]
    found += [cosine_of(runtime.encode_text(ids[i : i + 1]), probes.texts[i : i + 1]) for i in (0, len(ids) - 1)]
    for batch, first in ((pixels, 0), (pixels[:1], 0), (pixels[2:5], 2)):
        images = runtime.encode_image(batch)
        found += [cosine_of(images[space], exact[first : first + len(batch)]) for space, exact in probes.images.items()]
    return min(found)


def cosine_of(found: Tensor, exact: Tensor) -> float:
    """The smallest cosine between rows (B, dim) of two tensors; -1 if one has other rows, or what is no number."""
    if found.shape != exact.shape:
        return -1.0
    least = float(F.cosine_similarity(found.double(), exact.double(), dim=-1).min())
    return least if least == least else -1.0  # NaN compares with nothing
