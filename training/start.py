"""Training that goes on from a checkpoint: its network and vocabulary, and the words that are new to it."""

from dataclasses import replace

from models.backbones.local import COMPACT
from models.checkpoint import CheckpointInfo, load_checkpoint, read_info
from models.encoder import PersonEncoder
from models.registry import build
from models.tokenizers import WordTokenizer
from training.errors import TrainingError
from training.recipe import EncoderPart
from training.records import Record

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
