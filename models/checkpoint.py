"""A checkpoint is a folder: `model.safetensors`, `spec.json`, `model_card.md`, and once it was calibrated
`calibration.json`. Never pickle."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.calibration import CALIBRATION, read_calibration
from models.encoder import EncoderSpec, PersonEncoder
from models.errors import CheckpointError
from models.registry import build
from models.unfilled import Unfilled

WEIGHTS, SPEC, CARD = "model.safetensors", "spec.json", "model_card.md"
DEMO = Path(__file__).parent / "demo"
"""The checkpoint that ships with Descry: `compact`, trained on synthetic people."""

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What can be said of a checkpoint without building the network."""

    path: Path
    spec: EncoderSpec
    fingerprint: str
    """SHA-256 (hex) over the weights and the spec: two checkpoints with one fingerprint give the same vectors."""
    calibration: dict[str, Any] = field(default_factory=dict)
    """The content of `calibration.json` (`models.calibration`); empty without one. No part of the fingerprint."""


def save_checkpoint(
    encoder: PersonEncoder, folder: Path, *, card: str, precision: Literal["fp32", "fp16"] = "fp32"
) -> CheckpointInfo:
    """Write the encoder to `folder` (created if absent); each file appears whole or not at all.

    Args:
        card: the model card, Markdown.
        precision: storage type of floating-point weights; loading always gives fp32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dtype = _DTYPES[precision]
    state = {
        name: value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous().clone()
        for name, value in encoder.state_dict().items()
    }
    partial = folder / f"{WEIGHTS}.partial"
    save_file(state, partial)
    partial.chmod(0o644)  # the library writes for the owner alone; a server often runs as another user
    with partial.open("rb") as handle:
        os.fsync(handle.fileno())
    partial.replace(folder / WEIGHTS)
    _write_text(folder / SPEC, json.dumps(encoder.spec.to_dict(), indent=1) + "\n")
    _write_text(folder / CARD, card)
    (folder / CALIBRATION).unlink(missing_ok=True)  # it held for the weights before
    return read_info(folder)


def read_info(folder: Path) -> CheckpointInfo:
    """Read spec and fingerprint, not the weights' values.

    Raises:
        CheckpointError: the folder, a file in it, or a field of the spec is missing or wrong.
    """
    spec, raw = _read_spec(folder)
    return CheckpointInfo(folder, spec, _fingerprint(folder, raw), read_calibration(folder))


def _read_spec(folder: Path) -> tuple[EncoderSpec, bytes]:
    for name in (WEIGHTS, SPEC):
        if not (folder / name).is_file():
            found = "the folder does not exist" if not folder.is_dir() else f"{name} is missing"
            raise CheckpointError(f"{folder} is no checkpoint: {found} (expected {WEIGHTS}, {SPEC}, {CARD})")
    raw = (folder / SPEC).read_bytes()
    try:
        spec = EncoderSpec.from_dict(json.loads(raw))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / SPEC} cannot be read: {type(error).__name__}: {error}") from error
    return spec, raw


def _fingerprint(folder: Path, raw: bytes) -> str:
    digest = hashlib.sha256(raw)
    with (folder / WEIGHTS).open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def load_checkpoint(folder: Path, *, device: str | torch.device = "cpu") -> PersonEncoder:
    """Build the encoder of a checkpoint on `device`, in evaluation mode, weights in fp32.

    Raises:
        CheckpointError: missing or damaged files, an unknown method, or weights that do not fit the spec.
    """
    spec, raw = _read_spec(folder)
    read_calibration(folder)  # one that is damaged is told now
    with ThreadPoolExecutor(1, thread_name_prefix="fingerprint") as pool:  # a second for the weights of a ViT-B/16
        fingerprint = pool.submit(_fingerprint, folder, raw)
        encoder = _loaded(folder, spec)
        encoder.fingerprint = fingerprint.result()
    return encoder.to(device).eval().requires_grad_(False)


def _loaded(folder: Path, spec: EncoderSpec) -> PersonEncoder:
    try:
        state = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{folder / WEIGHTS} is not a readable safetensors file: {error}") from error
    try:
        with Unfilled():
            encoder = build(spec)
        # assign=False copies into the fp32 parameters that build made, whatever the storage type was; strict, into all.
        encoder.load_state_dict(state, strict=True)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the weights in {folder} do not fit its spec: {error}") from error
    return encoder


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)
