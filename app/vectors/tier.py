"""When an index is searched exactly. A file of its own: settings are read before FAISS is wanted."""

from dataclasses import dataclass
from typing import Literal

GpuKind = Literal["flat", "ivf", "cagra"]
"""What an index on a GPU is, see `app.vectors.gpu`."""


@dataclass(frozen=True, slots=True)
class Tier:
    """How an index searches, by its size.

    Attributes:
        exact_up_to: vectors up to which every search is exact; with more, a search makes a shortlist first, as long
            as measured recall asks for. None: always exact.
        threads: within one exact search, and while it is measured how to make shortlists.
        seed: of what is drawn at random while it is measured how to make shortlists.
        gpu: the kind of index where FAISS has a GPU.
    """

    exact_up_to: int | None = 200_000
    threads: int = 4
    seed: int = 0
    gpu: GpuKind = "flat"
