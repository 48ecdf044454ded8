"""HPL's Task-Routed Transformer: one image encoder, two vectors for a picture (methods.md 7, seed 000).

L. Zhou et al., "Hierarchical Prompt Learning for Image- and Text-Based Person Re-identification", arXiv 2511.13575.
Prompts, inversion nets and the second text encoder are training's alone (training/methods/hpl.py).
"""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from models.backbones.routed import Routed, RoutedBackbone, RoutedCompact
from models.clip_baseline import CLIP_MEAN, CLIP_STD, COMPACT
from models.encoder import EncoderSpec, PersonEncoder, Space, SpaceSpec
from models.preprocessing import Preprocessing
from models.registry import register
from models.tokenizers import Tokenizer, TokenizerSpec

ROUTED = "routed"


@register("hpl")
class Hpl(PersonEncoder):
    """Descriptions are compared with v_t2i (space `text`), pictures with each other by v_i2i (space `image`).

    With the option `routed` off there is one class token and one vector: the paper's single-token joint baseline.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        self.routed = bool(spec.options.get(ROUTED, True))
        if spec.stored("image") != ("image" if self.routed else "text"):
            raise ValueError(
                f"with {ROUTED}={self.routed} the image space cannot be stored as {spec.stored('image')!r}"
            )
        self.backbone = _backbone(spec, self.routed)
        if self.backbone.dim != spec.spaces["text"].dim:
            raise ValueError(f"the backbone has {self.backbone.dim} dimensions, the spec {spec.spaces['text'].dim}")

    def encode_text(self, token_ids: Tensor) -> Tensor:
        return F.normalize(self.backbone.text(token_ids).pooled.float(), dim=-1)

    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        seen = self.route(pixels)
        found: dict[Space, Tensor] = {"text": F.normalize(seen.t2i.float(), dim=-1)}
        if self.routed:
            found["image"] = F.normalize(seen.i2i.float(), dim=-1)
        return found

    def route(self, pixels: Tensor) -> Routed:
        """F^v of eq 1 for a normalised batch (B, 3, H, W) float32."""
        return self.backbone.route(pixels)

    def load_pretrained(self, pretrained: str) -> None:
        """Fill a CLIP backbone with published weights, as `models.clip_baseline.create_open_clip` takes them.

        Raises:
            BackboneError: unknown tag, weights that cannot be had or do not fit.
            ValueError: the backbone is none of CLIP's.
        """
        if self.spec.backbone == COMPACT:
            raise ValueError(f"backbone {self.spec.backbone!r} has no pretrained weights")
        from models.backbones.routed_clip import RoutedClip

        assert isinstance(self.backbone, RoutedClip)
        self.backbone.load_pretrained(pretrained)


def _backbone(spec: EncoderSpec, routed: bool) -> RoutedBackbone:
    if spec.backbone == COMPACT:
        options = {name: value for name, value in spec.options.items() if name != ROUTED}
        return RoutedCompact(Tokenizer.build(spec.tokenizer).size, routed=routed, **options)
    from models.backbones.routed_clip import RoutedClip  # open_clip takes seconds to import; compact never needs it

    pre = spec.preprocessing
    return RoutedClip(spec.backbone, image_size=(pre.height, pre.width), routed=routed)


def hpl_compact_spec(
    vocabulary: tuple[str, ...],
    *,
    height: int = 96,
    width: int = 48,
    length: int = 64,
    routed: bool = True,
    options: Mapping[str, int | float] | None = None,
) -> EncoderSpec:
    """Spec of HPL on `compact`; `options` are `CompactBackbone`'s arguments."""
    chosen = dict(options or {})
    return EncoderSpec(
        method="hpl",
        backbone=COMPACT,
        preprocessing=Preprocessing(height, width, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        tokenizer=TokenizerSpec("words", length, vocabulary),
        spaces=_spaces(int(chosen.get("dim", 256)), routed),
        options={**chosen, ROUTED: routed},
    )


def hpl_clip_spec(backbone: str, *, height: int = 384, width: int = 128, routed: bool = True) -> EncoderSpec:
    """Spec of HPL on an open_clip model at a person's aspect ratio.

    Raises:
        BackboneError: open_clip has no such model, or it is not of the standard CLIP shape.
    """
    from models.backbones.routed_clip import RoutedClip

    probe = RoutedClip(backbone, image_size=(height, width), routed=False)
    return EncoderSpec(
        method="hpl",
        backbone=backbone,
        preprocessing=Preprocessing(height, width, CLIP_MEAN, CLIP_STD, "bilinear"),
        tokenizer=TokenizerSpec("clip_bpe", probe.context_length),
        spaces=_spaces(probe.dim, routed),
        options={ROUTED: routed},
    )


def _spaces(dim: int, routed: bool) -> dict[Space, SpaceSpec]:
    return {"text": SpaceSpec(dim, "text"), "image": SpaceSpec(dim, "image" if routed else "text")}
