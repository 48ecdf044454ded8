"""When an index is searched exactly. A file of its own: settings are read before FAISS is wanted."""

from dataclasses import dataclass
from typing import Literal

GpuKind = Literal["flat", "ivf", "cagra"]
"""What an index on a GPU is, see `app.vectors.gpu`."""


@dataclass(frozen=True, slots=True)
class Tier:
    """How an index searches, by its size.

    Attributes:
        exact_up_to: vectors up to which every search is exact; more are put into inverted lists, and a search reads as
            many of them as measured recall asks for. None: always exact.
        threads: within one exact search, and while lists are made.
        seed: of what is drawn at random while lists are made.
        gpu: the kind of index where FAISS has a GPU.
    """

    exact_up_to: int | None = 200_000
    threads: int = 4
    seed: int = 0
    gpu: GpuKind = "flat"
