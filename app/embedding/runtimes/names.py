"""The runtimes by name, and what each needs."""

import importlib.metadata
import os
import shutil
import sysconfig
from functools import cache
from pathlib import Path
from typing import get_args

import torch

from app.embedding.runtimes.known import RuntimeName
from app.lanes import cores

EXACT: RuntimeName = "torch-fp32"
"""The reference that the others are compared with."""
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
COMPILED: tuple[RuntimeName, ...] = ("torch-compile-fp32", "torch-compile-bf16")
"""Each start of these takes minutes: they are measured and used only if somebody names them."""
UNASKED: tuple[RuntimeName, ...] = tuple(name for name in RUNTIMES if name not in COMPILED)
"""What is measured where nobody names any."""
LIBRARIES = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
"""The package behind the first part of a name."""
_EXPORTERS = {"onnx": ("onnx", "onnxscript")}
"""What is needed besides to make what the library reads."""
_BF16 = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}
"""Flags in /proc/cpuinfo of processors that multiply in bfloat16, x86 and ARM."""


def library_of(name: RuntimeName) -> str:
    """The package that runs it."""
    return LIBRARIES[name.split("-")[0]]


def version_of(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def obstacle(name: RuntimeName, device: torch.device) -> str | None:
    """Why a runtime cannot run here on a device, and what to do about it; None if it can."""
    family, *how, precision = name.split("-")
    missing = [package for package in (LIBRARIES[family], *_EXPORTERS.get(family, ())) if version_of(package) is None]
    if missing:
        return f"{', '.join(missing)} is not installed: uv pip install -c constraints.txt -e '.[cpu,{family}]'"
    if family != "torch" and device.type != "cpu":
        return f"it runs on a CPU and the encoder is on {device.type}; set DESCRY_DEVICE=cpu"
    if precision == "fp16" and device.type != "cuda":
        return "fp16 is for GPUs"
    if precision == "bf16" and not has_bf16(device):
        return f"this {'GPU' if device.type == 'cuda' else 'processor'} has no bfloat16 instructions"
    return _no_compiler(device) if how else None


def _no_compiler(device: torch.device) -> str | None:
    """Why what torch.compile generates cannot be built here; None if it can."""
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler ({compiler}), which torch.compile needs: apt-get install g++, or set CXX"
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        return f"Python.h, which torch.compile needs, is not in {headers}: apt-get install python3-dev"
    if device.type == "cuda" and version_of("triton") is None:
        return "triton, which torch.compile needs on a GPU, is not installed: uv pip install -c constraints.txt triton"
    return None


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 itself; emulated it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(_BF16 & _processor()[1])


@cache
def machine(device: torch.device) -> tuple[tuple[str, str], ...]:
    """What a measurement holds for: processor, cores, device and versions of the libraries."""
    versions = [(package, version_of(package) or "absent") for package in sorted(set(LIBRARIES.values()))]
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    return (("processor", _processor()[0]), ("cores", str(cores())), ("gpu", gpu), *versions)


@cache
def _processor() -> tuple[str, frozenset[str]]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = found.get("flags", found.get("Features", ""))
    return found.get("model name", found.get("CPU part", "unknown")), frozenset(flags.split())
