"""The encoder that a recipe starts from."""

import logging
from dataclasses import replace
from pathlib import Path

from models.backbones.local import COMPACT, DEIT, RESNET, LocalBackbone
from models.checkpoint import CheckpointInfo, load_checkpoint, read_info
from models.clip_baseline import ClipBaseline, compact_spec, load_pretrained, open_clip_spec
from models.encoder import PersonEncoder
from models.lgur import Lgur, lgur_spec
from models.registry import build
from models.tokenizers import Tokenizer, TokenizerSpec, WordPieceTokenizer, WordTokenizer
from training.errors import TrainingError
from training.recipe import EncoderPart, Recipe
from training.records import Record

_log = logging.getLogger(__name__)
_VOCABULARY = "vocab.txt"
NETWORKS = {"dgcmia": "clip_baseline"}
"""The network of a training method, where it is called otherwise."""


def build_encoder(recipe: Recipe, train: tuple[Record, ...]) -> PersonEncoder:
    """A fresh encoder, or that of the checkpoint that the recipe starts from.

    Fresh ones without a published vocabulary learn theirs from the train split's descriptions.

    Raises:
        TrainingError: a train split without descriptions, a backbone that the method does not have, or a checkpoint to
            start from that is another method's.
        CheckpointError: that checkpoint cannot be loaded.
        BackboneError: an unknown open_clip model, or weights that cannot be had.
    """
    if recipe.encoder.start is not None:
        return started(recipe.method, recipe.encoder, train)
    return _lgur(recipe, train) if recipe.method == "lgur" else _baseline(recipe.encoder, train)


def started(method: str, part: EncoderPart, train: tuple[Record, ...]) -> PersonEncoder:
    """The encoder of the checkpoint `part.start`, to be trained on; see `build_encoder`."""
    assert part.start is not None
    check_start(method, read_info(part.start))
    encoder = load_checkpoint(part.start).train().requires_grad_(True)
    spec = encoder.spec
    if spec.backbone != COMPACT or spec.tokenizer.kind != "words":
        return encoder
    texts = [text for record in train for text in record.descriptions]
    found = WordTokenizer.vocabulary_of(texts, minimum=part.word_minimum, limit=part.vocabulary)
    new = tuple(word for word in found if word not in set(spec.tokenizer.vocabulary))
    return _with_words(encoder, new) if new else encoder


def check_start(method: str, info: CheckpointInfo) -> None:
    """Refuse a checkpoint that a training method cannot go on from.

    Raises:
        TrainingError: it holds another network than the method trains.
    """
    network = NETWORKS.get(method, method)
    if info.spec.method != network:
        raise TrainingError(
            f"{info.path} is a checkpoint of {info.spec.method!r}, and {method} trains {network!r}: choose a method "
            "that trains the former, or another checkpoint to start from"
        )


def _with_words(encoder: PersonEncoder, new: tuple[str, ...]) -> PersonEncoder:
    """The same encoder with further words at the end of its vocabulary, whose rows in the word table are fresh."""
    spec = encoder.spec
    tokenizer = replace(spec.tokenizer, vocabulary=(*spec.tokenizer.vocabulary, *new))
    grown = build(replace(spec, tokenizer=tokenizer))
    state, fresh = encoder.state_dict(), grown.state_dict()
    for name, value in state.items():
        if value.shape != fresh[name].shape:  # the word table
            fresh[name][: len(value)] = value
            state[name] = fresh[name]
    grown.load_state_dict(state)
    return grown


def _baseline(part: EncoderPart, train: tuple[Record, ...]) -> PersonEncoder:
    if part.backbone != COMPACT:
        encoder = build(open_clip_spec(part.backbone, height=part.height, width=part.width))
        assert isinstance(encoder, ClipBaseline)
        if part.pretrained:
            load_pretrained(encoder, part.pretrained)
        return encoder
    words = _words(part, train)
    return build(compact_spec(words, height=part.height, width=part.width, length=part.length, **part.options))


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
    texts = [text for record in train for text in record.descriptions]
    words = WordTokenizer.vocabulary_of(texts, minimum=part.word_minimum, limit=part.vocabulary)
    if not words:
        raise TrainingError(
            f"the {len(train)} train images have no word in their descriptions that occurs {part.word_minimum} times"
        )
    return words
