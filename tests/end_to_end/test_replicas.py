"""Two replicas and two workers on one PostgreSQL, one of each killed under load: nothing wrong, nothing missing.

`python -m benchmarks.replicas` is the same for longer. `DESCRY_CHAOS_SEED` sets the dice.
"""

import os
from pathlib import Path

import numpy as np

from benchmarks.acknowledged import Ledger
from benchmarks.prepared import QUERIES
from benchmarks.replicas import Plan, trial

SEED = int(os.environ.get("DESCRY_CHAOS_SEED", "1"))
PLAN = Plan(seconds=8, kill_every=3.5, worker_every=2, activate_every=3, seed=SEED)


def test_no_answer_is_wrong_while_a_replica_and_a_worker_are_killed(tmp_path: Path) -> None:
    report, fleet = trial(tmp_path, PLAN, people=24)
    logs = {name: fleet.log(name) for name in (*fleet.replicas, *fleet.workers)}
    assert report.faults == [], f"DESCRY_CHAOS_SEED={SEED}, killed {report.killed}, {report.counts}, logs in {tmp_path}"
    assert {name.split()[0] for name in report.killed} == {"replica", "worker"}
    assert len(report.ready_again_s) == sum(name.startswith("replica") for name in report.killed) >= 1
    assert report.counts["broken"] > 0, "the kill met nobody"
    assert len(report.search_ms) > 2 * len(QUERIES)
    assert min(report.ingested, report.deleted, report.activations) > 0
    assert [name for name, log in logs.items() if "Traceback" in log] == []


def test_the_check_sees_what_it_is_there_for() -> None:
    tables = {1: {"red": np.array([0.1, 0.2, 0.3], np.float32)}, 2: {"red": np.array([0.5, 0.6, 0.7], np.float32)}}
    ledger = Ledger(tables, people=3, each=1, version=1, present={10: 0, 11: 1, 12: 2}, sent={0, 1, 2})

    def judged(*images: tuple[int, int, float], version: int = 1) -> tuple[list[str], list[str]]:
        rows = [{"id": image, "source_name": f"{number:05}.jpg", "score": score} for image, number, score in images]
        answer = {"model_version": {"id": version}, "candidates": [{"images": rows}]}
        return ledger.judge("red", answer, ledger.before())

    right = ((12, 2, 0.3), (11, 1, 0.2), (10, 0, 0.1))
    assert judged(*right) == ([], [])
    assert judged(*right[1:]) == ([], ["image 12"])
    assert judged(*right, right[0])[0] == ["an image twice"]
    assert judged(*right[1:], (12, 2, 0.7))[0] == ["scores that version 1 does not give: [12] (of version [2])"]
    assert judged(*right, version=2)[0] == ["scores that version 2 does not give: [12, 11, 10] (of version [1])"]
    ledger.doom([12])
    assert judged(*right) == judged(*right[1:]) == ([], [])  # asked for and not answered: either is right
    ledger.deleted([12])
    assert judged(*right)[0] == ["deleted before it was asked: [12]"]
    assert judged(*right[1:]) == ([], [])
