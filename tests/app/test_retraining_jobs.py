"""Retraining jobs without a worker: a real training in a child process, and one that fails."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.core import Core
from app.errors import TrainingFailedError
from app.jobs.retraining import RetrainingJob
from app.jobs.service import JobService
from models.checkpoint import read_info
from tests.app.test_indexing_jobs import finish, taken
from tests.training.conftest import write_set
from tests.training.engine.test_engine import recipe
from training.recipe import dump_recipe


def queue(core: Core, **parameters: object) -> str:
    with core.database.write() as session:
        return JobService(session).create("retraining", {"device": "cpu", **parameters}).id


def test_a_recipe_is_trained_beside_an_ingest(client: TestClient, core: Core, tmp_path: Path) -> None:
    chosen = recipe(write_set(tmp_path / "set"), schedule={"epochs": 2, "warmup": 0.5})
    (tmp_path / "tiny.yaml").write_text(dump_recipe(chosen))
    job_id = queue(core, recipe=str(tmp_path / "tiny.yaml"), set=["seed=3"])
    with core.database.write() as session:
        JobService(session).create("ingest", {"folder": str(tmp_path), "collection": "default"})
    assert finish(core) == job_id
    with core.database.write() as session:
        assert JobService(session).claim("w") is not None  # the ingest: training is a resource of its own
    found = client.get(f"/v1/jobs/{job_id}").json()
    assert (found["state"], found["done"], found["total"], found["unit"]) == ("succeeded", 12, 12, "steps")
    assert found["counts"] is None
    lines = [line["message"] for line in found["log"]]
    assert any(line.startswith("tiny starts of 12 on cpu") for line in lines)
    assert any(line.startswith("epoch 2 on val: R@1 ") for line in lines)
    curve = found["progress"]["curve"]
    assert [step for step, _ in curve["quality"]["R@1"]] == [6, 12]
    assert all(line[-1][0] == 12 for line in curve["losses"].values())
    run = core.settings.retraining_dir / job_id
    assert read_info(run / "best").spec.backbone == "compact"
    assert "seed: 3" in (run / "recipe.yaml").read_text()


def test_a_retry_goes_on_in_the_folder_of_the_first_try(core: Core) -> None:
    made = [queue(core, recipe="r")]
    for _ in range(2):
        with core.database.write() as session:
            JobService(session).cancel(made[-1])
            made.append(JobService(session).retry(made[-1]).id)
    job_id, work = taken(core)
    assert job_id == made[2]
    assert isinstance(work, RetrainingJob)
    assert f"{(core.settings.retraining_dir / made[0]).resolve()}" in work.command


def test_what_the_training_says_is_the_reason(client: TestClient, core: Core) -> None:
    job_id = queue(core, recipe="no-such-recipe")
    _, work = taken(core)
    with pytest.raises(TrainingFailedError, match=r"^recipe_invalid: no recipe 'no-such-recipe'"):
        work.advance()
    assert any("[recipe_invalid]" in line["message"] for line in client.get(f"/v1/jobs/{job_id}").json()["log"])
