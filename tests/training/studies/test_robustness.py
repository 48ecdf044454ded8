"""The table of rewordings and denials, from the verb, on a small synthetic set."""

import json
from pathlib import Path

from typer.testing import CliRunner

from models.checkpoint import DEMO
from training.cli import cli
from training.studies.rewording import REWORDINGS
from training.synthetic import SyntheticConfig, generate


def test_the_verb_measures_rewordings_and_denials(tmp_path: Path) -> None:
    people = generate(SyntheticConfig(train=0, val=0, test=30, images_per_identity=1, workers=1), tmp_path / "people")
    out = tmp_path / "out.json"
    asked = ["robustness", str(DEMO), "--data", str(people), "--out", str(out), "--device", "cpu"]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    rows = {row["how"]: row for row in found["rewordings"]}
    assert set(rows) == set(REWORDINGS)
    plain = rows["as written"]
    assert plain["R@1"] == plain["R@1 as written"] > 80
    assert rows["upper case"]["R@1"] == rows["lower case"]["R@1"] == plain["R@1"]
    assert rows["words shuffled"]["R@1"] < rows["phrases shuffled"]["R@1"]
    assert all(row["refused"] == 0 for row in rows.values())
    assert rows["one garment and its colour"]["flagged"] == 0  # too short to call anybody missing
    plain, typed, taken, against = found["denials"]
    assert taken["noticed"] == 100
    assert (taken["share"], taken["R@1"]) == (plain["share"], plain["R@1"])
    assert typed["share"] > taken["share"]
    assert against["share"] < taken["share"]
