"""The rule that says whether somebody is there: its numbers by hand, what cannot be, and old files."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from models.calibration import CALIBRATION, read_calibration
from models.errors import CheckpointError
from models.presence import DEPTH, PresenceRule, presence_rules
from tests.app.toy import toy_checkpoint


def section(**changes: object) -> dict[str, Any]:
    plain = {
        "slope": 40.0,
        "crowd": -1.0,
        "shift": -24.0,
        "scale": 30.0,
        "least": 0.4,
        "words": 2,
        "data": "d",
        "split": "val",
    }
    worth = {"queries": 90, "identities": 30, "flagged_absent": 0.9, "flagged_present": 0.04}
    return {**plain, **worth, "error": 0.01, "brier": 0.02, **changes}


def test_presence_is_a_sigmoid_of_the_score_and_of_the_images_behind_it() -> None:
    rule = PresenceRule(**section())
    assert rule.presence(0.6, 1) == pytest.approx(0.5)
    assert rule.presence(0.65, 1) == pytest.approx(1 / (1 + math.exp(-2)))
    assert rule.presence(0.6, 4) == pytest.approx(1 / (1 + 4))  # the best of many images says less
    assert [rule.presence(score, 1) for score in (-9.0, 9.0)] == pytest.approx([0, 1], abs=1e-9)
    assert [rule.no_good_match(p) for p in (0.39, 0.4, 0.9)] == [True, False, False]


def test_candidates_share_the_probability() -> None:
    rule = PresenceRule(**section())
    scores = [0.7, 0.68, 0.5]
    told = [rule.confidence(score, scores, 0.8) for score in scores]
    assert sum(told) == pytest.approx(0.8)
    assert told[0] / told[1] == pytest.approx(math.exp(30 * 0.02))
    assert rule.confidence(0.7, [0.7], 0.8) == pytest.approx(0.8)
    assert rule.confidence(0.4, scores, 0.8) < told[2]  # behind the first ten, on a later page
    many = [0.7] * (DEPTH + 5)
    assert rule.confidence(0.7, many, 1.0) == pytest.approx(1 / DEPTH)


def test_a_calibration_from_before_says_nothing(tmp_path: Path) -> None:
    folder = toy_checkpoint(tmp_path / "toy")
    (folder / CALIBRATION).write_text(json.dumps({"format": 1, "confidence": {}}))
    assert presence_rules(read_calibration(folder)) == {}
    (folder / CALIBRATION).write_text(json.dumps({"format": 1, "presence": {"image": section()}}))
    assert set(presence_rules(read_calibration(folder))) == {"image"}


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"sound": section()},
        {"text": section(slope=-1.0)},
        {"text": section(scale=0.0)},
        {"text": section(least=1.0)},
        {"text": section(shift=None)},
        {"text": section(slope=True)},
        {"text": section(extra=1)},
        {"text": {"slope": 1.0}},
    ],
)
def test_a_section_that_cannot_be_is_refused(tmp_path: Path, content: object) -> None:
    folder = toy_checkpoint(tmp_path / "toy")
    (folder / CALIBRATION).write_text(json.dumps({"format": 1, "presence": content}))
    with pytest.raises(CheckpointError, match=CALIBRATION):
        read_calibration(folder)
