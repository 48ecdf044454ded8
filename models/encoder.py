"""`PersonEncoder`, the one interface that training, the indexer and the server share, and its spec."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from PIL import Image
from torch import Tensor, nn

from models.preprocessing import Preprocessing
from models.tokenizers import TokenizedTexts, Tokenizer, TokenizerSpec

Space = Literal["text", "image"]
SPACES: tuple[Space, Space] = ("text", "image")
SPEC_FORMAT = 1


@dataclass(frozen=True, slots=True)
class SpaceSpec:
    """One embedding space: its dimension, and the space whose stored gallery vector it is compared with.

    A text query is compared in the `text` space, an image query in the `image` space. A method with one vector for
    both declares `image` as stored_as="text": the gallery then keeps one vector an image, and downstream code still
    asks for the space it means.
    """

    dim: int
    stored_as: Space

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(f"an embedding needs at least one dimension, got {self.dim}")


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Everything, besides the weights, that encoding needs. It is `spec.json` of a checkpoint.

    Attributes:
        method: name in the method registry (`models.registry`), e.g. "clip_baseline".
        backbone: name of the backbone, e.g. "compact" or "ViT-B-16-quickgelu".
        preprocessing: how an image becomes a tensor.
        tokenizer: how a text becomes token ids.
        spaces: one entry for each of `SPACES`.
        options: what the network's constructor needs besides (numbers, strings, flags).
    """

    method: str
    backbone: str
    preprocessing: Preprocessing
    tokenizer: TokenizerSpec
    spaces: dict[Space, SpaceSpec]
    options: dict[str, int | float | str | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.spaces) != set(SPACES):
            raise ValueError(f"spaces must be exactly {SPACES}, got {tuple(self.spaces)}")
        for name, space in self.spaces.items():
            target = self.spaces[space.stored_as]
            if target.stored_as != space.stored_as or target.dim != space.dim:
                raise ValueError(
                    f"space {name!r} is stored as {space.stored_as!r}, which has another dimension or home"
                )

    def stored(self, space: Space) -> Space:
        """The space under which the gallery vector for queries in `space` is stored."""
        return self.spaces[space].stored_as

    @property
    def stored_spaces(self) -> tuple[Space, ...]:
        """The spaces that own a stored vector: ("text",) for most methods, both for HPL."""
        return tuple(name for name in SPACES if self.spaces[name].stored_as == name)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping; `from_dict` reads it back."""
        return {"format": SPEC_FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "EncoderSpec":
        """Read `to_dict`'s mapping.

        Raises:
            ValueError, KeyError, TypeError: when a field is missing, unknown or out of range.
        """
        if data.get("format") != SPEC_FORMAT:
            raise ValueError(f"spec format {data.get('format')!r} is not {SPEC_FORMAT}")
        pre = dict(data["preprocessing"])
        pre["mean"], pre["std"] = tuple(pre["mean"]), tuple(pre["std"])
        return cls(
            method=str(data["method"]),
            backbone=str(data["backbone"]),
            preprocessing=Preprocessing(**pre),
            tokenizer=TokenizerSpec.from_dict(data["tokenizer"]),
            spaces={cast("Space", name): SpaceSpec(**space) for name, space in data["spaces"].items()},
            options=dict(data.get("options", {})),
        )


class PersonEncoder(nn.Module, ABC):
    """Encodes descriptions and person images into unit-norm vectors whose inner product is the score (cosine)."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.fingerprint = ""
        """Of the checkpoint that it was loaded from (`CheckpointInfo`); empty for one that was built."""
        self.tokenizer = Tokenizer.build(spec.tokenizer)

    @abstractmethod
    def encode_text(self, token_ids: Tensor) -> Tensor:
        """Encode token ids (B, L) int64 to (B, spaces["text"].dim) float, unit-norm, in the `text` space."""

    @abstractmethod
    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        """Encode a normalised batch (B, 3, H, W) float32.

        Returns:
            For each of `spec.stored_spaces`, (B, dim) float, unit-norm. An image query in space s is
            `encode_image(...)[spec.stored(s)]`.
        """

    def tokenize(self, texts: Sequence[str]) -> TokenizedTexts:
        """Token ids (B, L) int64 for `encode_text`, with what the tokenizer did not know and what it cut."""
        return self.tokenizer(texts)

    def preprocess(self, image: Image.Image) -> Tensor:
        """One picture of any size and mode to (3, H, W) uint8; `normalise` a stack of them before `encode_image`."""
        return self.spec.preprocessing.resize(image)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 or [0, 1] float to the float32 batch that `encode_image` takes."""
        return self.spec.preprocessing.normalise(pixels)
