"""Too little memory: halves until it fits, remembers it for a while, and one item that never fits has a code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from app.embedding.memory import Fitting, is_out_of_memory
from app.errors import EncoderMemoryError
from tests.waiting import PROCESS_S


class Device:
    """Room for `room` rows at once; says it as `error` when that is too little."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room, self.error = room, error
        self.tried: list[int] = []

    def __call__(self, rows: Tensor) -> Tensor:
        self.tried.append(len(rows))
        if len(rows) > self.room:
            raise self.error
        return rows * 2


ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("Non-zero status code: std::bad_alloc"),
    MemoryError(),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_halves_until_it_fits_and_keeps_the_order(error: Exception) -> None:
    device, fitting = Device(5, error), Fitting("pictures")
    found = torch.cat(fitting.run(torch.arange(23), device))
    assert found.tolist() == list(range(0, 46, 2))
    assert device.tried == [23, 11, 5, 5, 5, 5, 3]
    assert (fitting.most, fitting.halvings) == (5, 2)


def test_the_smaller_size_is_kept_and_later_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    device, fitting = Device(4, MemoryError()), Fitting("pictures")
    now = 1000.0
    monkeypatch.setattr("app.embedding.memory.time.monotonic", lambda: now)
    fitting.run(torch.arange(8), device)
    fitting.run(torch.arange(8), device)
    assert device.tried == [8, 4, 4, 4, 4]
    device.room, now = 100, now + 61
    fitting.run(torch.arange(8), device)
    assert device.tried[5:] == [8]


def test_one_that_does_not_fit_alone_has_a_code_and_the_next_works() -> None:
    device, fitting = Device(0, MemoryError()), Fitting("pictures")
    with pytest.raises(EncoderMemoryError) as failed:
        fitting.run(torch.arange(4), device)
    assert failed.value.code == "encoder_out_of_memory"
    device.room = 2
    assert torch.cat(fitting.run(torch.arange(3), device)).tolist() == [0, 2, 4]


def test_other_errors_pass() -> None:
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError, match="shape"):
        Fitting("texts").run(torch.arange(2), Device(0, RuntimeError("shape mismatch")))


PROGRAM = """
import resource, torch
from pathlib import Path
from app.embedding.service import EncoderService
from app.settings import Settings
from models.checkpoint import DEMO

service = EncoderService.load(DEMO, Settings(device="cpu", encode_batch=512))
pre = service.spec.preprocessing
pixels = torch.randint(0, 256, (512, 3, pre.height, pre.width), dtype=torch.uint8)
first = service.encode_here([pixels[0]])["text"]
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 120 * 2**20, resource.RLIM_INFINITY))
found = service.encode_here(list(pixels))["text"]
assert found.shape == (512, first.shape[1])
assert abs(found[0] - first[0]).max() < 1e-4
print("halvings", service.stats["halvings"])
"""


def test_an_allocator_that_really_has_no_more_is_understood(tmp_path: Path) -> None:
    """The shipped checkpoint in a process that may take 120 MB more; a pass of 512 pictures takes far more."""
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) >= 1
