"""A picture of HKGR's masking: training descriptions with hidden words by level, and what the language head said."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file

from models.checkpoint import read_info
from models.registry import build
from training.engine.state import STATE
from training.engine.trainer import BEST
from training.errors import TrainingError
from training.methods.base import TrainSize
from training.methods.hkgr import HkgrMethod
from training.objectives.knowledge import MASK_LEVELS, Masker, MaskLevel
from training.recipe import load_recipe
from training.records import PersonData, pairs_of

MASKED = "masked.png"
_INK, _GREY, _PAPER = (28, 31, 36), (110, 116, 124), (255, 255, 255)
_RIGHT, _WRONG = (24, 128, 72), (196, 52, 52)
_COLOURS: dict[MaskLevel, tuple[int, int, int]] = {
    "random": (222, 222, 226),
    "object": (255, 214, 153),
    "attribute": (178, 216, 255),
    "relation": (214, 198, 255),
}
_TILE, _GAP, _MARGIN, _WIDTH, _LINE = (56, 124), 8, 16, 900, 44


@dataclass(slots=True)
class _Word:
    """A white-space separated word of a description, and its tokens that were to be told: as written, as told."""

    text: str
    wanted: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    masked: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    level: MaskLevel
    picture: Path
    words: list[_Word]


def masked_sheet(run: Path, data: PersonData, out: Path, *, captions: int = 3, seed: int = 0) -> Path | None:
    """Draw training descriptions as the language head saw them at the end of a run; writes `out/masked.png`.

    Args:
        run: folder of an HKGR run; its last state has the head, which no checkpoint has.
        data: the data set; its train split is read.
        captions: descriptions for each level, drawn evenly over the split.
        seed: of what is hidden.

    Returns:
        The picture; None for a run without a language head.

    Raises:
        TrainingError: the run has no state.
    """
    recipe = load_recipe(str(run / "recipe.yaml"))
    if recipe.method != "hkgr" or not recipe.hkgr.mlm:
        return None
    method = _restored(run)
    records = data.splits["train"]
    pairs = pairs_of(records)
    wanted = recipe.hkgr.levels
    levels = [level for level in MASK_LEVELS if level in wanted or (level == "random" and len(wanted) > 1)]
    count = captions * len(levels)
    chosen = [n * len(pairs) // count for n in range(count)]
    # A file of parsed captions has a row for each pair; the rules need no others.
    texts = [text for _, text in pairs] if recipe.hkgr.parsed else [pairs[n][1] for n in chosen]
    method.read_descriptions(texts)
    places = torch.tensor(chosen if recipe.hkgr.parsed else list(range(count)))
    torch.manual_seed(seed)
    rows = []
    for number, level in enumerate(levels):
        part = slice(number * captions, (number + 1) * captions)
        shown = [pairs[n] for n in chosen[part]]
        pictures = [records[image].path for image, _ in shown]
        words = _told(method, [text for _, text in shown], pictures, places[part], level)
        rows += [_Row(level, picture, found) for picture, found in zip(pictures, words, strict=True)]
    out.mkdir(parents=True, exist_ok=True)
    path = out / MASKED
    _draw(rows, method).save(path)
    return path


def _restored(run: Path) -> HkgrMethod:
    """The method with the weights of the run's last state."""
    recipe = load_recipe(str(run / "recipe.yaml"))
    path = run / STATE
    if not path.is_file():
        raise TrainingError(f"{path} is missing: a sheet of masked words needs the state of the run")
    state = {name.removeprefix("method."): v for name, v in load_file(path).items() if name.startswith("method.")}
    identities = state["classifiers.bias"].shape[1] if "classifiers.bias" in state else 1
    method = HkgrMethod(build(read_info(run / BEST).spec), recipe, TrainSize(pairs=1, images=1, identities=identities))
    method.load_state_dict(state)
    return method.eval()


@torch.inference_mode()
def _told(
    method: HkgrMethod, texts: Sequence[str], pictures: Sequence[Path], pairs: torch.Tensor, level: MaskLevel
) -> list[list[_Word]]:
    encoder, masker = method.encoder, method.masker
    alone = Masker(encoder.tokenizer, None, levels=(level,), ratio=masker.ratio, match=masker.match)
    alone.phrases, alone.words = masker.phrases, masker.words
    ids = encoder.tokenize(texts).ids
    masked = alone(ids, pairs)
    opened = []
    for path in pictures:
        with Image.open(path) as image:
            opened.append(encoder.preprocess(image))
    told = method.tell(method.network.backbone.image(encoder.normalise(torch.stack(opened))), masked)
    said = torch.zeros_like(masked.labels)
    said[masked.labels > 0] = told.logits.argmax(dim=1)
    rows = []
    for row, text in enumerate(texts):
        places = encoder.tokenizer.places(text)
        words = []
        for found in re.finditer(r"\S+", text):
            word = _Word(found.group())
            for token, (start, end) in enumerate(places):
                if start < found.end() and end > found.start() and masked.labels[row, token] > 0:
                    word.wanted.append(int(masked.labels[row, token]))
                    word.told.append(int(said[row, token]))
                    word.masked |= bool(masked.ids[row, token] == encoder.tokenizer.mask_id)
            words.append(word)
        rows.append(words)
    return rows


def _draw(rows: Sequence[_Row], method: HkgrMethod) -> Image.Image:
    font, small = ImageFont.load_default(15), ImageFont.load_default(12)
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left, right = _MARGIN + _TILE[0] + 2 * _GAP, _WIDTH - _MARGIN

    def placed(row: _Row) -> list[tuple[int, int, int]]:
        """(x, y, width) of each word below the row's top."""
        x, y, found = left, 22, []
        for word in row.words:
            below = ruler.textlength(_spelt(word, method), font=small) if word.told else 0
            wide = int(max(ruler.textlength(word.text, font=font), below)) + 1
            if x + wide > right and x > left:
                x, y = left, y + _LINE
            found.append((x, y, wide))
            x += wide + 9
        return found

    layout = [placed(row) for row in rows]
    heights = [max(_TILE[1], (words[-1][1] if words else 0) + _LINE) + 2 * _GAP for words in layout]
    sheet = Image.new("RGB", (_WIDTH, 40 + sum(heights) + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _legend(draw, small)
    top = 40
    for row, words, height in zip(rows, layout, heights, strict=True):
        with Image.open(row.picture) as image:
            sheet.paste(image.convert("RGB").resize(_TILE, Image.Resampling.LANCZOS), (_MARGIN, top))
        draw.text((left, top), row.level, fill=_GREY, font=small)
        for word, (x, y, wide) in zip(row.words, words, strict=True):
            if word.told:
                box = (x - 3, top + y - 2, x + wide + 2, top + y + 19)
                draw.rectangle(box, fill=_COLOURS[row.level] if word.masked else None, outline=_COLOURS[row.level])
                colour = _RIGHT if word.told == word.wanted else _WRONG
                draw.text((x, top + y + 21), _spelt(word, method), fill=colour, font=small)
            draw.text((x, top + y), word.text, fill=_INK, font=font)
        top += height
    return sheet


def _legend(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
    x = _MARGIN
    for level in MASK_LEVELS:
        draw.rectangle((x, 12, x + 14, 26), fill=_COLOURS[level])
        draw.text((x + 20, 12), level, fill=_INK, font=font)
        x += 40 + int(draw.textlength(level, font=font))
    words = "filled: hidden; outlined: another word or as it was; below: what the head told"
    draw.text((x + 10, 12), words, fill=_GREY, font=font)


def _spelt(word: _Word, method: HkgrMethod) -> str:
    return "".join(method.encoder.tokenizer.spell(token) for token in word.told).strip()
