"""A deterministic encoder for tests of the service: colours of a 4 x 2 grid, and words for colours."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.checkpoint import save_checkpoint
from models.encoder import EncoderSpec, PersonEncoder, Space, SpaceSpec
from models.preprocessing import Preprocessing
from models.registry import register
from models.tokenizers import TokenizerSpec

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 50, 220),
    "yellow": (230, 220, 30),
    "purple": (150, 40, 170),
    "orange": (250, 140, 20),
    "white": (245, 245, 245),
    "black": (12, 12, 12),
}
WORDS = (*COLOURS, "person", "wearing", "coat", "in", "a")
CELLS = 8
DIM = 3 * CELLS


def _centred(values: Tensor) -> Tensor:
    return F.normalize(values - 0.45 + 1e-4, dim=-1)


@register("toy")
class ToyEncoder(PersonEncoder):
    """One vector for both spaces, or with the option `two_spaces` a second one of fewer dimensions for pictures."""

    words: Tensor

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        table = torch.full((len(spec.tokenizer.vocabulary) + 2, DIM), 0.45)
        for index, word in enumerate(spec.tokenizer.vocabulary):
            if word in COLOURS:
                table[index + 2] = torch.tensor(COLOURS[word]).float().div(255).repeat(CELLS)
        self.register_buffer("words", table)

    def encode_text(self, token_ids: Tensor) -> Tensor:
        return _centred((self.words[token_ids] - 0.45).sum(dim=1) + 0.45)

    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        cells = F.adaptive_avg_pool2d(pixels, (4, 2)).permute(0, 2, 3, 1).flatten(1)
        vectors: dict[Space, Tensor] = {"text": _centred(cells)}
        if self.spec.options.get("two_spaces"):
            vectors["image"] = _centred(cells[:, : DIM // 2])
        return vectors


def toy_spec(*, two_spaces: bool = False, words: tuple[str, ...] = WORDS) -> EncoderSpec:
    text = SpaceSpec(DIM, "text")
    return EncoderSpec(
        method="toy",
        backbone="none",
        preprocessing=Preprocessing(32, 16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        tokenizer=TokenizerSpec("words", 16, words),
        spaces={"text": text, "image": SpaceSpec(DIM // 2, "image") if two_spaces else text},
        options={"two_spaces": True} if two_spaces else {},
    )


def toy_checkpoint(folder: Path, *, two_spaces: bool = False, words: tuple[str, ...] = WORDS) -> Path:
    save_checkpoint(ToyEncoder(toy_spec(two_spaces=two_spaces, words=words)), folder, card="# toy\n")
    return folder


def picture(path: Path, top: str, bottom: str = "black", *, size: tuple[int, int] = (40, 90), shade: int = 0) -> Path:
    """A person in two colours; `shade` makes pictures of one colour differ."""
    image = Image.new("RGB", size, COLOURS[bottom])
    image.paste(tuple(max(0, value - shade) for value in COLOURS[top]), (0, 0, size[0], size[1] // 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=95)
    return path
