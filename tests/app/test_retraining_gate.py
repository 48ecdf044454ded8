"""What the gate decides on figures."""

from typing import Any

import pytest

from app.retraining.gate import Policy, judge


def measured(difference: float, half: float = 2.0) -> dict[str, float]:
    return {
        "candidate": 50 + difference,
        "active": 50.0,
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
    }


def figures(r1: float, mean_ap: float | None = None, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    both = {"R@1": measured(r1), "mAP": measured(r1 if mean_ap is None else mean_ap)}
    return {"data": "d", "split": "test", "queries": 100, "identities": 30, "groups": [], **both, **fields}


def codes(policy: Policy, *sets: dict[str, Any]) -> tuple[bool, set[str]]:
    verdict = judge(policy, list(sets))
    return verdict.accepted, {reason.code for reason in verdict.reasons}


@pytest.mark.parametrize(
    ("policy", "sets", "accepted", "expected"),
    [
        ({}, [figures(5)], True, {"gain", "kept"}),
        ({}, [figures(1)], False, {"no_gain"}),
        ({}, [figures(2)], False, {"no_gain"}),  # the interval begins at 0
        ({}, [figures(5), figures(-2)], True, {"gain", "kept"}),  # and here it ends there
        ({}, [figures(-5)], False, {"no_gain", "loss"}),
        ({}, [figures(5, -5)], False, {"loss"}),
        ({}, [figures(5), figures(-1)], True, {"gain", "kept"}),
        ({}, [figures(5), figures(-3)], False, {"loss"}),
        ({"tolerance": 2.0}, [figures(5), figures(-3)], True, {"gain", "kept"}),
        ({"margin": 2.5}, [figures(5), figures(-1)], False, {"loss"}),
        ({"gain": 4.0}, [figures(5)], False, {"no_gain"}),
        ({"gain": None}, [figures(1)], True, {"kept"}),
        ({"metric": "mAP"}, [figures(1, 5)], True, {"gain", "kept"}),
        ({}, [figures(5, queries=19)], False, {"too_few"}),
        ({}, [figures(5, identities=4)], False, {"too_few"}),
        ({}, [figures(5, groups=[{"name": "camera", "value": "c1", **figures(-3)}])], False, {"loss"}),
        ({}, [figures(5, groups=[{"name": "camera", "value": "c1", **figures(-1)}])], True, {"gain", "kept"}),
    ],
)
def test_the_policy(policy: dict[str, Any], sets: list[dict[str, Any]], accepted: bool, expected: set[str]) -> None:
    assert codes(Policy(**policy), *sets) == (accepted, expected)


def test_a_loss_of_a_subgroup_is_named() -> None:
    told = figures(5, groups=[{"name": "camera", "value": "c1", **figures(-3)}])
    (reason,) = judge(Policy(), [told]).reasons[:1]
    assert "camera is c1" in reason.message
    assert "47.00 against 50.00" in reason.message
