"""The verbs as a person types them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.training.test_engine import recipe
from training.recipe import dump_recipe


def verb(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)


@pytest.fixture(scope="module")
def run(tiny_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(dump_recipe(recipe(tiny_set, schedule={"epochs": 4, "warmup": 0.5})))
    done = verb("train", "tiny.yaml", "--device", "cpu", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checkpoint"] == "runs/tiny/best"
    return folder / "runs" / "tiny"


def test_evaluate_measures_a_set_that_the_generator_did_not_make(run: Path, tiny_set: Path, tmp_path: Path) -> None:
    done = verb("evaluate", str(run / "best"), "--data", str(tiny_set), "--json", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["model"]["queries"] == 32
    assert 0 < result["model"]["R@1"] <= result["model"]["R@5"] <= 100
    table = verb("evaluate", str(run / "best"), "--data", str(tiny_set), "--device", "cpu", cwd=tmp_path)
    assert "mINP" in table.stdout


def test_report_draws_three_pictures(run: Path, tmp_path: Path) -> None:
    done = verb("report", str(run), "--out", str(tmp_path), "--json", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = [Path(path) for path in json.loads(done.stdout)["written"]]
    assert [path.name for path in written] == ["loss.png", "cmc.png", "ranked.jpg"]
    for path in written:
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 300
            assert len(set(picture.convert("L").resize((64, 64)).get_flattened_data())) > 4


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("train", "no-such-recipe"), "recipe_invalid"),
        (("train", "compact-synthetic", "--data", "nowhere"), "dataset_invalid"),
        (("evaluate", "nowhere", "--data", "nowhere"), "checkpoint_invalid"),
    ],
)
def test_a_mistake_is_one_clear_line(words: tuple[str, ...], code: str, tmp_path: Path) -> None:
    done = verb(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert f"[{code}]" in done.stderr
    assert "Traceback" not in done.stderr
