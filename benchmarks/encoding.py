"""`python -m benchmarks.encoding`: what runs an encoder, against stock open_clip in float32, in one run.

    python -m benchmarks.encoding                    CLIP ViT-B/16 with random weights, and `compact`
    python -m benchmarks.encoding --keep FOLDER      keeps checkpoint and exports: the next run exports nothing
    python -m benchmarks.encoding --checkpoint DIR   a checkpoint of your own, e.g. with published CLIP weights:
        descry models register --open-clip ViT-B-16-quickgelu --pretrained FILE.safetensors   (its folder: models/...)
    python -m benchmarks.encoding --runtime torch-compile-bf16
                                                     those of torch.compile only so: they compile before each run

The same weights are in every runtime. Stock is `open_clip`'s own forward in float32: 77 places for a text, the
normalised batch for pictures. Rounds go through all runtimes in turn: what else the machine does meets all of them.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from app.embedding.runtime import Runtime, TorchRuntime
from app.embedding.runtimes.buckets import Buckets, buckets_of, next_length
from app.embedding.runtimes.known import RuntimeName
from app.embedding.runtimes.names import RUNTIMES, UNASKED, machine, obstacle
from app.embedding.runtimes.opening import open_named
from app.embedding.runtimes.parity import TYPICAL, known_ids, least_cosine, pictures, probes_of
from app.lanes import cores
from app.settings import Settings
from benchmarks.figures import median
from models.checkpoint import DEMO, load_checkpoint, save_checkpoint
from models.encoder import PersonEncoder
from models.truncation import cut_texts

CLIP, COMPACT = "ViT-B-16-quickgelu", "compact"
STOCK = "stock fp32"
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Encoded:
    """One runtime with a number of threads.

    Attributes:
        text_ms: one text of the usual length.
        image_ms: one picture of a batch.
        text_ratio, image_ratio: how many times faster than stock, in the same rounds.
        cosine: the smallest to the exact vectors, over probes; 1 for stock.
        open_s: seconds until it could be used, with its export (if --keep has none) or its compilation.
    """

    model: str
    runtime: str
    threads: int
    text_ms: float
    image_ms: float
    text_ratio: float
    image_ratio: float
    cosine: float
    open_s: float


@dataclass(frozen=True, slots=True)
class Rival:
    """Something that encodes: ids or pixels in, anything out."""

    name: str
    text: Callable[[Tensor], object]
    image: Callable[[Tensor], object]
    cosine: float = 1.0
    open_s: float = 0.0


def clip_checkpoint(folder: Path, backbone: str = CLIP) -> Path:
    """A full-size CLIP baseline with random weights (seed 0) as a checkpoint; made unless it is there."""
    from models.clip_baseline import ClipBaseline, open_clip_spec

    if not (folder / "model.safetensors").is_file():
        torch.manual_seed(0)
        encoder = ClipBaseline(open_clip_spec(backbone))
        save_checkpoint(encoder, folder, card=f"# {backbone}\n\nRandom weights, for measurements alone.\n")
    return folder


def stock(encoder: PersonEncoder) -> Rival:
    """open_clip's own forward where there is one, else the encoder's with every text padded to all its places."""
    clip: Any = getattr(getattr(encoder, "backbone", None), "clip", None)
    length = encoder.spec.tokenizer.length

    @torch.inference_mode()
    def text(ids: Tensor) -> object:
        whole = F.pad(ids, (0, length - ids.shape[1]))
        return encoder.encode_text(whole) if clip is None else clip.encode_text(whole, normalize=True)

    @torch.inference_mode()
    def image(pixels: Tensor) -> object:
        batch = encoder.normalise(pixels)
        return encoder.encode_image(batch) if clip is None else clip.encode_image(batch, normalize=True)

    return Rival(STOCK, text, image)


def buckets_for(encoder: PersonEncoder, *, batch: int, threads: list[int]) -> Buckets:
    """No more shapes for the compiler than are measured, and the longest text, which the probes need."""
    tokens = cut_texts(known_ids(encoder, (TYPICAL,)), encoder.spec.tokenizer).shape[1]
    lengths = buckets_of(encoder, _CPU).lengths
    shares = {-(-batch // count) for count in threads}
    return Buckets((1,), tuple(sorted({next_length(tokens, lengths), lengths[-1]})), tuple(sorted(shares)))


def rivals_of(encoder: PersonEncoder, data_dir: Path, names: list[RuntimeName], buckets: Buckets) -> list[Rival]:
    """Stock first, then each runtime that this machine has; opened, compared, and exported or compiled."""
    settings, probes = Settings(data_dir=data_dir, device="cpu"), probes_of(encoder)
    found = [stock(encoder)]
    for name in names:
        if obstacle(name, _CPU) is None:
            began = time.perf_counter()
            runtime: Runtime = open_named(name, encoder, settings, buckets=buckets)
            took = time.perf_counter() - began
            cosine = 1.0 if isinstance(runtime, TorchRuntime) else least_cosine(runtime, probes)
            found.append(Rival(name, runtime.encode_text, runtime.encode_image, cosine, took))
    return found


def measure(
    model: str, encoder: PersonEncoder, rivals: list[Rival], *, threads: int, batch: int, text_rounds: int, rounds: int
) -> list[Encoded]:
    """Medians over rounds, in each of which every rival has its turn."""
    torch.set_num_threads(threads)
    ids, pixels = known_ids(encoder, (TYPICAL,)), pictures(encoder, batch)
    texts = _turns([(rival.name, lambda r=rival: r.text(ids)) for rival in rivals], text_rounds)  # type: ignore[misc]
    images = _turns([(rival.name, lambda r=rival: r.image(pixels)) for rival in rivals], rounds)  # type: ignore[misc]
    return [
        Encoded(
            model=model,
            runtime=rival.name,
            threads=threads,
            text_ms=1000 * texts[rival.name],
            image_ms=1000 * images[rival.name] / batch,
            text_ratio=texts[STOCK] / texts[rival.name],
            image_ratio=images[STOCK] / images[rival.name],
            cosine=rival.cosine,
            open_s=rival.open_s,
        )
        for rival in rivals
    ]


def _place(kind: str, folder: Path, checkpoint: Path | None) -> Path:
    if checkpoint is not None:
        return checkpoint
    return DEMO if kind == COMPACT else clip_checkpoint(folder / kind, kind)


def _turns(works: list[tuple[str, Callable[[], object]]], rounds: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name, _ in works}
    for number in range(rounds + 1):
        for name, work in works:
            work()  # caches hold another runtime's weights
            began = time.perf_counter()
            work()
            if number:
                taken[name].append(time.perf_counter() - began)
    return {name: median(times) for name, times in taken.items()}


def table_of(figures: list[Encoded]) -> Table:
    """Figures beside stock's."""
    table = Table(title="Encoding")
    for column in ("model", "runtime", "threads", "text ms", "x stock", "image ms", "x stock", "cosine >=", "open s"):
        table.add_column(column, justify="left" if column in ("model", "runtime") else "right")
    for one in figures:
        table.add_row(
            one.model,
            one.runtime,
            str(one.threads),
            f"{one.text_ms:.2f}",
            f"{one.text_ratio:.2f}",
            f"{one.image_ms:.2f}",
            f"{one.image_ratio:.2f}",
            f"{one.cosine:.6f}",
            f"{one.open_s:.1f}",
        )
    return table


def run(
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help=f"{COMPACT}, or an open_clip model; default {CLIP} and {COMPACT}."),
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A checkpoint of your own instead.")] = None,
    runtimes: Annotated[
        list[str] | None, typer.Option("--runtime", help="Of these; default all that run here without torch.compile.")
    ] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Default: 1, and all cores.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures in a pass.")] = 16,
    text_rounds: Annotated[int, typer.Option(min=1)] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="Of pictures.")] = 3,
    keep: Annotated[Path | None, typer.Option(help="Folder for the checkpoint and the exports.")] = None,
    prepare: Annotated[bool, typer.Option("--prepare", help="Only make checkpoint and exports, into --keep.")] = False,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("runs/encoding.json"),
) -> None:
    """Encode the same text and pictures with every runtime that is installed."""
    console = Console(width=max(100, Console().width))
    names: list[RuntimeName] = [name for name in RUNTIMES if name in (runtimes or UNASKED)]
    figures: list[Encoded] = []
    with tempfile.TemporaryDirectory(prefix="descry-encoding-") as passing:
        folder = keep or Path(passing)
        for kind in [str(checkpoint)] if checkpoint else models or [CLIP, COMPACT]:
            encoder = load_checkpoint(_place(kind, folder, checkpoint))
            counts = threads or [1, cores()]
            rivals = rivals_of(encoder, folder / "data", names, buckets_for(encoder, batch=batch, threads=counts))
            for count in [] if prepare else counts:
                console.print(f"measuring {kind}, {count} threads ...")
                figures += measure(
                    kind, encoder, rivals, threads=count, batch=batch, text_rounds=text_rounds, rounds=rounds
                )
    if prepare:
        return
    console.print(table_of(figures))
    out.parent.mkdir(parents=True, exist_ok=True)
    record = {"machine": dict(machine(_CPU)), "batch": batch, "figures": [asdict(one) for one in figures]}
    out.write_text(json.dumps(record, indent=1) + "\n")
    console.print(f"written to {out}")


if __name__ == "__main__":
    typer.run(run)
