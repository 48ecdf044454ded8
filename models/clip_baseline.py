"""The plain CLIP baseline: two towers, one vector each, compared by cosine.

Trained with InfoNCE or SDM (training/methods/clip_baseline.py). DGCMIA trains this same network.
"""

from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F

from models.backbones.base import Backbone
from models.backbones.compact import CompactBackbone
from models.encoder import EncoderSpec, PersonEncoder, Space, SpaceSpec
from models.preprocessing import Preprocessing
from models.registry import register
from models.tokenizers import Tokenizer, TokenizerSpec

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
COMPACT = "compact"


@register("clip_baseline")
class ClipBaseline(PersonEncoder):
    """Global image feature against global text feature (methods.md 10: CLS against EOT)."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        self.backbone = build_backbone(spec)
        if self.backbone.dim != spec.spaces["text"].dim:
            raise ValueError(f"the backbone has {self.backbone.dim} dimensions, the spec {spec.spaces['text'].dim}")

    def encode_text(self, token_ids: Tensor) -> Tensor:
        return F.normalize(self.backbone.text(token_ids).pooled.float(), dim=-1)

    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        return {"text": F.normalize(self.backbone.image(pixels).pooled.float(), dim=-1)}


def build_backbone(spec: EncoderSpec) -> Backbone:
    """A backbone with fresh weights for a spec: `compact`, or any standard CLIP that open_clip knows."""
    if spec.backbone == COMPACT:
        return CompactBackbone(Tokenizer.build(spec.tokenizer).size, **_arguments(spec))
    from models.backbones.clip import (
        ClipBackbone,
    )  # open_clip takes seconds to import; compact never needs it

    pre = spec.preprocessing
    return ClipBackbone(spec.backbone, image_size=(pre.height, pre.width))


def compact_spec(
    vocabulary: tuple[str, ...], *, height: int = 96, width: int = 48, length: int = 64, **options: float
) -> EncoderSpec:
    """Spec of a `compact` baseline for a word vocabulary; `options` are `CompactBackbone`'s arguments."""
    dim = int(options.get("dim", 256))
    return EncoderSpec(
        method="clip_baseline",
        backbone=COMPACT,
        preprocessing=Preprocessing(height, width, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        tokenizer=TokenizerSpec("words", length, vocabulary),
        spaces=_one_vector(dim),
        options=dict(options),
    )


def open_clip_spec(
    backbone: str, *, height: int = 384, width: int = 128, interpolation: str = "bilinear"
) -> EncoderSpec:
    """Spec of a baseline on an open_clip model at a person's aspect ratio (methods.md 1.1).

    Raises:
        BackboneError: open_clip has no such model, or it is not of the standard CLIP shape.
    """
    from models.backbones.clip import ClipBackbone

    probe = ClipBackbone(backbone, image_size=(height, width))
    kind: Literal["bilinear", "bicubic"] = "bicubic" if interpolation == "bicubic" else "bilinear"
    return EncoderSpec(
        method="clip_baseline",
        backbone=backbone,
        preprocessing=Preprocessing(height, width, CLIP_MEAN, CLIP_STD, kind),
        tokenizer=TokenizerSpec("clip_bpe", probe.context_length),
        spaces=_one_vector(probe.dim),
    )


def create_open_clip(backbone: str, pretrained: str, *, height: int = 384, width: int = 128) -> PersonEncoder:
    """Zero-shot CLIP as a person encoder.

    Args:
        backbone: open_clip's model name, e.g. "ViT-B-16-quickgelu".
        pretrained: one of open_clip's tags for it (downloaded), or a local .safetensors file.

    Raises:
        BackboneError: unknown model or tag, weights that cannot be had or do not fit.
    """
    encoder = ClipBaseline(open_clip_spec(backbone, height=height, width=width))
    load_pretrained(encoder, pretrained)
    return encoder.eval()


def load_pretrained(encoder: ClipBaseline, pretrained: str) -> None:
    """Fill an encoder's open_clip backbone with published weights; see `create_open_clip`."""
    from models.backbones.clip import ClipBackbone

    if not isinstance(encoder.backbone, ClipBackbone):
        raise ValueError(f"backbone {encoder.spec.backbone!r} has no pretrained weights")
    encoder.backbone.load_pretrained(pretrained)


def _one_vector(dim: int) -> dict[Space, SpaceSpec]:
    return {"text": SpaceSpec(dim, "text"), "image": SpaceSpec(dim, "text")}


def _arguments(spec: EncoderSpec) -> dict[str, Any]:
    """The spec's options as `CompactBackbone` takes them; it refuses names it does not have."""
    return dict(spec.options)
