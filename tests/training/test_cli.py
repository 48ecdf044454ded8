"""The verbs as a person types them."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.training.engine.test_engine import recipe
from tests.training.miniature import write_market
from tests.waiting import PROCESS_S
from training.events import EventLog, read_events
from training.recipe import dump_recipe


def verb(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=PROCESS_S)


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
    assert result["model"]["protocol"] == "text_to_image"
    assert result["image_to_image"]["queries"] == 16
    assert result["notes"] == []


def test_evaluate_measures_pictures_alone_and_saves_what_it_found(run: Path, tmp_path: Path) -> None:
    market = write_market(tmp_path / "market")
    (market / "bounding_box_train").rename(tmp_path / "elsewhere")
    words = ("evaluate", str(run / "best"), "--data", str(market), "--format", "market1501", "--device", "cpu")
    refused = verb(*words, cwd=tmp_path)
    assert refused.returncode == 1
    assert "[dataset_invalid]" in refused.stderr
    assert "the folder bounding_box_train/ is missing" in refused.stderr
    options = ("--allow-missing", "--out", "found/market.json", "--average-precision", "trapezoid")
    done = verb(*words, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "incomplete data" in done.stderr
    assert "by the same camera is removed; mAP by trapezoids" in " ".join(done.stdout.split())
    saved = json.loads((tmp_path / "found" / "market.json").read_text())
    assert "model" not in saved
    assert saved["notes"] == ["incomplete data: the folder bounding_box_train/ is missing"]
    assert saved["image_to_image"]["queries"] == 3
    assert saved["image_to_image"]["average_precision"] == "trapezoid"


@pytest.fixture
def incomplete(tiny_set: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "incomplete"
    folder.mkdir()
    (folder / "imgs").symlink_to(tiny_set / "imgs")
    entries = json.loads((tiny_set / "reid_raw.json").read_text())
    entries[0]["file_path"] = "made/gone.png"
    (folder / "reid_raw.json").write_text(json.dumps(entries))
    return folder


def test_an_incomplete_set_is_trained_on_with_a_word_about_it(incomplete: Path, tmp_path: Path) -> None:
    chosen = recipe(incomplete, schedule={"epochs": 1})
    (tmp_path / "tiny.yaml").write_text(dump_recipe(chosen))
    done = verb("train", "tiny.yaml", "--device", "cpu", "--allow-missing", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    note = "incomplete data: 1 of 128 images are missing"
    assert note in done.stderr
    run = tmp_path / "runs" / "tiny"
    assert read_events(run)[0]["notes"] == [note]
    assert f"* {note}\n" in (run / "best" / "model_card.md").read_text()


def test_datasets_check_reports_and_ends_with_a_status(incomplete: Path, tmp_path: Path) -> None:
    words = ("datasets", "check", "cuhk_pedes", str(incomplete))
    refused = verb(*words, cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr == ""
    assert "imgs/made/: 1" in refused.stdout
    told = verb(*words, "--allow-missing", "--json", cwd=tmp_path)
    assert told.returncode == 0
    report = json.loads(told.stdout)
    assert (report["usable"], report["usable_with_allow_missing"]) == (False, True)
    assert {finding["kind"]: finding["count"] for finding in report["findings"]}["image_missing"] == 1
    assert [part["missing"] for part in report["parts"]] == [1, 0, 0]
    assert "msmt17" in verb("datasets", "formats", cwd=tmp_path).stdout


def test_two_sets_are_checked_and_measured_together(run: Path, tiny_set: Path, tmp_path: Path) -> None:
    market = write_market(tmp_path / "market")
    shutil.copy(market / "query" / "0001_c1s1_001051_00.jpg", market / "bounding_box_train" / "0002_c3s1_000009_01.jpg")
    both = ("--with", "market1501", str(market))
    told = verb("datasets", "check", "cuhk_pedes", str(tiny_set), *both, "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    *single, joint = json.loads(told.stdout)["sets"]
    assert [report["format"] for report in single] == ["cuhk_pedes", "market1501"]
    assert joint["parts"][1]["size"]["images"] == 13  # one set's own overlap is not the pair's
    words = ("evaluate", str(run / "best"), "--data", str(tiny_set), *both, "--device", "cpu", "--json")
    done = verb(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["model"]["queries"], result["image_to_image"]["queries"]) == (32, 3)
    assert result["image_to_image"]["protocol"] == "image_to_image"


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


def test_a_place_that_cannot_be_written_is_one_clear_line(run: Path, tiny_set: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ("evaluate", str(run / "best"), "--data", str(tiny_set), "--device", "cpu", "--out", "file/result.json")
    done = verb(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: file cannot be read or written: File exists [file_unusable]"
    assert "Traceback" not in done.stderr


def test_a_folder_has_one_run_at_a_time_and_ctrl_c_says_how_to_go_on(tiny_set: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(dump_recipe(recipe(tiny_set, schedule={"epochs": 100_000, "warmup": 0.5})))
    command = [sys.executable, "-m", "training", "train", "tiny.yaml", "--device", "cpu", "--out", "run"]
    first = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        while not (tmp_path / "run" / "events.jsonl").is_file():
            assert first.poll() is None
            time.sleep(0.05)
        second = verb(*command[3:], "--restart", cwd=tmp_path)
        assert (second.returncode, "[training_failed]" in second.stderr) == (1, True), second.stderr
        assert "another run is under way in run" in second.stderr
        assert (tmp_path / "run" / "events.jsonl").is_file()
        first.send_signal(signal.SIGINT)
        told = first.communicate(timeout=PROCESS_S)[1]
    finally:
        first.kill()
    assert (first.returncode, "the same command again goes on" in told) == (130, True), told


def test_a_line_that_a_kill_cut_short_takes_no_other_along(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"event": "start"}\n{"event": "st')
    log = EventLog(tmp_path)
    log.write("resume")
    log.close()
    assert [event["event"] for event in read_events(tmp_path)] == ["start", "resume"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("train", "no-such-recipe"), "recipe_invalid"),
        (("train", "compact-synthetic", "--data", "nowhere"), "dataset_invalid"),
        (("datasets", "check", "floppy", "nowhere"), "dataset_invalid"),
        (("evaluate", "nowhere", "--data", "nowhere"), "checkpoint_invalid"),
        (("evaluate", "nowhere", "--data", "nowhere", "--device", "abacus"), "device_unusable"),
    ],
)
def test_a_mistake_is_one_clear_line(words: tuple[str, ...], code: str, tmp_path: Path) -> None:
    done = verb(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert f"[{code}]" in done.stderr
    assert "Traceback" not in done.stderr
