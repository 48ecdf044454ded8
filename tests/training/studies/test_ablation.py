"""The table of a method's rows: trained for real on the miniature set."""

import json
from pathlib import Path

import pytest

from tests.training.engine.test_engine import recipe
from tests.training.test_cli import verb
from training.datasets import read_dataset
from training.errors import TrainingError
from training.methods.base import Row
from training.processes.claim import claimed
from training.recipe import dump_recipe, load_recipe
from training.studies.ablation import DATA, RESULT, TABLE, Outcome, ablate, first_people, rows_of, spread, table


@pytest.fixture
def shipped(tiny_set: Path, tmp_path: Path) -> str:
    chosen = recipe(tiny_set, method="dgcmia", dgcmia={"tau": 0.1}, schedule={"epochs": 2})
    path = tmp_path / "tiny.yaml"
    path.write_text(dump_recipe(chosen))
    return str(path)


def test_the_rows_switch_on_one_part_after_the_other() -> None:
    for view, others in (("plain", 2), ("augmented", 1)):
        chosen = load_recipe("dgcmia-compact-synthetic", [f"dgcmia.base_view={view}"])
        rows = rows_of(chosen)
        assert [row.name for row in rows[:4]] == ["baseline", "+LRC", "+GSRC-FR", "+IASC-CL"]
        assert len(rows) == 4 + others
        parts = [load_recipe("dgcmia-compact-synthetic", row.overrides) for row in rows]
        switches = [(p.dgcmia.lrc, p.dgcmia.gsrc, p.dgcmia.iasc) for p in parts]
        assert switches[:4] == [(False,) * 3, (True, False, False), (True, True, False), (True,) * 3]
        assert set(switches[4:]) == {(False,) * 3}
        assert parts[-1].schedule.epochs == 2 * parts[0].schedule.epochs
        assert [row.equal_budget for row in rows] == [True] * (len(rows) - 1) + [False]


def test_rows_that_are_not_there_are_told() -> None:
    with pytest.raises(TrainingError, match="names no rows"):
        rows_of(load_recipe("compact-synthetic"))
    with pytest.raises(TrainingError, match=r"\+LGUR.*the rows of dgcmia are: baseline; \+LRC"):
        rows_of(load_recipe("dgcmia-compact-synthetic"), ["+LGUR"])


def test_fewer_people_are_the_first_ones(tiny_set: Path) -> None:
    data = read_dataset("cuhk_pedes", tiny_set)
    few = first_people(data, 10)
    assert few.identities("train") == set(sorted(data.identities("train"))[:10])
    assert few.splits["val"] == data.splits["val"]
    assert first_people(data, None) is data
    with pytest.raises(TrainingError, match="not 1000"):
        first_people(data, 1000)


def test_a_table_is_trained_once_and_gone_on_with(shipped: str, tiny_set: Path, tmp_path: Path) -> None:
    data, folder, wanted = read_dataset("cuhk_pedes", tiny_set), tmp_path / "table", ["baseline", "+IASC-CL"]
    first = ablate(shipped, data, folder, seeds=[0], wanted=wanted, device="cpu")
    assert [(o.row, o.seed, o.pairs) for o in first] == [("baseline", 0, 384), ("+IASC-CL", 0, 384)]
    stamp = {path: path.stat().st_mtime_ns for path in folder.rglob(RESULT)}
    assert len(stamp) == 2
    both = ablate(shipped, data, folder, seeds=[0, 1], wanted=wanted, device="cpu")
    assert both[:2] == first
    assert {path: path.stat().st_mtime_ns for path in stamp} == stamp
    assert len(both) == 4
    runs = json.loads((folder / DATA).read_text())["runs"]
    assert [run["metrics"]["R@1"] for run in runs] == [o.metrics["R@1"] for o in both]
    with pytest.raises(TrainingError, match="another recipe"):
        ablate(shipped, data, folder, seeds=[0], overrides=["batch=16"], wanted=wanted, device="cpu")


def outcome(row: str, seed: int, r1: float, cpu: float, *, resumed: bool = False) -> Outcome:
    metrics = {"R@1": r1, "R@5": 0.0, "R@10": 0.0, "mAP": r1 - 1, "mINP": 1.0}
    return Outcome(row, seed, "", 1000, cpu, resumed, metrics, 50.0)


def test_the_table_compares_seed_by_seed(tiny_set: Path) -> None:
    data, rows = read_dataset("cuhk_pedes", tiny_set), (Row("a"), Row("b"), Row("c", equal_budget=False), Row("d"))
    runs = [outcome("a", 0, 10, 100), outcome("b", 0, 14, 150), outcome("a", 1, 20, 100), outcome("b", 1, 22, 150)]
    lines = table(data, rows, [*runs, outcome("c", 1, 30, 1, resumed=True)], "test").splitlines()
    assert lines[4].split(" | ")[:4] == ["| a", "0, 1", "15.00 ± 7.07", ""]
    assert lines[5].split(" | ")[:5] == ["| b", "0, 1", "18.00 ± 5.66", "+3.00 ± 1.41", "17.00 ± 5.66"]
    assert lines[5].endswith("| 1,000 | 150 s, x 1.50 |")
    assert lines[6].startswith("| c * | 1 | 30.00 | +10.00 | 29.00")
    assert lines[6].endswith("resumed |")
    assert not any("| d" in line for line in lines)  # not trained yet
    assert spread([]) == ""


def test_the_verb_prints_the_table(shipped: str, tmp_path: Path) -> None:
    words = ["ablate", shipped, "--seeds", "0", "--people", "20", "--row", "baseline", "--out", "t", "--device", "cpu"]
    done = verb(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "20 people" in done.stdout
    assert (tmp_path / "t" / TABLE).read_text() in done.stdout
    wrong = verb("ablate", shipped, "--seeds", "x", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_a_table_is_made_by_one_run_at_a_time(shipped: str, tmp_path: Path) -> None:
    words = ["ablate", shipped, "--seeds", "0", "--row", "baseline", "--out", "t", "--device", "cpu"]
    with claimed(tmp_path / "t"):
        second = verb(*words, cwd=tmp_path)
    assert (second.returncode, "[training_failed]" in second.stderr) == (1, True), second.stderr
    assert "another run is under way in t" in second.stderr
    assert not (tmp_path / "t" / TABLE).exists()
