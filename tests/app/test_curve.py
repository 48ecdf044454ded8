"""The course of a training, as it is kept with the job."""

from app.jobs.curve import LINES, MOST, Curve


def test_a_long_run_keeps_few_points_and_the_newest() -> None:
    curve = Curve()
    for step in range(1, 1001):
        curve.lose(step, {"sdm": 1 / step})
        steps = [point[0] for point in curve.told()["losses"]["sdm"]]
        assert steps[-1] == step
        assert steps == sorted(set(steps))
        assert len(steps) <= MOST
    assert steps[0] < 30  # the beginning is not forgotten


def test_a_run_that_goes_on_forgets_what_it_does_again() -> None:
    first = Curve()
    for step in (10, 20, 30):
        first.lose(step, {"sdm": 0.5})
        first.measure(step, {"R@1": float(step)})
    again = Curve(first.told())
    again.resume(20)
    again.lose(25, {"sdm": 0.25})
    assert again.told() == {
        "losses": {"sdm": [[10, 0.5], [20, 0.5], [25, 0.25]]},
        "quality": {"R@1": [[10, 10.0], [20, 20.0]]},
    }
    assert first.told()["losses"]["sdm"][-1] == [30, 0.5]


def test_many_terms_are_not_all_kept() -> None:
    curve = Curve()
    for step in (1, 2):
        curve.lose(step, {f"term{number}": 1.0 for number in range(LINES + 4)})
    assert [len(line) for line in curve.told()["losses"].values()] == [2] * LINES
