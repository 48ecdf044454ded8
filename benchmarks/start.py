"""How long a server takes until it answers, and `descry --help`: `python -m benchmarks.start`."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.figures import Figure, median
from benchmarks.served import resident_bytes, served
from benchmarks.serving import prepare
from benchmarks.table import figure_table

_ROUNDS, _COMPACT_S, _CLIP_S, _HELP_S, _IDLE_S = 3, 10.0, 15.0, 1.0, 5.0
_MIB = 2**20


def measure_start(folder: Path, backbone: str = "compact", identities: int = 150) -> list[Figure]:
    """Medians of three starts: from the command until `/readyz` answers 200, files in the system's cache and Python's
    compiled modules beside them, as at every start but the first."""
    data = prepare(folder, backbone, identities)
    # Python keeps what it has compiled of its libraries, unless it must not, as where tests run.
    kept = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    with served(data, environment=kept):
        pass
    ready, memory, worker = [], 0.0, 0.0
    for last in (False,) * (_ROUNDS - 1) + (True,):
        with served(data, environment=kept) as server:
            ready.append(server.ready_s)
            if last:
                time.sleep(_IDLE_S)
                memory = resident_bytes(server.pid) / _MIB
                worker = sum(map(resident_bytes, server.workers())) / _MIB
    limit = _COMPACT_S if backbone == "compact" else _CLIP_S
    return [
        Figure(f"{backbone}: start until ready", median(ready), "s", limit, "limit"),
        Figure(f"{backbone}: idle memory of the server", memory, "MiB", 1536.0, "limit of the ingest"),
        Figure(f"{backbone}: idle memory of the worker", worker, "MiB", memory, "the server"),
        Figure("descry --help", median([_help_s() for _ in range(_ROUNDS)]), "s", _HELP_S, "limit"),
    ]


def _help_s() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "app.cli", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def run(
    backbone: Annotated[str, typer.Option(help="compact (the shipped one), or a model of open_clip.")] = "compact",
    identities: Annotated[int, typer.Option(help="People in the gallery, four images each.")] = 150,
    keep: Annotated[Path, typer.Option(help="Folder that is prepared once.")] = Path("runs/serving-data"),
) -> None:
    """Measure starts."""
    keep.mkdir(parents=True, exist_ok=True)
    Console().print(figure_table(measure_start(keep, backbone, identities)))


if __name__ == "__main__":
    typer.run(run)
