"""A checkpoint from outside is tried out before anybody relies on it: what its spec says must be what it does."""

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from models.checkpoint import CheckpointInfo, load_checkpoint, read_info
from models.encoder import EncoderSpec, PersonEncoder
from models.errors import BackboneError, CheckpointError

_COLOURS = ((200, 30, 30), (20, 60, 200), (240, 240, 240))
_SMALLEST, _LARGEST = 8, 2048
"""Pixels of a side that an encoder of people can want."""
_UNIT, _SAME = 1e-3, 1e-5
_WRONG = (RuntimeError, IndexError, ValueError, KeyError, TypeError, AssertionError)
"""What layers raise for a tensor that they do not take."""


def try_out(folder: Path) -> CheckpointInfo:
    """Load a checkpoint and encode a few pictures and texts with it.

    Raises:
        CheckpointError: it cannot be loaded, has weights that are no numbers, preprocessing or a tokenizer that its
            network does not take, or vectors of other dimensions than its spec says.
    """
    info = read_info(folder)
    _check_preprocessing(info.spec)
    try:
        encoder = load_checkpoint(folder)
    except BackboneError as error:
        raise CheckpointError(f"backbone: {error.message}") from error
    _check_weights(encoder)
    with torch.inference_mode():
        _check_pictures(encoder)
        _check_texts(encoder)
    return info


def _check_preprocessing(spec: EncoderSpec) -> None:
    pre = spec.preprocessing
    if not all(isinstance(side, int) and _SMALLEST <= side <= _LARGEST for side in (pre.height, pre.width)):
        raise CheckpointError(
            f"preprocessing: pictures of {pre.height} x {pre.width} pixels; each side has {_SMALLEST} to {_LARGEST}"
        )
    if len(pre.mean) != 3 or len(pre.std) != 3:
        raise CheckpointError("preprocessing: mean and std have one value for each of the 3 channels")
    values = (*pre.mean, *pre.std)
    if not all(isinstance(value, int | float) and math.isfinite(value) and -1 <= value <= 2 for value in values):
        raise CheckpointError(f"preprocessing: mean and std are of pixels in [0, 1], which {values} cannot be")


def _check_weights(encoder: PersonEncoder) -> None:
    for name, value in encoder.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"weights: {name} has values that are not finite (NaN or infinite)")


def _check_pictures(encoder: PersonEncoder) -> None:
    spec = encoder.spec
    try:
        pixels = torch.stack([encoder.preprocess(Image.new("RGB", (48, 96), colour)) for colour in _COLOURS])
        found = encoder.encode_image(encoder.normalise(pixels))
    except _WRONG as error:
        pre = spec.preprocessing
        raise CheckpointError(
            f"preprocessing: the network does not take pictures of {pre.height} x {pre.width} pixels: {error}"
        ) from error
    if set(found) != set(spec.stored_spaces):
        raise CheckpointError(f"spaces: pictures get vectors for {sorted(found)}, the spec says {spec.stored_spaces}")
    for space in spec.stored_spaces:
        _check_vectors(found[space], len(_COLOURS), spec.spaces[space].dim, f"pictures in the space {space!r}")
        if float((found[space] - found[space][:1]).abs().max()) < _SAME:
            raise CheckpointError(f"weights: every picture has the same vector in the space {space!r}")


def _check_texts(encoder: PersonEncoder) -> None:
    """Real texts, one as long as it can be, and one that ends with the last id that the tokenizer can give."""
    spec, tokenizer = encoder.spec, encoder.tokenizer
    words = [word for word in spec.tokenizer.vocabulary if word.isalpha()][:50] or ["person", "red", "coat"]
    texts = [words[0], " ".join(words), " ".join(words * spec.tokenizer.length)]
    try:
        batches = [tokenizer([text]).ids for text in texts]
        last = batches[-1].clone()
        if spec.tokenizer.kind != "clip_bpe":  # its table is fixed, and its last id marks the end
            last[0, -2 if spec.tokenizer.kind == "wordpiece" else -1] = tokenizer.size - 1
        found = torch.cat([encoder.encode_text(ids) for ids in (*batches, last)])
    except _WRONG as error:
        raise CheckpointError(
            f"tokenizer: the network does not take what {spec.tokenizer.kind!r} gives (up to {spec.tokenizer.length} "
            f"tokens, ids below {tokenizer.size}): {error}"
        ) from error
    _check_vectors(found, len(texts) + 1, spec.spaces["text"].dim, "texts")


def _check_vectors(found: Tensor, count: int, dim: int, what: str) -> None:
    if tuple(found.shape) != (count, dim):
        raise CheckpointError(f"dimensions: {what} get vectors of shape {tuple(found.shape)[1:]}, the spec says {dim}")
    if not bool(torch.isfinite(found).all()):
        raise CheckpointError(f"weights: {what} get vectors that are not finite (NaN or infinite)")
    if bool(((found.float().norm(dim=1) - 1).abs() > _UNIT).any()):
        raise CheckpointError(f"weights: {what} get vectors that have not length 1")
