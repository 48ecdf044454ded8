"""A folder and a shell for the commands of the guides."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guides.commands import ROOT, Walk


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    programs, home, folder = tmp_path / "bin", tmp_path / "home", tmp_path / "work"
    for made in (programs, home, folder):
        made.mkdir()
    (programs / "descry").write_text(f'#!/bin/sh\nexec {sys.executable} -m app.cli "$@"\n')
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "torchrun").write_text(f'#!/bin/sh\nexec {sys.executable} -m torch.distributed.run "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    keep = {name: os.environ[name] for name in ("LANG", "OMP_NUM_THREADS", "TMPDIR") if name in os.environ}
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    # The working tree is where the modules are; the commands run in a folder of their own.
    own = {"HOME": str(home), "PATH": path, "PYTHONPATH": str(ROOT), "DESCRY_DEVICE": "cpu", "COLUMNS": "200"}
    yield Walk(folder, {**keep, **own}, {})
    shutil.rmtree(folder)
