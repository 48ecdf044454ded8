"""Training processes that end badly: NaN, memory, disk, kill -9. Each ends in a typed error, or goes on."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from app.core import Core
from app.errors import (
    TrainingDiskError,
    TrainingFailedError,
    TrainingKilledError,
    TrainingMemoryError,
    TrainingNotFiniteError,
)
from app.jobs import children
from app.jobs.duty import Duty
from app.jobs.kinds import Hands
from app.jobs.repository import JobRepository
from app.jobs.retraining import RetrainingJob
from app.jobs.service import JobService
from app.jobs.training_process import LOOK_S, TrainingProcess
from app.settings import Settings
from tests.app.test_indexing_jobs import taken
from tests.app.test_retraining_jobs import queue
from tests.end_to_end.test_long_jobs_process import processes
from tests.training.conftest import write_set
from tests.training.engine.test_engine import recipe
from tests.waiting import LIMIT_S, until
from training.recipe import dump_recipe

pytestmark = pytest.mark.long


@pytest.fixture
def recipe_file(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    chosen = recipe(write_set(tmp_path / "set"), schedule={"epochs": 400, "warmup": 0.5}, save_every=1)
    path.write_text(dump_recipe(chosen))
    return str(path)


def work_on(core: Core, **parameters: object) -> tuple[str, RetrainingJob]:
    queue(core, **parameters)
    job_id, work = taken(core)
    assert isinstance(work, RetrainingJob)
    return job_id, work


def log(core: Core, job_id: str) -> str:
    with core.database.read() as session:
        return "\n".join(line.message for line in JobRepository(session).lines(job_id))


def done(core: Core, job_id: str) -> int:
    with core.database.read() as session:
        return JobService(session).find(job_id).done


def test_a_loss_that_is_not_a_number_fails_with_the_batch(empty_core: Core, recipe_file: str) -> None:
    _, work = work_on(empty_core, recipe=recipe_file, set=["optimiser.lr=1e35", "schedule.warmup=0"])
    with pytest.raises(TrainingNotFiniteError, match=r"at epoch 1, batch \d+: images p"):
        work.advance()


def test_memory_above_the_limit_fails_with_that_reason(empty_core: Core, settings: Settings, recipe_file: str) -> None:
    limited = Core(
        settings.model_copy(update={"training_memory_bytes": 2 << 30}), empty_core.database, empty_core.store
    )
    _, work = work_on(limited, recipe=recipe_file, set=["encoder.options.text_width=9000"])  # 3.2 GB of weights
    with pytest.raises(TrainingMemoryError, match="memory"):
        work.advance()


def test_a_full_disk_fails_with_that_reason(empty_core: Core, recipe_file: str) -> None:
    job_id, work = work_on(empty_core, recipe=recipe_file)
    folder = empty_core.settings.retraining_dir / job_id
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems may not be mounted here")
    try:
        with pytest.raises(TrainingDiskError):
            work.advance()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_killed_training_goes_on_and_a_cancel_leaves_nothing(empty_core: Core, recipe_file: str) -> None:
    job_id, work = work_on(empty_core, recipe=recipe_file)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(work.advance()))
    thread.start()
    until(lambda: done(empty_core, job_id) >= 5, "it trains")
    reached = done(empty_core, job_id)
    for pid in processes(job_id):
        with suppress(ProcessLookupError, FileNotFoundError):  # one that lived for a moment
            if b"supervisor.py" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
    thread.join(LIMIT_S)
    assert answers == [True]
    assert "killed by signal 9" in log(empty_core, job_id)
    thread = threading.Thread(target=lambda: answers.append(work.advance()))
    thread.start()
    until(lambda: done(empty_core, job_id) > reached, "it goes on")
    assert "tiny resumes at step" in log(empty_core, job_id)
    with empty_core.database.write() as session:
        JobService(session).cancel(job_id)
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    # What is promised: a cancel ends it within ten seconds, whatever it is doing. So long are the waits on the way.
    assert LOOK_S + children.GRACE_S + 2 * children._SPARE_S < 10
    assert answers == [True, False]
    assert processes(job_id) == []
    with empty_core.database.read() as session:
        assert JobService(session).find(job_id).state == "cancelled"


def test_what_is_killed_each_time_is_given_up(empty_core: Core, tmp_path: Path) -> None:
    queue(empty_core, recipe="r")
    job_id, _ = taken(empty_core)
    duty = Duty(Hands(empty_core, job_id, "w", threading.Event()))
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    process = TrainingProcess(command, tmp_path / "run", duty, empty_core.settings)
    assert [process.run(), process.run()] == ["again", "again"]
    with pytest.raises(TrainingKilledError, match="3 times at step 0"):
        process.run()


@pytest.mark.parametrize(
    ("status", "error"), [(28, TrainingDiskError), (12, TrainingMemoryError), (3, TrainingFailedError)]
)
def test_an_exit_status_says_why_where_no_words_could_be_written(
    empty_core: Core, tmp_path: Path, status: int, error: type[TrainingFailedError]
) -> None:
    queue(empty_core, recipe="r")
    job_id, _ = taken(empty_core)
    duty = Duty(Hands(empty_core, job_id, "w", threading.Event()))
    command = [sys.executable, "-c", f"raise SystemExit({status})"]
    with pytest.raises(TrainingFailedError) as failed:
        TrainingProcess(command, tmp_path / "run", duty, empty_core.settings).run()
    assert type(failed.value) is error
