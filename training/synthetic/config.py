"""How much to generate."""

from dataclasses import dataclass, fields

from training.synthetic.attributes import SPLITS

VERSION = "1"  # of the generator: raise it whenever the same seed gives other files


@dataclass(frozen=True)
class SyntheticConfig:
    """Identities per split, images per identity, the seed, and the number of worker processes (None: one per core).

    Raises ValueError, naming the field, for a count out of range. `workers` does not change what is generated.
    """

    train: int = 8000
    val: int = 200
    test: int = 1000
    images_per_identity: int = 4
    seed: int = 0
    workers: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "workers" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"{field.name} must be a whole number, not {value!r}")
            least = 1 if field.name in ("images_per_identity", "workers") else 0
            if value < least:
                raise ValueError(f"{field.name} must be at least {least}, not {value}")
        if self.train + self.val + self.test == 0:
            raise ValueError("train, val and test must not all be 0: there would be nothing to generate")
        if self.images_per_identity > 64:
            raise ValueError(f"images_per_identity must be at most 64, not {self.images_per_identity}")

    def identities(self, split: str) -> int:
        """The number of identities of a split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    def people(self) -> list[tuple[str, int]]:
        """(split, number within the split) of every identity, in the order of their ids, which start at 1 with
        train."""
        return [(split, number) for split in SPLITS for number in range(self.identities(split))]
