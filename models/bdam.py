"""BDAM with Mamba fusion: identity and clothing decoupled, image and text fused (methods.md 8, 10; seed 002).

"Robust Person Re-Identification via MLLM-Supervised Feature Decoupling"; section numbers are the paper's.

The paper never says what a gallery stores. INFERENCE: one fusion module serves both towers, an image with the weights
(1, 0) and a text with (0, 1), and the two vectors are compared by cosine. Both together are fused in training.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backbones.patches import COMPACT, PatchBackbone, build_patches
from models.blocks import CrossBlock, SampleDropout
from models.encoder import EncoderSpec, PersonEncoder, Space, SpaceSpec
from models.mamba import MambaStack, SelectiveSSM
from models.preprocessing import Preprocessing
from models.registry import register
from models.tokenizers import TokenizerSpec

_HEAD = 64
"""Dimensions of an attention head where `heads` is not given; vit-base has 12 of them."""


@dataclass(frozen=True, slots=True)
class Decoupled:
    """What the decoupling module makes of B images (section 3.2). All float; D is the backbone's `dim`.

    Attributes:
        identity: f^_id (B, D), before the gate.
        identity_gated: g * f^_id (B, D); `identity` itself without a gate.
        clothing: f^_clo (B, D), before the gate; None without the module.
        clothing_gated: (1 - g) * f^_clo (B, D); `clothing` itself without a gate.
        gate: g (B, D) in (0, 1); None without a gate.
    """

    identity: Tensor
    identity_gated: Tensor
    clothing: Tensor | None = None
    clothing_gated: Tensor | None = None
    gate: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Views:
    """All that BDAM's losses need of B pairs. T is the text tower's dimension, O the spec's. Float.

    Attributes:
        image: z_v (B, O), unit-norm float32: what a gallery stores.
        text: z_t (B, O), unit-norm float32, of the captions: what a query becomes.
        decoupled: the images' identity and clothing features.
        fused: f_final (B, O), not normalised, of the images and their identity texts.
        weights: w (B, 2) in (0, 1) with sum 1, of image and text in `fused`; None without the fusion gate.
        caption_text: (B, T), the captions as the text tower has them.
        identity_text: f^t_id (B, T); `caption_text` itself where no identity texts were given.
        clothing_text: f^t_clo (B, T); None where no clothing texts were given.
    """

    image: Tensor
    text: Tensor
    decoupled: Decoupled
    fused: Tensor
    weights: Tensor | None
    caption_text: Tensor
    identity_text: Tensor
    clothing_text: Tensor | None = None


class Branch(nn.Module):
    """Linear projection, then self-attention: (B, L, dim) to f' (B, L, dim) of one branch."""

    def __init__(self, dim: int, *, depth: int, **block: Any) -> None:  # noqa: ANN401  CrossBlock's
        super().__init__()
        self.project = nn.Linear(dim, dim)
        self.blocks = nn.ModuleList(CrossBlock(dim, **block) for _ in range(depth))

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.project(tokens)
        for block in self.blocks:
            found = block(found, found)
        return found


class Decoupling(nn.Module):
    """The bidirectional decoupling module: two branches, cross-attention between them, mean over tokens, gate.

    Args:
        dim: of the tokens and of all that comes out.
        depth: self-attention blocks of a branch. INFERENCE: 6, since the ablation calls 3 shallow.
        cross: whether the branches read each other, both from before the exchange.
        gate: whether g weighs the features, g = sigmoid(W_g [f^_id; f^_clo] + b).
        heads, head_dim, hidden, dropout: of the blocks.
    """

    def __init__(self, dim: int, *, depth: int, cross: bool, gate: bool, **block: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.identity, self.clothing = (Branch(dim, depth=depth, **block) for _ in range(2))
        self.identity_cross = CrossBlock(dim, **block) if cross else None
        self.clothing_cross = CrossBlock(dim, **block) if cross else None
        self.gate = nn.Linear(2 * dim, dim) if gate else None

    def forward(self, tokens: Tensor) -> Decoupled:
        identity, clothing = self.identity(tokens), self.clothing(tokens)
        if self.identity_cross is not None and self.clothing_cross is not None:
            identity, clothing = self.identity_cross(identity, clothing), self.clothing_cross(clothing, identity)
        identity, clothing = identity.mean(dim=1), clothing.mean(dim=1)
        if self.gate is None:
            return Decoupled(identity, identity, clothing, clothing)
        gate = self.gate(torch.cat([identity, clothing], dim=-1)).sigmoid()
        return Decoupled(identity, gate * identity, clothing, (1 - gate) * clothing, gate)


class SkippedMlp(nn.Module):
    """An MLP whose first layer is also its shortcut: y = W_1 x, y + W_2 GELU(y)."""

    def __init__(self, first: nn.Linear, last: nn.Linear, dropout: float) -> None:
        super().__init__()
        self.first, self.last, self.dropout = first, last, SampleDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        short: Tensor = self.first(x)
        added: Tensor = self.last(self.dropout(F.gelu(short)))
        return short + added


class Fusion(nn.Module):
    """Alignment, fusion gate, Mamba layers and projection (section 3.4).

    Args:
        image_dim, text_dim: of what comes in.
        dim: of f_img, f_txt and the Mamba layers.
        out: D_out.
        align: whether an MLP aligns each modality; else a linear map, as the dimensions differ (INFERENCE).
        skip: whether its first layer is a shortcut round the rest.
        gate: whether w = softmax(W_f [f_img; f_txt]); else both weigh 1/2.
        tokens: 1 gives Mamba their weighted sum as a sequence of one, as printed: the recurrence then has no past. 2
            gives it [w_1 f_img, w_2 f_txt] and takes the mean of what comes out (INFERENCE).
        dropout: within the MLPs and before the projection.
        mamba: arguments of `MambaStack`.
    """

    def __init__(
        self,
        image_dim: int,
        text_dim: int,
        *,
        dim: int,
        out: int,
        align: bool,
        skip: bool,
        gate: bool,
        tokens: int,
        dropout: float,
        mamba: dict[str, Any],
    ) -> None:
        super().__init__()
        if tokens not in (1, 2):
            raise ValueError(f"the fusion reads 1 or 2 tokens, got {tokens}")
        self.tokens = tokens
        self.image, self.text = (_aligned(size, dim, dropout, mlp=align, skip=skip) for size in (image_dim, text_dim))
        self.gate = nn.Linear(2 * dim, 2) if gate else None
        self.mamba = MambaStack(dim, **mamba)
        self.dropout = SampleDropout(dropout)
        self.project = nn.Linear(dim, out)

    def weights(self, image: Tensor, text: Tensor) -> Tensor | None:
        """w (B, 2) of aligned features (B, dim) each, image first; None without the gate."""
        return None if self.gate is None else self.gate(torch.cat([image, text], dim=-1)).softmax(dim=-1)

    def fuse(self, image: Tensor, text: Tensor, weights: Tensor | None) -> Tensor:
        """f_final (B, out) of aligned features (B, dim) each."""
        if weights is None:
            return self._read(image / 2, text / 2)
        return self._read(weights[:, :1] * image, weights[:, 1:] * text)

    def image_alone(self, image: Tensor) -> Tensor:
        """f_final (B, out) with the weights (1, 0), of aligned image features (B, dim)."""
        return self._read(image, torch.zeros_like(image))

    def text_alone(self, text: Tensor) -> Tensor:
        """f_final (B, out) with the weights (0, 1), of aligned text features (B, dim)."""
        return self._read(torch.zeros_like(text), text)

    def _read(self, image: Tensor, text: Tensor) -> Tensor:
        given = (image + text).unsqueeze(1) if self.tokens == 1 else torch.stack([image, text], dim=1)
        found: Tensor = self.project(self.dropout(self.mamba(given).mean(dim=1)))
        return found


@register("bdam")
class Bdam(PersonEncoder):
    """An image's gated identity feature and a text's feature, each through the fusion module alone; D_out dimensions.

    Attributes:
        backbone: `backbone.dim` (D) and `backbone.text_dim` (T) size what a method adds for training;
            `backbone.shared_weight` is where GradNorm measures gradients.
        decoupling: None when the option `decouple` is off: the mean of the tokens is the identity feature then.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        self.backbone: PatchBackbone = build_patches(spec)
        o, dim = spec.options, self.backbone.dim
        dropout = float(o.get("dropout", 0.1))
        self.decoupling = _decoupling(o, dim, dropout) if o.get("decouple", True) else None
        self.fusion = Fusion(
            dim,
            self.backbone.text_dim,
            dim=int(o.get("fusion_dim", 256)),
            out=spec.spaces["text"].dim,
            align=bool(o.get("align", True)),
            skip=bool(o.get("align_skip", False)),
            gate=bool(o.get("fusion_gate", True)),
            tokens=int(o.get("tokens", 1)),
            dropout=dropout,
            mamba={
                "layers": int(o.get("mamba_layers", 2)),
                "norm": bool(o.get("mamba_norm", True)),
                "state": int(o.get("mamba_state", 16)),
                "taps": int(o.get("mamba_taps", 4)),
                "expand": int(o.get("mamba_expand", 2)),
            },
        )
        if o.get("quiet_start", False):
            _silence(self)

    def encode_text(self, token_ids: Tensor) -> Tensor:
        return unit(self.fusion.text_alone(self.fusion.text(self.backbone.text(token_ids).pooled)))

    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        return {"text": unit(self.fusion.image_alone(self.fusion.image(self.decouple(pixels).identity_gated)))}

    def encode_captioned(self, pixels: Tensor, token_ids: Tensor) -> dict[Space, Tensor]:
        """Gallery vectors of images that come with an identity description: f_final of both, as trained, unit-norm.

        For the option of a gallery described by a language model (methods.md 8). Queries stay as they are: a query is
        never fused with the gallery. Nothing in `app` calls this yet.

        Args:
            pixels: (B, 3, H, W) float32.
            token_ids: (B, L) int64; rows without a word give what `encode_image` gives.
        """
        image = self.fusion.image(self.decouple(pixels).identity_gated)
        text = self.fusion.text(self.backbone.text(token_ids).pooled)
        fused = self.fusion.fuse(image, text, self.fusion.weights(image, text))
        described = self.tokenizer.words(token_ids).any(dim=1, keepdim=True)
        return {"text": unit(torch.where(described, fused, self.fusion.image_alone(image)))}

    def decouple(self, pixels: Tensor) -> Decoupled:
        """Identity and clothing features of a normalised batch (B, 3, H, W) float."""
        found = self.backbone.image(pixels)
        if self.decoupling is None:
            return Decoupled(found.pooled, found.pooled)
        decoupled: Decoupled = self.decoupling(found.tokens)
        return decoupled

    def views(
        self,
        pixels: Tensor,
        caption_ids: Tensor,
        identity_ids: Tensor | None = None,
        clothing_ids: Tensor | None = None,
    ) -> Views:
        """One pass of B pairs for training.

        Args:
            pixels: (B, 3, H, W) float32.
            caption_ids: (B, L) int64, what z_t is made of: the data set's captions, or what training puts there.
            identity_ids: (B, L') int64, identity descriptions, which are fused with the images; None fuses captions.
            clothing_ids: (B, L'') int64, clothing descriptions; None leaves them out and saves a pass.
        """
        decoupled = self.decouple(pixels)
        caption = self.backbone.text(caption_ids).pooled
        identity = caption if identity_ids is None else self.backbone.text(identity_ids).pooled
        clothing = None if clothing_ids is None else self.backbone.text(clothing_ids).pooled
        image, aligned = self.fusion.image(decoupled.identity_gated), self.fusion.text(caption)
        described = aligned if identity_ids is None else self.fusion.text(identity)
        weights = self.fusion.weights(image, described)
        return Views(
            image=unit(self.fusion.image_alone(image)),
            text=unit(self.fusion.text_alone(aligned)),
            decoupled=decoupled,
            fused=self.fusion.fuse(image, described, weights),
            weights=weights,
            caption_text=caption,
            identity_text=identity,
            clothing_text=clothing,
        )


def unit(vectors: Tensor) -> Tensor:
    """(B, O) to unit norm in float32."""
    return F.normalize(vectors.float(), dim=-1)


def bdam_spec(
    backbone: str,
    tokenizer: TokenizerSpec,
    *,
    height: int = 224,
    width: int = 224,
    options: dict[str, Any] | None = None,
) -> EncoderSpec:
    """Spec of a BDAM network; `options` are read in `Bdam`, `_decoupling` and `models.backbones`; `out` is D_out.

    vit-base-patch16-224 and `compact` both want pixels in about [-1, 1].
    """
    chosen = dict(options or {})
    dim = int(chosen.get("out", 256))
    std = (0.25, 0.25, 0.25) if backbone == COMPACT else (0.5, 0.5, 0.5)
    return EncoderSpec(
        method="bdam",
        backbone=backbone,
        preprocessing=Preprocessing(height, width, (0.5, 0.5, 0.5), std),
        tokenizer=tokenizer,
        spaces={"text": SpaceSpec(dim, "text"), "image": SpaceSpec(dim, "text")},
        options=chosen,
    )


def _decoupling(options: dict[str, Any], dim: int, dropout: float) -> Decoupling:
    heads = int(options.get("heads", max(1, dim // _HEAD)))
    if dim % heads:
        raise ValueError(f"{dim} dimensions cannot be divided into {heads} heads")
    return Decoupling(
        dim,
        depth=int(options.get("depth", 6)),
        cross=bool(options.get("cross", True)),
        gate=bool(options.get("gate", True)),
        heads=heads,
        head_dim=dim // heads,
        hidden=int(options.get("hidden", 4 * dim)),
        dropout=dropout,
    )


def _silence(network: nn.Module) -> None:
    """Let every residual branch begin with nothing to add, so that a deep module on trained towers begins as a shallow
    one: the last weight of each is 0 (as in "ReZero" and "Fixup"; the paper does not say how its modules begin)."""
    for module in network.modules():
        last: tuple[nn.Module, ...] = ()
        if isinstance(module, CrossBlock):
            last = (module.out, module.feed[-1])
        elif isinstance(module, SelectiveSSM):
            last = (module.out_proj,)
        elif isinstance(module, SkippedMlp):
            last = (module.last,)
        for layer in last:
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)


def _aligned(inside: int, outside: int, dropout: float, *, mlp: bool, skip: bool) -> nn.Module:
    if not mlp:
        return nn.Linear(inside, outside)
    first, last = nn.Linear(inside, outside), nn.Linear(outside, outside)
    if skip:
        return SkippedMlp(first, last, dropout)
    return nn.Sequential(first, nn.GELU(), SampleDropout(dropout), last)
