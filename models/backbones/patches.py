"""Backbones that give all patches of an image and one feature of a text: BDAM's towers (methods.md 8).

| name | image | text |
|---|---|---|
| compact | a small CNN's maps with learned positions | a convolution over words, their maximum |
| vit-base+bert | ViT-B/16's patches, no class token | BERT's [CLS] |
"""

from abc import abstractmethod

from torch import Tensor, nn

from models.backbones.base import Backbone, Features
from models.backbones.compact import CompactTextTower
from models.backbones.local import CompactPatches
from models.encoder import EncoderSpec
from models.tokenizers import Tokenizer

COMPACT, VIT = "compact", "vit-base+bert"


class PatchBackbone(Backbone):
    """An image tower that gives tokens in `dim` dimensions, a text tower that gives a feature in `text_dim`."""

    image_tower: nn.Module
    text_tower: nn.Module
    text_dim: int

    def image(self, pixels: Tensor) -> Features:
        tokens = self.image_tower(pixels)
        return Features(tokens.mean(dim=1), tokens)

    def text(self, token_ids: Tensor) -> Features:
        pooled, tokens, mask = self.text_tower(token_ids)
        return Features(pooled, tokens, mask)

    @property
    @abstractmethod
    def shared_weight(self) -> nn.Parameter:
        """The last weight that all of an image's features go through: where GradNorm measures gradients."""


class CompactPatchBackbone(PatchBackbone):
    """`compact` with the image side of LGUR's and the text side of the baseline's."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        options, pre = spec.options, spec.preprocessing
        self.dim = self.text_dim = int(options.get("dim", 256))
        self.image_tower: CompactPatches = CompactPatches(
            size=(pre.height, pre.width),
            width=int(options.get("image_width", 32)),
            dim=self.dim,
            spread=float(options.get("position_spread", 0.02)),
        )
        self.text_tower = CompactTextTower(
            vocabulary=Tokenizer.build(spec.tokenizer).size,
            width=int(options.get("text_width", 192)),
            dim=self.dim,
            kernel=int(options.get("text_kernel", 5)),
            drop_words=float(options.get("drop_words", 0.05)),
        )

    @property
    def shared_weight(self) -> nn.Parameter:
        weight = self.image_tower.project.weight
        assert isinstance(weight, nn.Parameter)
        return weight


class VitBertBackbone(PatchBackbone):
    """ViT-B/16 and BERT, both trained."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        from models.backbones.bert import BertSentences  # transformers takes seconds to import; compact needs none
        from models.backbones.vit import VitPatches

        self.image_tower: VitPatches = VitPatches.of(spec)
        self.text_tower: BertSentences = BertSentences.of(spec)
        self.dim, self.text_dim = self.image_tower.width, self.text_tower.width

    @property
    def shared_weight(self) -> nn.Parameter:
        return self.image_tower.last_weight


def build_patches(spec: EncoderSpec) -> PatchBackbone:
    """A backbone with fresh weights for a spec.

    Raises:
        ValueError: an unknown backbone.
    """
    makers: dict[str, type[PatchBackbone]] = {COMPACT: CompactPatchBackbone, VIT: VitBertBackbone}
    if spec.backbone not in makers:
        raise ValueError(f"there is no patch backbone {spec.backbone!r}; there are: {', '.join(makers)}")
    return makers[spec.backbone](spec)
