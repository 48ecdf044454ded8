"""HKGR: a global feature, and one made of the tokens that it reads most (seed 004; methods.md 6.2).

The index vector is [g / |g|, l / |l|] / sqrt(2), of the global feature g and the token embedding l: the inner product
of two such vectors is the mean of the two cosines, which is HKGR's score. The scene graphs and the language head belong
to training alone (training/methods/hkgr.py).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backbones.attentive import COMPACT, Attended, build_attentive
from models.clip_baseline import CLIP_MEAN, CLIP_STD
from models.encoder import EncoderSpec, PersonEncoder, Space, SpaceSpec
from models.preprocessing import Preprocessing
from models.registry import register
from models.tokenizers import TokenizerSpec

_OWN = ("fine", "fine_dim", "ratio")
"""Options that are HKGR's and not its backbone's."""
_HALF = math.sqrt(0.5)
_FRAMED = 2  # CLIP's texts have a start and an end


class TokenEmbedding(nn.Module):
    """Selected tokens to one embedding: max over tokens of Linear(x) + MLP(x), x the unit-norm token (RDE's layer).

    MLP is Linear, batch norm over all selected tokens of the batch, ReLU, Linear. Tokens that pad a selection enter
    neither the maximum nor, other than in the released code, the batch norm.
    """

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, out)
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, out))

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """(B, K, D) tokens, of which `kept` (B, K) marks the real ones, at least one a row, to (B, out)."""
        rows = F.normalize(tokens[kept], dim=-1)
        embedded = self.linear(rows) + self.mlp(rows)
        spread = embedded.new_full((*kept.shape, embedded.shape[-1]), float("-inf"))
        spread[kept] = embedded
        most: Tensor = spread.amax(dim=1)
        return most


@register("hkgr")
class Hkgr(PersonEncoder):
    """Both towers, and a `TokenEmbedding` for each; without `fine` the global feature alone.

    Options: `fine` (True), `fine_dim` (1024), `ratio` of tokens that are selected (0.3); the others are the backbone's.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        options = {name: value for name, value in spec.options.items() if name not in _OWN}
        size = (spec.preprocessing.height, spec.preprocessing.width)
        self.backbone = build_attentive(spec.backbone, size=size, vocabulary=self.tokenizer.size, options=options)
        self.ratio = float(spec.options.get("ratio", 0.3))
        self.fine_image: TokenEmbedding | None = None
        self.fine_text: TokenEmbedding | None = None
        dim = self.backbone.dim
        if spec.options.get("fine", True):
            out = int(spec.options.get("fine_dim", 1024))
            self.fine_image, self.fine_text = TokenEmbedding(dim, out), TokenEmbedding(dim, out)
            dim += out
        if dim != spec.spaces["text"].dim:
            raise ValueError(f"the network has {dim} dimensions, the spec {spec.spaces['text'].dim}")
        longest = spec.tokenizer.length - (0 if spec.tokenizer.kind == "words" else _FRAMED)
        self.selected_words = max(int(longest * self.ratio), 1)

    def encode_text(self, token_ids: Tensor) -> Tensor:
        found = self.backbone.text(token_ids)
        return joined(found.pooled, self.text_embedding(found))

    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        found = self.backbone.image(pixels)
        return {"text": joined(found.pooled, self.image_embedding(found))}

    def text_embedding(self, found: Attended) -> Tensor | None:
        """l of a text: (B, fine_dim), not normalised; None without `fine`.

        As many words are selected whatever the length of the text, 22 of CLIP's 75; a shorter text gives all it has.
        """
        return None if self.fine_text is None else self._embed(self.fine_text, found, self.selected_words)

    def image_embedding(self, found: Attended) -> Tensor | None:
        """l of an image: (B, fine_dim), not normalised; None without `fine`. 57 of 192 patches are selected."""
        count = max(int(found.tokens.shape[1] * self.ratio), 1)
        return None if self.fine_image is None else self._embed(self.fine_image, found, count)

    def _embed(self, embedding: TokenEmbedding, found: Attended, count: int) -> Tensor:
        embedded: Tensor = embedding(*select(found, count))
        return embedded


def select(found: Attended, count: int) -> tuple[Tensor, Tensor]:
    """The `count` tokens that the global feature reads most.

    Returns:
        (B, K, D) tokens, most read first, K = min(count, N), and (B, K) bool, True where there was one to select: at
        least one in each row.
    """
    shares = found.attention.masked_fill(~found.local, -1.0)
    best = shares.topk(min(count, shares.shape[1]), dim=1)
    index = best.indices.unsqueeze(-1).expand(-1, -1, found.tokens.shape[-1])
    return found.tokens.gather(1, index), best.values >= 0


def joined(coarse: Tensor, fine: Tensor | None) -> Tensor:
    """[g / |g|, l / |l|] / sqrt(2): (B, D) and (B, E) to the unit-norm (B, D + E) float32; without l, g / |g|."""
    unit: Tensor = F.normalize(coarse.float(), dim=-1)
    if fine is None:
        return unit
    return torch.cat([unit, F.normalize(fine.float(), dim=-1)], dim=-1) * _HALF


def hkgr_spec(
    backbone: str,
    tokenizer: TokenizerSpec | None = None,
    *,
    height: int = 384,
    width: int = 128,
    options: dict[str, Any] | None = None,
) -> EncoderSpec:
    """Spec of an HKGR network.

    Args:
        tokenizer: `compact` needs one; None for an open_clip model, which has its own.
        options: read in `Hkgr` and `models.backbones.attentive`.

    Raises:
        BackboneError: open_clip has no such model.
        ValueError: `compact` without a tokenizer.
    """
    chosen = dict(options or {})
    if backbone == COMPACT:
        if tokenizer is None:
            raise ValueError("compact has no vocabulary of its own: give a tokenizer")
        dim = int(chosen.get("dim", 256))
        pre = Preprocessing(height, width, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    else:
        from models.backbones.clip import config_of  # open_clip takes seconds to import; compact never needs it

        config = config_of(backbone)
        dim = int(config["embed_dim"])
        tokenizer = tokenizer or TokenizerSpec("clip_bpe", int(config["text_cfg"]["context_length"]))
        pre = Preprocessing(height, width, CLIP_MEAN, CLIP_STD)
    if chosen.get("fine", True):
        dim += int(chosen.get("fine_dim", 1024))
    spaces: dict[Space, SpaceSpec] = {"text": SpaceSpec(dim, "text"), "image": SpaceSpec(dim, "text")}
    return EncoderSpec("hkgr", backbone, pre, tokenizer, spaces, chosen)
