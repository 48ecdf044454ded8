"""Backbones whose local features are what counts: LGUR's towers, and `compact` cut down to them (methods.md 4).

| name | image | text |
|---|---|---|
| compact | a small CNN's maps with learned positions | a convolution over words |
| deit-small+bert | DeiT-Small, 11 of its 12 blocks, no final norm | frozen BERT, BiLSTM |
| resnet50+bert | ResNet-50's last maps, 1 x 1 convolution | frozen BERT, BiLSTM |
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone, Features
from models.backbones.compact import CompactMaps, CompactWords
from models.encoder import EncoderSpec
from models.tokenizers import PAD, Tokenizer

COMPACT, DEIT, RESNET = "compact", "deit-small+bert", "resnet50+bert"
_DIM = 384


class LocalBackbone(Backbone):
    """An image tower that gives tokens and a text tower that gives tokens, both in `dim` dimensions."""

    def __init__(self, image_tower: nn.Module, text_tower: nn.Module, dim: int) -> None:
        super().__init__()
        self.image_tower, self.text_tower, self.dim = image_tower, text_tower, dim

    def image(self, pixels: Tensor) -> Features:
        tokens = self.image_tower(pixels)
        return Features(tokens.mean(dim=1), tokens)

    def text(self, token_ids: Tensor) -> Features:
        tokens = self.text_tower(token_ids)
        mask = token_ids != PAD
        share = mask.float() / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return Features((tokens * share.unsqueeze(-1)).sum(dim=1), tokens, mask)


class CompactPatches(CompactMaps):
    """(B, 3, H, W) to (B, ceil(H / 8) * ceil(W / 8), dim).

    The places get learned position codes: a convolution hardly knows where it is, a patch embedding does.

    Args:
        size: height and width of a picture, pixels.
        width: channels of the first convolution.
        spread: standard deviation of the position codes at the start.
    """

    def __init__(self, *, size: tuple[int, int], width: int, dim: int, spread: float = 0.02) -> None:
        super().__init__(width=width)
        self.project = nn.Conv2d(self.channels, dim, 1)
        rows, columns = (-(-side // 8) for side in size)
        self.positions = nn.Parameter(torch.randn(1, rows * columns, dim) * spread)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self.project(self.maps(pixels)).flatten(2).transpose(1, 2)
        return tokens + self.positions


class CompactWordTokens(CompactWords):
    """Token ids (B, L) to (B, L, dim)."""

    def forward(self, token_ids: Tensor) -> Tensor:
        return self.words(token_ids)[0]


def build_local(spec: EncoderSpec) -> LocalBackbone:
    """A backbone with fresh weights for a spec.

    Raises:
        ValueError: an unknown backbone, or a dimension that it cannot have.
    """
    makers: dict[str, Callable[[EncoderSpec, int], LocalBackbone]] = {
        COMPACT: _compact,
        DEIT: _deit,
        RESNET: _resnet,
    }
    if spec.backbone not in makers:
        raise ValueError(f"there is no local backbone {spec.backbone!r}; there are: {', '.join(makers)}")
    return makers[spec.backbone](spec, int(spec.options.get("dim", _DIM)))


def _size(spec: EncoderSpec) -> tuple[int, int]:
    return spec.preprocessing.height, spec.preprocessing.width


def _compact(spec: EncoderSpec, dim: int) -> LocalBackbone:
    options = spec.options
    words = CompactWordTokens(
        vocabulary=Tokenizer.build(spec.tokenizer).size,
        width=int(options.get("text_width", 192)),
        dim=dim,
        kernel=int(options.get("text_kernel", 5)),
        drop_words=float(options.get("drop_words", 0.05)),
    )
    patches = CompactPatches(size=_size(spec), width=int(options.get("image_width", 32)), dim=dim)
    return LocalBackbone(patches, words, dim)


def _deit(spec: EncoderSpec, dim: int) -> LocalBackbone:
    from models.backbones.bert import BertWords  # timm and transformers take seconds to import; compact needs neither
    from models.backbones.vision import DeitPatches

    return LocalBackbone(DeitPatches(_size(spec), dim), BertWords.of(spec, dim), dim)


def _resnet(spec: EncoderSpec, dim: int) -> LocalBackbone:
    from models.backbones.bert import BertWords
    from models.backbones.vision import ResnetPatches

    return LocalBackbone(ResnetPatches(dim), BertWords.of(spec, dim), dim)
