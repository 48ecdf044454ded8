"""Training that goes on from a checkpoint: its network and vocabulary, and the words that are new to it.

Or that begins with the towers of one, whatever its method, below a fresh network of its own (`take_towers`).
"""

import logging
from dataclasses import replace
from pathlib import Path

from models.backbones.local import COMPACT
from models.checkpoint import CheckpointInfo, load_checkpoint, read_info
from models.encoder import PersonEncoder
from models.registry import build
from models.tokenizers import WordTokenizer
from training.errors import TrainingError
from training.recipe import EncoderPart
from training.records import Record

_log = logging.getLogger(__name__)
_TOWERS = ("backbone.image_tower.", "backbone.text_tower.")
_WORD_TABLE = "backbone.text_tower.embed.weight"

NETWORKS = {"dgcmia": "clip_baseline"}
"""The network of a training method, where it is called otherwise."""


def started(method: str, part: EncoderPart, train: tuple[Record, ...]) -> PersonEncoder:
    """The encoder of the checkpoint `part.start`, to be trained on; see `build_encoder`."""
    assert part.start is not None
    check_start(method, read_info(part.start))
    encoder = load_checkpoint(part.start).train().requires_grad_(True)
    spec = encoder.spec
    if spec.backbone != COMPACT or spec.tokenizer.kind != "words":
        return encoder
    new = _new_words(spec.tokenizer.vocabulary, part, train)
    return _with_words(encoder, new) if new else encoder


def words_with_towers(part: EncoderPart, train: tuple[Record, ...]) -> tuple[str, ...]:
    """The vocabulary of an encoder that begins with the towers `part.towers`: theirs, then the words new to them.

    Raises:
        TrainingError: they are not the towers of `compact`.
        CheckpointError: the checkpoint cannot be read.
    """
    assert part.towers is not None
    spec = read_info(part.towers).spec
    if spec.backbone != COMPACT:
        raise TrainingError(
            f"encoder.towers takes the towers of {COMPACT}, and {part.towers} has those of {spec.backbone}"
        )
    return (*spec.tokenizer.vocabulary, *_new_words(spec.tokenizer.vocabulary, part, train))


def take_towers(encoder: PersonEncoder, folder: Path) -> tuple[str, ...]:
    """Put the weights of a checkpoint's towers into a fresh encoder on `compact`, in place; the methods may differ.

    The rule: each weight and running statistic of an image or text tower that the checkpoint has under the same name
    is taken, of the word table the rows of its words. What the checkpoint does not have stays as it began: what the
    method has beyond the towers, and in them what the other method has no use for (BDAM's patches are not pooled by
    rows, so that its positions and the projection to `dim` are fresh where a baseline's towers are taken).

    Returns:
        The names of the towers' weights that stayed fresh.

    Raises:
        TrainingError: a weight of another shape, pixels on another scale, or a tower of which nothing can be taken.
        CheckpointError: the checkpoint cannot be loaded.
    """
    given = load_checkpoint(folder)
    ours, theirs = encoder.spec.preprocessing, given.spec.preprocessing
    if (ours.mean, ours.std) != (theirs.mean, theirs.std):
        raise TrainingError(f"the towers of {folder} were trained on pixels of another mean and deviation")
    state, known = encoder.state_dict(), given.state_dict()
    own = [name for name in state if name.startswith(_TOWERS)]
    taken = [name for name in own if name in known]
    for tower in _TOWERS:
        if not any(name.startswith(tower) for name in taken):
            raise TrainingError(f"{folder} has no weights for {tower.rstrip('.')} of {encoder.spec.method}")
    for name in taken:
        value = known[name]
        if name == _WORD_TABLE and value.shape[1:] == state[name].shape[1:]:
            state[name][: len(value)] = value
        elif value.shape == state[name].shape:
            state[name].copy_(value)
        else:
            raise TrainingError(
                f"{name} is {tuple(value.shape)} in {folder} and {tuple(state[name].shape)} here: give "
                "encoder.options and sizes that the checkpoint has"
            )
    fresh = tuple(name for name in own if name not in known)
    _log.info("%d weights taken from %s; of the towers these begin fresh: %s", len(taken), folder, ", ".join(fresh))
    return fresh


def _new_words(known: tuple[str, ...], part: EncoderPart, train: tuple[Record, ...]) -> tuple[str, ...]:
    texts = [text for record in train for text in record.descriptions]
    found = WordTokenizer.vocabulary_of(texts, minimum=part.word_minimum, limit=part.vocabulary)
    there = set(known)
    return tuple(word for word in found if word not in there)


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
