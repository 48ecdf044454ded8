"""The course of a training in as few points as a chart needs, kept with the job: whoever looks later sees all of it."""

from typing import Any

MOST = 100
"""Points of one line; beyond, every second one goes."""
LINES = 6
"""Most lines of either kind."""
Lines = dict[str, list[list[float]]]


class Curve:
    """Losses and quality by step.

    Args:
        told: what `told` gave before, of a run that goes on.
    """

    def __init__(self, told: dict[str, Any] | None = None) -> None:
        self._losses: Lines = _copied((told or {}).get("losses", {}))
        self._quality: Lines = _copied((told or {}).get("quality", {}))

    def resume(self, step: int) -> None:
        """A run goes on after a step: what an earlier try told beyond it does not hold any more."""
        for lines in (self._losses, self._quality):
            for name, line in lines.items():
                lines[name] = [point for point in line if point[0] <= step]

    def lose(self, step: int, losses: dict[str, float]) -> None:
        """The loss terms of a step."""
        _add(self._losses, step, losses)

    def measure(self, step: int, metrics: dict[str, float]) -> None:
        """An evaluation, in percent."""
        _add(self._quality, step, metrics)

    def told(self) -> dict[str, Any]:
        """JSON: `losses` and `quality`, each by name a list of [step, value], in order of steps."""
        return {"losses": self._losses, "quality": self._quality}


def _copied(lines: Lines) -> Lines:
    return {name: list(line) for name, line in lines.items()}


def _add(lines: Lines, step: int, values: dict[str, float]) -> None:
    for name, value in values.items():
        if name not in lines and len(lines) >= LINES:
            continue
        line = lines.setdefault(name, [])
        line.append([step, round(value, 4)])
        if len(line) > MOST:
            del line[-2 : -MOST - 1 : -2]  # from the end, so that the newest point stays
