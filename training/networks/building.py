"""The encoder that a recipe starts from."""

import logging
from pathlib import Path

from models.backbones import patches
from models.backbones.local import COMPACT, DEIT, RESNET, LocalBackbone
from models.bdam import Bdam, bdam_spec
from models.clip_baseline import ClipBaseline, compact_spec, load_pretrained, open_clip_spec
from models.encoder import PersonEncoder
from models.hkgr import Hkgr, hkgr_spec
from models.hpl import Hpl, hpl_clip_spec, hpl_compact_spec
from models.lgur import Lgur, lgur_spec
from models.registry import build
from models.tokenizers import Tokenizer, TokenizerSpec, WordPieceTokenizer, WordTokenizer
from training.errors import TrainingError
from training.networks.start import started, take_towers, words_with_towers
from training.recipe import EncoderPart, Recipe
from training.records import Record

_log = logging.getLogger(__name__)
_VOCABULARY = "vocab.txt"


def build_encoder(recipe: Recipe, train: tuple[Record, ...]) -> PersonEncoder:
    """A fresh encoder, or that of the checkpoint that the recipe starts from.

    Fresh ones without a published vocabulary learn theirs from the train split's descriptions; with `encoder.towers`
    it is that checkpoint's with what is new to it, and the towers are not fresh (`start.take_towers`).

    Raises:
        TrainingError: a train split without descriptions, a backbone that the method does not have, a checkpoint to
            start from that is another method's, or towers that do not fit.
        CheckpointError: that checkpoint cannot be loaded.
        BackboneError: an unknown open_clip model, or weights that cannot be had.
    """
    if recipe.encoder.start is not None:
        return started(recipe.method, recipe.encoder, train)
    own = {"lgur": _lgur, "hkgr": _hkgr, "hpl": _hpl, "bdam": _bdam}
    encoder = own[recipe.method](recipe, train) if recipe.method in own else _baseline(recipe.encoder, train)
    if recipe.encoder.towers is not None:
        take_towers(encoder, recipe.encoder.towers)
    return encoder


def _baseline(part: EncoderPart, train: tuple[Record, ...]) -> PersonEncoder:
    if part.backbone != COMPACT:
        encoder = build(open_clip_spec(part.backbone, height=part.height, width=part.width))
        assert isinstance(encoder, ClipBaseline)
        if part.pretrained:
            load_pretrained(encoder, part.pretrained)
        return encoder
    words = _words(part, train)
    return build(compact_spec(words, height=part.height, width=part.width, length=part.length, **part.options))


def _hpl(recipe: Recipe, train: tuple[Record, ...]) -> PersonEncoder:
    part, size, routed = (
        recipe.encoder,
        {"height": recipe.encoder.height, "width": recipe.encoder.width},
        recipe.hpl.trt,
    )
    if part.backbone == COMPACT:
        words = _words(part, train)
        return build(hpl_compact_spec(words, **size, length=part.length, routed=routed, options=part.options))
    encoder = build(hpl_clip_spec(part.backbone, **size, routed=routed))
    assert isinstance(encoder, Hpl)
    if part.pretrained:
        encoder.load_pretrained(part.pretrained)
    return encoder


def _lgur(recipe: Recipe, train: tuple[Record, ...]) -> PersonEncoder:
    part, switches = recipe.encoder, recipe.lgur
    if part.backbone not in (COMPACT, DEIT, RESNET):
        raise TrainingError(f"LGUR has no backbone {part.backbone!r}; it has {COMPACT}, {DEIT} and {RESNET}")
    options: dict[str, int | float | bool] = {
        **part.options,
        "dictionary": switches.dictionary,
        "foreground": switches.foreground,
    }
    if not switches.prototypes:
        options["depth"] = 0
    tokenizer = _tokenizer(part, train)
    encoder = build(lgur_spec(part.backbone, tokenizer, height=part.height, width=part.width, options=options))
    assert isinstance(encoder, Lgur)
    if part.backbone != COMPACT:
        _load_lgur(encoder.backbone, part)
    return encoder


def _hkgr(recipe: Recipe, train: tuple[Record, ...]) -> PersonEncoder:
    part = recipe.encoder
    options: dict[str, int | float | bool] = {**part.options, "fine": recipe.hkgr.fine}
    tokenizer = TokenizerSpec("words", part.length, _words(part, train)) if part.backbone == COMPACT else None
    try:
        encoder = build(hkgr_spec(part.backbone, tokenizer, height=part.height, width=part.width, options=options))
    except TypeError as error:
        raise TrainingError(f"encoder.options: {error}") from error
    assert isinstance(encoder, Hkgr)
    if part.backbone == COMPACT:
        return encoder
    from models.backbones.clip import ClipBackbone

    assert isinstance(encoder.backbone, ClipBackbone)
    if part.pretrained:
        encoder.backbone.load_pretrained(part.pretrained)
    else:
        _log.warning("the towers start from random weights: encoder.pretrained names neither a tag nor a file")
    return encoder


def _load_lgur(backbone: LocalBackbone, part: EncoderPart) -> None:
    from models.backbones.bert import BertWords
    from models.backbones.vision import DeitPatches, ResnetPatches

    image, text = backbone.image_tower, backbone.text_tower
    assert isinstance(image, DeitPatches | ResnetPatches)
    assert isinstance(text, BertWords)
    if part.pretrained:
        image.load_pretrained(Path(part.pretrained))
    else:
        _log.warning("the image tower starts from random weights: encoder.pretrained names no file")
    if part.text_pretrained:
        text.load_pretrained(part.text_pretrained)
    else:
        _log.warning("BERT is random and stays so, it is frozen: encoder.text_pretrained names no folder")


def _bdam(recipe: Recipe, train: tuple[Record, ...]) -> PersonEncoder:
    part = recipe.encoder
    if part.backbone not in (patches.COMPACT, patches.VIT):
        raise TrainingError(f"BDAM has no backbone {part.backbone!r}; it has {patches.COMPACT} and {patches.VIT}")
    tokenizer = _tokenizer(part, train)
    options = {**part.options}
    encoder = build(bdam_spec(part.backbone, tokenizer, height=part.height, width=part.width, options=options))
    assert isinstance(encoder, Bdam)
    if part.backbone != patches.COMPACT:
        _load_bdam(encoder.backbone, part)
    return encoder


def _load_bdam(backbone: patches.PatchBackbone, part: EncoderPart) -> None:
    assert isinstance(backbone, patches.VitBertBackbone)
    if part.pretrained:
        backbone.image_tower.load_pretrained(Path(part.pretrained))
    else:
        _log.warning("the image tower starts from random weights: encoder.pretrained names no folder")
    if part.text_pretrained:
        backbone.text_tower.load_pretrained(part.text_pretrained)
    else:
        _log.warning("BERT starts from random weights: encoder.text_pretrained names no folder")


def _tokenizer(part: EncoderPart, train: tuple[Record, ...]) -> TokenizerSpec:
    if part.backbone == COMPACT:
        return TokenizerSpec("words", part.length, _words(part, train))
    if part.text_pretrained is None:
        texts = [text for record in train for text in record.descriptions]
        pieces = WordPieceTokenizer.vocabulary_of(texts, minimum=part.word_minimum, limit=part.vocabulary)
    else:
        path = part.text_pretrained / _VOCABULARY
        if not path.is_file():
            raise TrainingError(f"{path} is missing: BERT's weights come with their vocabulary, one piece a line")
        pieces = tuple(path.read_text(encoding="utf-8").splitlines())
    spec = TokenizerSpec("wordpiece", part.length, pieces)
    try:
        Tokenizer.build(spec)
    except ValueError as error:
        raise TrainingError(f"the vocabulary of BERT cannot be used: {error}") from error
    return spec


def _words(part: EncoderPart, train: tuple[Record, ...]) -> tuple[str, ...]:
    if part.towers is not None:
        return words_with_towers(part, train)
    texts = [text for record in train for text in record.descriptions]
    words = WordTokenizer.vocabulary_of(texts, minimum=part.word_minimum, limit=part.vocabulary)
    if not words:
        raise TrainingError(
            f"the {len(train)} train images have no word in their descriptions that occurs {part.word_minimum} times"
        )
    return words
