"""What a worker needs for job after job: no more after many than after a few."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from app.core import Core
from app.database.tables import ModelVersion
from app.jobs.service import JobService
from tests.app.test_indexing_jobs import finish
from tests.app.toy import picture
from tests.waiting import PROCESS_S

PROGRAM = """
import ctypes, gc, json, os, sys, threading
from pathlib import Path
import numpy as np
from PIL import Image
from app.allocator import few_arenas
from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.jobs.service import JobService
from app.settings import Settings
from models.checkpoint import DEMO
from tests.app.test_indexing_jobs import finish

class Mallinfo(ctypes.Structure):
    _fields_ = [(f"f{number}", ctypes.c_size_t) for number in range(10)]

clib = ctypes.CDLL(None)
if not hasattr(clib, "mallinfo2"):
    print("null")
    sys.exit()
clib.mallinfo2.restype = Mallinfo

def now():
    found = clib.mallinfo2()
    threads = [thread for thread in threading.enumerate() if not thread.name.startswith("descry-watchdog")]
    return {"bytes": found.f7 + found.f4, "threads": len(threads), "files": len(os.listdir("/proc/self/fd"))}

few_arenas()
dice, folder = np.random.default_rng(1), Path(sys.argv[1])
gc.disable()  # or chance would decide how many encoders are left of those that were loaded
with opened(Settings(data_dir=folder / "data", device="cpu")) as core:
    activate_version(core, register_checkpoint(core, DEMO, "demo").id)
    for number in range(15):
        source = folder / str(number)
        source.mkdir()
        for place in range(2):
            Image.fromarray(dice.integers(0, 255, (96, 40, 3), np.uint8)).save(source / f"{place}.jpg")
        with core.database.write() as session:
            JobService(session).create("ingest", {"folder": str(source), "collection": "default"})
        job = finish(core)
        with core.database.write() as session:
            service = JobService(session)
            assert service.find(job).done == 2
            service.finish(service.find(job), "succeeded")
        if number == 2:
            before = now()
    print(json.dumps([before, now()]))
"""


def test_twelve_jobs_more_leave_nothing_behind(tmp_path: Path) -> None:
    """An encoder of the shipped checkpoint takes 6.7 MiB: one for each job would be 80 MiB more."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    if (told := json.loads(done.stdout.splitlines()[-1])) is None:
        pytest.skip("only glibc says how much memory is in use")
    before, after = told
    assert after["bytes"] - before["bytes"] < 30 * 2**20
    assert after["threads"] <= before["threads"] + 2
    assert after["files"] <= before["files"] + 4


def test_jobs_one_after_the_other_share_an_encoder(core: Core, tmp_path: Path) -> None:
    with core.database.read() as session:
        version = session.scalars(select(ModelVersion.id)).one()
    seen = set()
    for number in range(3):
        picture(tmp_path / str(number) / "1.jpg", "red", shade=number)
        with core.database.write() as session:
            JobService(session).create("ingest", {"folder": str(tmp_path / str(number)), "collection": "default"})
        job = finish(core)
        with core.database.write() as session:
            JobService(session).finish(JobService(session).find(job), "succeeded")
        seen.add(id(core.active.load_encoder(version)[2]))
    assert len(seen) == 1
    core.tidy()
    assert id(core.active.load_encoder(version)[2]) in seen  # it was used a moment ago
