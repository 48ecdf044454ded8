"""`descry tune`: which runtime is the fastest for a checkpoint on this machine."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch

from app.embedding.runtime import Runtime
from app.embedding.runtimes.known import RuntimeName
from app.embedding.runtimes.names import COMPILED, EXACT, RUNTIMES, UNASKED, machine, obstacle
from app.embedding.runtimes.opening import LARGE, device_of, home_of, open_named, size_of
from app.embedding.runtimes.parity import TEXTS, TYPICAL, known_ids, least_cosine, pictures, probes_of
from app.embedding.runtimes.records import Measured, RuntimeRecord, read_record, write_record
from app.errors import RuntimeRefusedError
from app.lanes import cores
from app.settings import Settings
from models.encoder import PersonEncoder

Progress = Callable[[RuntimeName, str], None]
"""Called with a runtime and what begins: "opening", "compiling, ..." or "measuring"."""
_WORTH = 1.1
"""How many times faster than the exact runtime one must be to take its place."""
_TEXTS, _PICTURES = 4, 8
"""The probes' texts so many times, and so many pictures, in one batch of a core."""


def tune(
    encoder: PersonEncoder,
    settings: Settings,
    *,
    names: Sequence[RuntimeName] = UNASKED,
    seconds: float = 1.0,
    progress: Progress = lambda *_: None,
) -> RuntimeRecord:
    """Measure what can run here, and keep the choice for `auto`.

    The choice is the runtime with the largest mean (geometric) of four ratios to the exact one: one text, one picture,
    texts in batches, pictures in batches.

    Args:
        names: the candidates; the exact runtime is always among them. Those of `COMPILED` must be named.
        seconds: of each of the four measurements.

    Raises:
        DiskLowError: there is no room for an export.
    """
    probes, device = probes_of(encoder), device_of(encoder)
    measured: list[Measured] = []
    refused: dict[str, str] = {}
    for name in sorted({EXACT, *names}, key=RUNTIMES.index):
        if (reason := obstacle(name, device)) is not None:
            refused[name] = reason
            continue
        progress(name, "compiling, which may take minutes" if name in COMPILED else "opening")
        began = time.perf_counter()
        try:
            runtime = open_named(name, encoder, settings, probes)
        except RuntimeRefusedError as error:
            refused[name] = error.message
            continue
        if name not in COMPILED:  # of those every start is like the first
            began = time.perf_counter()
            again = open_named(name, encoder, settings)  # as a start of the service does it
            again.encode_text(probes.ids[:1])
            again.encode_image(probes.pixels[:1])
        opened = time.perf_counter() - began
        progress(name, "measuring")
        cosine = 1.0 if name == EXACT else least_cosine(runtime, probes)
        measured.append(measure(name, runtime, encoder, seconds=seconds, cosine=cosine, open_s=opened))
    home, now = home_of(encoder, settings), machine(device)
    record = replace(read_record(home, now), choice=best(measured).runtime, measured=tuple(measured), refused=refused)
    write_record(home, record)
    return record


def best(measured: Sequence[Measured]) -> Measured:
    """The one to choose; the exact one, which comes first, unless another is clearly faster."""
    exact, *others = measured
    fastest = max(others, key=lambda one: speed(one, exact), default=exact)
    return fastest if speed(fastest, exact) >= _WORTH else exact


def speed(one: Measured, exact: Measured) -> float:
    """How many times faster than the exact runtime, the geometric mean of the four figures."""
    ratios = (
        exact.text_ms / one.text_ms,
        exact.image_ms / one.image_ms,
        one.texts_s / exact.texts_s,
        one.images_s / exact.images_s,
    )
    return math.prod(ratios) ** 0.25


def measure(
    name: RuntimeName, runtime: Runtime, encoder: PersonEncoder, *, seconds: float, cosine: float, open_s: float
) -> Measured:
    """The four figures of a runtime; queries with the threads that the service gives them."""
    text, image = known_ids(encoder, (TYPICAL,)), pictures(encoder, 1)
    texts, images = known_ids(encoder, TEXTS * _TEXTS), pictures(encoder, _PICTURES)
    threads, lanes = (1 if size_of(encoder) < LARGE else cores()), cores()
    if device_of(encoder).type != "cpu":
        lanes = 1
    return Measured(
        runtime=name,
        text_ms=1000 * _one(lambda: runtime.encode_text(text), threads, seconds),
        image_ms=1000 * _one(lambda: runtime.encode_image(image), threads, seconds),
        texts_s=len(texts) * _rate(lambda: runtime.encode_text(texts), lanes, seconds),
        images_s=len(images) * _rate(lambda: runtime.encode_image(images), lanes, seconds),
        cosine=cosine,
        open_s=open_s,
    )


def _one(work: Callable[[], object], threads: int, seconds: float) -> float:
    """Median seconds of a call with `threads`; on a thread of its own, as that number counts for who sets it."""

    def run() -> float:
        torch.set_num_threads(threads)
        work()
        taken: list[float] = []
        until = time.perf_counter() + seconds
        while len(taken) < 3 or time.perf_counter() < until:
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
        return sorted(taken)[len(taken) // 2]

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def _rate(work: Callable[[], object], lanes: int, seconds: float) -> float:
    """Calls a second of `lanes` threads that call at once, each with a core for itself."""

    def warm(_: int) -> None:
        torch.set_num_threads(1)
        work()

    def run(_: int) -> tuple[int, float]:
        torch.set_num_threads(1)
        done, began = 0, time.perf_counter()
        while done < 1 or time.perf_counter() - began < seconds:
            work()
            done += 1
        return done, time.perf_counter() - began

    with ThreadPoolExecutor(lanes) as pool:
        list(pool.map(warm, range(lanes)))
        return sum(done / took for done, took in pool.map(run, range(lanes)))
