"""What an answer is made of, without the server: one encode, one search, and texts in large batches.

`python -m benchmarks.bare DATA_DIR` writes it to standard output as JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from benchmarks.figures import median
from benchmarks.load import descriptions
from benchmarks.served import on_cores

_ROUNDS, _WARM, _PAUSE_S, _BATCH_S, _HITS = 150, 30, 0.005, 4.0, 88
_TEXTS = 2_048
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Bare:
    """Medians in milliseconds, and texts a second.

    Attributes:
        encode_ms: one description through the queue of the encoder.
        search_ms: the first images for its vector in the index.
        texts_per_s: best of several passes of `encode_descriptions` over many texts.
    """

    encode_ms: float
    search_ms: float
    texts_per_s: float


def bare(data_dir: Path, cores: set[int] | None = None) -> Bare:
    """Measure in a process of its own, on some cores."""
    command = [sys.executable, "-m", "benchmarks.bare", str(data_dir)]
    with on_cores(cores):
        told = subprocess.run(command, capture_output=True, text=True)
    if told.returncode:
        raise RuntimeError(f"the bare measurement ended: {told.stderr[-2000:]}")
    return Bare(**json.loads(told.stdout))


def _measure(data_dir: Path) -> Bare:
    from app.core import opened
    from app.settings import Settings

    with opened(Settings(data_dir=data_dir)) as core:
        core.active.follow()
        model = core.active.current()
        view, encoder = model.view("text"), model.encoder
        encodes, searches = [], []
        for text in islice(descriptions(seed=3), _ROUNDS + _WARM):
            took, embedding = _timed(lambda text: encoder.submit_text(text).result(), text)
            encodes.append(took)
            searches.append(_timed(lambda vector: view.search(vector, _HITS), embedding.vector)[0])
            time.sleep(_PAUSE_S)  # or the processor's caches would hold what no server has in them
        texts = list(islice(descriptions(seed=4), _TEXTS))
        encoder.encode_descriptions(texts[:256])
        rates, deadline = list[float](), time.perf_counter() + _BATCH_S
        while time.perf_counter() < deadline or len(rates) < 2:
            rates.append(len(texts) / _timed(encoder.encode_descriptions, texts)[0])
            if rates[0] < 1000:  # seconds a pass: fewer texts say the same
                texts = texts[:512]
    return Bare(1000 * median(encodes[_WARM:]), 1000 * median(searches[_WARM:]), max(rates))


def _timed(work: Callable[[T], R], given: T) -> tuple[float, R]:
    began = time.perf_counter()
    found = work(given)
    return time.perf_counter() - began, found


if __name__ == "__main__":
    json.dump(asdict(_measure(Path(sys.argv[1]))), sys.stdout)
