"""Retraining on a gallery of another site, through the whole product: ingest, job, gate.

The rival is the model that answered before, on the same held-out people of the same gallery; the bar is 10 points.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from app.commands.models import activate_version, register_checkpoint
from app.core import Core, open_core
from app.gallery.sources import open_source
from app.jobs.kinds import KINDS, Hands
from app.jobs.service import JobService
from app.registry.service import ModelService
from app.retraining.schemas import NewRetraining
from app.retraining.service import RetrainingService
from app.settings import Settings
from benchmarks.figures import Figure
from models.checkpoint import DEMO

_WORKER = "bench"


def measure_retraining(folder: Path, identities: int) -> list[Figure]:
    """R@1 and mAP of a retrained version against the shipped one that it started from, and the minutes that it took.

    Raises:
        SystemExit: the gate refused it, or R@1 rose by less than 10 points.
    """
    gallery = folder / "gallery"
    words = ["synthesise-gallery", str(gallery), "--identities", str(identities), "--seed", "5", "--shifted"]
    subprocess.run([sys.executable, "-m", "training", *words], check=True, capture_output=True)
    core = open_core(Settings(data_dir=folder / "data", device="cpu"))
    activate_version(core, register_checkpoint(core, DEMO, "shipped").id)
    list(core.ingest().run(open_source(gallery)))
    began = time.perf_counter()
    told = _retrain(core)
    minutes = (time.perf_counter() - began) / 60
    with core.database.read() as session:
        row = ModelService(session).find(int(told["version"]))
    core.close()
    assert row.gate is not None
    whole = row.gate["sets"][0]
    for reason in told["reasons"]:
        sys.stderr.write(f"{reason['code']}: {reason['message']}\n")
    if not told["accepted"] or whole["R@1"]["difference"] < 10:
        raise SystemExit(f"retraining did not raise R@1 by 10 points: {whole['R@1']}")
    rival = "the shipped model that it started from"
    held_out = f"{whole['queries']} held-out queries"
    figures = [
        Figure(f"another site, {name}, {held_out}", whole[name]["candidate"], "%", whole[name]["active"], rival)
        for name in ("R@1", "mAP")
    ]
    return [
        *figures,
        Figure("retraining, from the request to the gate's word", minutes, "min", 10.0, "bar"),
    ]


def _retrain(core: Core) -> dict[str, Any]:
    """The whole job, in this process's hands; what it tells at its end."""
    asked = NewRetraining(device="cpu")
    job_id = RetrainingService(core.database, core.settings).create(asked).id
    with core.database.write() as session:
        job = JobService(session).claim(_WORKER)
        assert job is not None
        assert JobService(session).begin(job.id, _WORKER)
    work = KINDS["retraining"].start(Hands(core, job_id, _WORKER, threading.Event()))
    while work.advance():
        pass
    with core.database.read() as session:
        progress = JobService(session).find(job_id).progress
    assert progress is not None
    return progress
