"""LGUR: granularity-unified representations through a shared dictionary and shared prototypes (methods.md 4, seed 003).

Z. Shao et al., "Learning Granularity-Unified Representations for Text-to-Image Person Re-identification", ACM MM 2022.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backbones.local import build_local
from models.blocks import CrossBlock
from models.encoder import EncoderSpec, PersonEncoder, Space, SpaceSpec
from models.preprocessing import Preprocessing
from models.registry import register
from models.tokenizers import TokenizerSpec

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Dictionary(nn.Module):
    """DGA without its guidance: features of both modalities, rebuilt from the same atoms (eqs 1 to 3).

    Args:
        dim: of features and atoms.
        atoms: s of eq 1.
        foreground: whether image features are weighed by the mask M of eq 2.
    """

    def __init__(self, dim: int, *, atoms: int, heads: int, head_dim: int, hidden: int, foreground: bool) -> None:
        super().__init__()
        self.atoms = nn.Parameter(torch.randn(atoms, dim))
        self.block = CrossBlock(dim, heads=heads, head_dim=head_dim, hidden=hidden)
        self.mask = nn.Linear(dim, 1) if foreground else None

    def text(self, words: Tensor) -> Tensor:
        """T^ of eq 1 from T (B, L, dim); the same shape."""
        return self._read(words)

    def image(self, patches: Tensor) -> Tensor:
        """V^ of eq 2 from V (B, N, dim); the same shape."""
        return self._weigh(patches, self._read(patches))

    def guided(self, patches: Tensor, words: Tensor, mask: Tensor | None) -> Tensor:
        """V_g of eq 3: patches (B, N, dim) rebuilt from the words (B, L, dim) of their own description."""
        return self._weigh(patches, self.block(patches, words, mask))

    def foreground(self, patches: Tensor) -> Tensor:
        """M of eq 2: (B, N, 1) in (0, 1), or ones."""
        return torch.ones_like(patches[..., :1]) if self.mask is None else self.mask(patches).sigmoid()

    def _read(self, features: Tensor) -> Tensor:
        out: Tensor = self.block(features, self.atoms.expand(features.shape[0], -1, -1))
        return out

    def _weigh(self, patches: Tensor, rebuilt: Tensor) -> Tensor:
        return self.foreground(patches) * rebuilt


class Prototypes(nn.Module):
    """PGU: K prototypes read a set of features, each result through a projection of its own (eq 4).

    With `depth` 0 there are no prototypes: the maximum over the features goes through the K projections. That is the
    baseline of the paper's ablation (INFERENCE: its pooling is not given), with the same output and classifiers.
    """

    def __init__(self, dim: int, *, count: int, out: int, depth: int, heads: int, head_dim: int, hidden: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(count, dim)) if depth else None
        self.blocks = nn.ModuleList(
            CrossBlock(dim, heads=heads, head_dim=head_dim, hidden=hidden) for _ in range(depth)
        )
        # K convolutions of 1 x 1 without bias, kaiming by fan-out.
        self.project = nn.Parameter(torch.randn(count, dim, out) * (2 / out) ** 0.5)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, dim), of which `mask` (B, N) marks the real ones, to (B, K, out)."""
        if self.queries is None:
            pooled = _maximum(features, mask)
            return torch.einsum("bd,kdo->bko", pooled, self.project)
        read = self.queries.expand(features.shape[0], -1, -1)
        for block in self.blocks:
            read = block(read, features, mask)
        return torch.einsum("bkd,kdo->bko", read, self.project)


@register("lgur")
class Lgur(PersonEncoder):
    """Image and text each by themselves: backbone, dictionary, prototypes; K x out dimensions, compared by cosine.

    The guidance of eq 3 is here because it shares the dictionary's block, and is called by training alone.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        self.backbone = build_local(spec)
        o, dim = spec.options, self.backbone.dim
        self.dictionary: Dictionary | None = None
        if o.get("dictionary", True):
            self.dictionary = Dictionary(
                dim,
                atoms=int(o.get("atoms", 400)),
                heads=int(o.get("heads", 6)),
                head_dim=int(o.get("dictionary_head", 64)),
                hidden=int(o.get("dictionary_hidden", 768)),
                foreground=bool(o.get("foreground", True)),
            )
        self.prototypes = Prototypes(
            dim,
            count=int(o.get("prototypes", 6)),
            out=int(o.get("part", 512)),
            depth=int(o.get("depth", 2)),
            heads=int(o.get("heads", 6)),
            head_dim=int(o.get("prototype_head", 512)),
            hidden=int(o.get("prototype_hidden", 512)),
        )

    def encode_text(self, token_ids: Tensor) -> Tensor:
        found = self.backbone.text(token_ids)
        return unit(self.text_parts(found.tokens, found.mask))

    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        return {"text": unit(self.image_parts(self.backbone.image(pixels).tokens))}

    def text_parts(self, words: Tensor, mask: Tensor | None) -> Tensor:
        """t^ of eq 5: (B, K, out) from T (B, L, dim)."""
        rebuilt = words if self.dictionary is None else self.dictionary.text(words)
        parts: Tensor = self.prototypes(rebuilt, mask)
        return parts

    def image_parts(self, patches: Tensor) -> Tensor:
        """v^ of eq 5: (B, K, out) from V (B, N, dim)."""
        rebuilt = patches if self.dictionary is None else self.dictionary.image(patches)
        parts: Tensor = self.prototypes(rebuilt)
        return parts

    def guidance(self, patches: Tensor, words: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """v_g and t of eq 5, each (B, K, out), for pairs of patches and words.

        Raises:
            ValueError: the network has no dictionary to guide.
        """
        if self.dictionary is None:
            raise ValueError("there is no dictionary to guide: `dictionary` is off")
        return self.prototypes(self.dictionary.guided(patches, words, mask)), self.prototypes(words, mask)


def unit(parts: Tensor) -> Tensor:
    """(B, K, out) to the unit-norm (B, K * out) in float32."""
    return F.normalize(parts.flatten(1).float(), dim=-1)


def lgur_spec(
    backbone: str,
    tokenizer: TokenizerSpec,
    *,
    height: int = 384,
    width: int = 128,
    options: dict[str, Any] | None = None,
) -> EncoderSpec:
    """Spec of an LGUR network; `options` are read in `Lgur` and `models.backbones.local`."""
    chosen = dict(options or {})
    dim = int(chosen.get("prototypes", 6)) * int(chosen.get("part", 512))
    return EncoderSpec(
        method="lgur",
        backbone=backbone,
        preprocessing=Preprocessing(height, width, IMAGENET_MEAN, IMAGENET_STD, "bicubic"),
        tokenizer=tokenizer,
        spaces={"text": SpaceSpec(dim, "text"), "image": SpaceSpec(dim, "text")},
        options=chosen,
    )


def _maximum(features: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return features.amax(dim=1)
    first = torch.zeros_like(mask)
    first[:, 0] = ~mask.any(dim=1)
    return features.masked_fill(~(mask | first).unsqueeze(-1), float("-inf")).amax(dim=1)
