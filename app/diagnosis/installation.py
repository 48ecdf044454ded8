"""Python, and the packages beside it."""

import sys
from collections.abc import Iterator
from importlib import import_module, metadata

from app.diagnosis.schemas import Finding, fail, ok, warn
from app.embedding.device import resolve_device
from app.embedding.runtimes.names import version_of
from app.errors import ConfigurationError, FaissConflictError
from app.settings import Settings
from app.tracing import wanted
from app.vectors.installation import check_installation

_LEAST = (3, 11)
_EXTRAS = {
    "postgres": ("psycopg",),
    "s3": ("boto3",),
    "milvus": ("pymilvus",),
    "milvus-lite": ("pymilvus", "milvus-lite"),
    "onnx": ("onnxruntime", "onnx", "onnxscript"),
    "openvino": ("openvino",),
    "video": ("av", "opencv-python-headless"),
    "blur": ("opencv-python-headless",),
    "otel": ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
    "spacy": ("spacy",),
    "mamba": ("mamba-ssm", "causal-conv1d"),
}
"""Distributions of each optional extra of pyproject.toml, but for those that choose a FAISS and for `dev`."""
_INSTALL = "uv pip install -c constraints.txt -e '.[cpu,{}]'"


def installation(settings: Settings) -> Iterator[Finding]:
    """Python, PyTorch, FAISS, the device and the extras."""
    yield _python()
    torch = _torch()
    yield torch
    yield _faiss(settings)
    if torch.status != "fail":
        yield _device(settings)
    yield _extras(settings)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _LEAST:
        return fail("python", f"Python {found}", "Descry needs Python 3.11 or newer: make install PYTHON=python3.11")
    return ok("python", f"Python {found} at {sys.executable}")


def build_of(version: str) -> str:
    """The build family in a version: "cpu" of 2.6.0+cpu; of one without a suffix, the default of the package index."""
    return version.partition("+")[2] or "default"


def _torch() -> Finding:
    advice = "install both from one source: rm -rf .venv, then make install (UV_TORCH_BACKEND=cpu make install)"
    try:
        versions = {name: metadata.version(name) for name in ("torch", "torchvision")}
        import_module("torch")
        import_module("torchvision.ops")  # its operators do not load beside a PyTorch of another build
    except (ImportError, OSError, RuntimeError) as error:
        return fail("torch", f"PyTorch or torchvision cannot be loaded: {_first_line(error)}", advice)
    told = f"torch {versions['torch']}, torchvision {versions['torchvision']}"
    if len({build_of(version) for version in versions.values()}) > 1:
        return fail("torch", f"{told} are of two builds", advice)
    return ok("torch", told)


def _faiss(settings: Settings) -> Finding:
    advice = "install exactly one of the extras `cpu` and `gpu`: make install, or make install EXTRA=gpu"
    try:
        check_installation()
        faiss = import_module("faiss")
    except FaissConflictError as error:
        return fail("faiss", error.message, advice)
    except (ImportError, OSError, AttributeError) as error:
        if settings.vector_engine == "faiss":
            return fail("faiss", f"FAISS cannot be loaded: {_first_line(error)}", advice)
        return ok("faiss", "not installed, and not needed: the vectors are in Milvus")
    gpus = int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0
    return ok("faiss", f"FAISS {faiss.__version__}, {f'sees {gpus} GPUs' if gpus else 'on the CPU'}")


def _device(settings: Settings) -> Finding:
    import torch

    try:
        device = resolve_device(settings.device)
    except ConfigurationError as error:
        return fail("device", error.message, "set DESCRY_DEVICE=auto, or install a PyTorch for CUDA and its driver")
    if device.type == "cuda":
        return ok("device", f"the encoder runs on {torch.cuda.get_device_name(device)}")
    if torch.version.cuda is not None and settings.device == "auto":
        return ok("device", "the encoder runs on the CPU; PyTorch is built for CUDA and sees no GPU")
    return ok("device", "the encoder runs on the CPU")


def needed_extras(settings: Settings) -> dict[str, str]:
    """The extras that the settings ask for, and by what."""
    needed: dict[str, str] = {}
    if settings.database.startswith("postgres"):
        needed["postgres"] = "DESCRY_DATABASE_URL"
    if settings.image_store:
        needed["s3"] = "DESCRY_IMAGE_STORE"
    if settings.vector_engine == "milvus":
        remote = "://" in settings.milvus
        needed["milvus" if remote else "milvus-lite"] = "DESCRY_VECTOR_ENGINE"
    if (family := settings.runtime.partition("-")[0]) in ("onnx", "openvino"):
        needed[family] = "DESCRY_RUNTIME"
    if settings.video_detector.endswith(".onnx"):
        needed["onnx"] = "DESCRY_VIDEO_DETECTOR"
    if settings.blur_faces:
        needed["blur"] = "DESCRY_BLUR_FACES"
    if wanted(settings):
        needed["otel"] = "DESCRY_TRACES or OTEL_EXPORTER_OTLP_ENDPOINT"
    return needed


def _extras(settings: Settings) -> Finding:
    there = {name for name, parts in _EXTRAS.items() if all(version_of(part) is not None for part in parts)}
    needed = needed_extras(settings)
    missing = sorted(set(needed) - there)
    if missing:
        asked = "; ".join(f"{needed[name]} needs the extra {name}" for name in missing)
        return fail("extras", asked, _INSTALL.format(",".join(missing)))
    absent = sorted(set(_EXTRAS) - there)
    told = f"installed: {', '.join(sorted(there)) or 'none'}; not installed: {', '.join(absent) or 'none'}"
    if "video" in absent and settings.video_dir.is_dir():
        return warn("extras", f"{told}; there are videos", _INSTALL.format("video"))
    return ok("extras", told)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
