"""Which runtime runs an encoder, and its start.

A runtime other than the exact one is used only when its vectors have been compared with the exact ones, on this machine
and for this checkpoint; the comparison is kept beside the exports. What was asked for by name and cannot be had is an
error. `auto` falls back to the exact runtime, and says so.
"""

import logging
import shutil
from pathlib import Path

import torch

from app.embedding.runtime import Runtime, TorchRuntime
from app.embedding.runtimes.buckets import Buckets
from app.embedding.runtimes.exports import brief, exported
from app.embedding.runtimes.half import HalfRuntime
from app.embedding.runtimes.known import RuntimeName
from app.embedding.runtimes.names import COMPILED, EXACT, library_of, machine, obstacle
from app.embedding.runtimes.parity import LEAST_COSINE, Probes, least_cosine, probes_of
from app.embedding.runtimes.records import read_record, remember_cosine
from app.errors import RuntimeRefusedError, RuntimeUnavailableError
from app.settings import Settings
from models.encoder import PersonEncoder

_log = logging.getLogger(__name__)
LARGE = 20_000_000
"""Parameters from which an encoder is slow enough for bfloat16 to be worth it unmeasured."""


def open_runtime(encoder: PersonEncoder, settings: Settings) -> Runtime:
    """The runtime of the settings for an encoder.

    Raises:
        RuntimeUnavailableError: the one that was asked for by name cannot run here.
        RuntimeRefusedError: it cannot run this network, or its vectors are too far from the exact ones.
        DiskLowError: there is no room for its export.
    """
    if settings.runtime != "auto":
        return open_named(settings.runtime, encoder, settings)
    name, why = automatic(encoder, settings)
    try:
        runtime = open_named(name, encoder, settings)
    except (RuntimeUnavailableError, RuntimeRefusedError) as error:
        _log.warning("DESCRY_RUNTIME=auto: %s instead of %s: %s", EXACT, name, error.message)
        return TorchRuntime(encoder)
    _log.info("the encoder runs on %s: %s", name, why)
    return runtime


def automatic(encoder: PersonEncoder, settings: Settings) -> tuple[RuntimeName, str]:
    """What `auto` means for an encoder on this machine, and why."""
    device = device_of(encoder)
    record = read_record(home_of(encoder, settings), machine(device)) if encoder.fingerprint else None
    if record is not None and record.choice is not None:
        return record.choice, "chosen by `descry tune` on this machine"
    if device.type == "cpu" and size_of(encoder) >= LARGE and obstacle("torch-bf16", device) is None:
        return "torch-bf16", "a large encoder on a processor with bfloat16; `descry tune` measures the others"
    return EXACT, "the exact one, as nothing was measured; `descry tune` measures the others"


def open_named(
    name: RuntimeName,
    encoder: PersonEncoder,
    settings: Settings,
    probes: Probes | None = None,
    buckets: Buckets | None = None,
) -> Runtime:
    """A runtime whose vectors are known to be near enough.

    Args:
        probes: compare anew, with these; None compares only what was never compared on this machine.
        buckets: the shapes that one of `COMPILED` is compiled for; None takes those that a service needs.

    Raises:
        RuntimeUnavailableError, RuntimeRefusedError, DiskLowError: see `open_runtime`.
    """
    device = device_of(encoder)
    if (reason := obstacle(name, device)) is not None:
        raise RuntimeUnavailableError(f"DESCRY_RUNTIME={name} cannot be used: {reason}")
    if name == EXACT:
        return TorchRuntime(encoder)
    runtime = _open(name, encoder, settings, buckets)
    home = home_of(encoder, settings)
    cosine = read_record(home, machine(device)).cosines.get(name) if encoder.fingerprint and probes is None else None
    if cosine is None:
        try:
            cosine = _compared(name, runtime, probes or probes_of(encoder))
        except RuntimeRefusedError:
            _discard(name, home)
            raise
        if encoder.fingerprint:
            remember_cosine(home, machine(device), name, cosine)
    if cosine < LEAST_COSINE:
        _discard(name, home)
        raise RuntimeRefusedError(
            f"{name} gives vectors of this checkpoint whose cosine with the exact ones is down to {cosine:.6f}, less "
            f"than {LEAST_COSINE}: it is not used. Take DESCRY_RUNTIME=auto or {EXACT}; `descry tune` compares anew"
        )
    return runtime


def _discard(name: RuntimeName, home: Path) -> None:
    """Remove an export that is wrong; what is wrong in bfloat16 may be right in float32."""
    if name.endswith("fp32"):
        for folder in home.glob(f"{library_of(name)}-*"):
            shutil.rmtree(folder, ignore_errors=True)


def _compared(name: RuntimeName, runtime: Runtime, probes: Probes) -> float:
    try:
        return least_cosine(runtime, probes)
    except MemoryError:
        raise
    except Exception as error:
        raise RuntimeRefusedError(
            f"{name} cannot run this network ({type(error).__name__}: {brief(error)}); use another DESCRY_RUNTIME"
        ) from error


def _open(name: RuntimeName, encoder: PersonEncoder, settings: Settings, buckets: Buckets | None) -> Runtime:
    if name == "torch-bf16":
        return HalfRuntime(encoder, torch.bfloat16)
    if name == "torch-fp16":
        return HalfRuntime(encoder, torch.float16)
    if name in COMPILED:
        from app.embedding.runtimes.compiled import CompiledRuntime

        return CompiledRuntime(encoder, torch.bfloat16 if name.endswith("bf16") else torch.float32, buckets)
    if not encoder.fingerprint:
        raise RuntimeUnavailableError(f"{name} needs an encoder that was loaded from a checkpoint, to keep its export")
    home, least = home_of(encoder, settings), settings.min_free_bytes
    if name == "onnx-fp32":
        from app.embedding.runtimes.onnx_export import OnnxRuntime, write_onnx

        return OnnxRuntime(exported(home, "onnxruntime", encoder, write_onnx, least_free=least), encoder.spec)
    from app.embedding.runtimes.openvino_export import OpenVinoRuntime, write_openvino

    folder = exported(home, "openvino", encoder, write_openvino, least_free=least)
    return OpenVinoRuntime(folder, encoder.spec, "bf16" if name == "openvino-bf16" else "f32")


def home_of(encoder: PersonEncoder, settings: Settings) -> Path:
    """The folder of a checkpoint's exports and records."""
    return settings.runtimes_dir / encoder.fingerprint[:32]


def device_of(encoder: PersonEncoder) -> torch.device:
    """Where an encoder's weights are."""
    return next(encoder.parameters(), torch.empty(0)).device


def size_of(encoder: PersonEncoder) -> int:
    return sum(parameter.numel() for parameter in encoder.parameters())
