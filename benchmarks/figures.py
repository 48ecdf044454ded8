"""One measured figure beside what it is measured against."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and its rival or floor, both taken in this run, in the same unit."""

    name: str
    value: float
    unit: str
    rival: float
    rival_name: str

    def to_dict(self) -> dict[str, str | float]:
        """JSON-ready, with the ratio value / rival."""
        return asdict(self) | {"ratio": self.value / self.rival}


def median(values: list[float]) -> float:
    """The middle value; the mean of the middle two for an even count."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
