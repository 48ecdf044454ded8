"""What the queue before the encoder costs one query, against tokenizer and network called in its place."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from app.embedding.service import EncoderService
from app.settings import Settings
from benchmarks.figures import Figure, median
from models.checkpoint import DEMO

_ROUNDS, _WARM = 600, 60
_WORDS = ("red", "blue", "grey", "black", "white", "green", "brown", "yellow")


def measure_embedding(folder: Path) -> list[Figure]:
    """Medians over texts of which none comes twice, in turn: bare, through the queue; and those that are known."""
    service = EncoderService.load(DEMO, Settings(data_dir=folder, device="cpu"))
    encoder = service.encoder
    torch.set_num_threads(1)

    def bare(text: str) -> None:
        with torch.inference_mode():
            encoder.encode_text(encoder.tokenize([text]).ids).numpy()

    def queued(text: str) -> None:
        service.submit_text(text).result()

    times: dict[str, list[float]] = {"bare": [], "queue": [], "known": []}
    for number in range(_ROUNDS + _WARM):
        colours = [_WORDS[number // 8**place % 8] for place in range(4)]
        text = "a person in a {} jacket and {} trousers with a {} bag and {} shoes".format(*colours)
        times["bare"].append(_timed(bare, text))
        times["queue"].append(_timed(queued, text))
        times["known"].append(_timed(queued, text))
    service.close()
    plain, through, known = (1000 * median(some[_WARM:]) for some in times.values())
    return [
        Figure("text through the queue", through, "ms", plain, "tokenizer and network alone"),
        Figure("text that was asked before", known, "ms", plain, "tokenizer and network alone"),
    ]


def _timed(run: Callable[[str], None], text: str) -> float:
    began = time.perf_counter()
    run(text)
    return time.perf_counter() - began
