"""Every command of the guides that serves a gallery is run, in their order (`places.py`), beside a worker."""

import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from models.checkpoint import DEMO, load_checkpoint, save_checkpoint
from tests.app.videos import walk_by, write
from tests.guides.commands import ROOT, Walk, walked
from tests.guides.places import REFUSED
from tests.waiting import LIMIT_S, PROCESS_S

pytestmark = pytest.mark.long
LEFT_TO_A_WORKER = re.compile(r"--queue|identities associate|descry watch")


@contextmanager
def worker(walk: Walk) -> Iterator[None]:
    """`descry worker` beside the commands, as `descry serve` would bring one."""
    with (walk.folder / "worker.log").open("wb") as log:
        running = subprocess.Popen(["descry", "worker"], cwd=walk.folder, env=walk.environment, stderr=log)
    try:
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(LIMIT_S)


def settle(walk: Walk) -> None:
    """Wait for the jobs that a command has left to the worker."""
    ends = time.monotonic() + PROCESS_S
    while re.search(r"queued|running", listed := walk.run("descry jobs list --json")):
        assert time.monotonic() < ends, listed


def take(walk: Walk, command: str) -> None:
    """Run a command; `ID` in it is the last query that was printed."""
    if " ID" in command:
        found = [word for said in walk.said.values() for word in re.findall(r"[Qq]uery (\S+)", said)]
        command = command.replace(" ID", f" {found[-1].rstrip('.,:')}", 1)
    if command in REFUSED:
        with pytest.raises(AssertionError, match=REFUSED[command]):
            walk.run(command)
        return
    walk.run(command)
    if LEFT_TO_A_WORKER.search(command):
        settle(walk)


def pictures(folder: Path) -> list[Path]:
    """Forty images of people with a manifest."""
    words = ["synthesise-gallery", str(folder), "--identities", "20", "--images", "2", "--seed", "5", "--workers", "2"]
    subprocess.run([sys.executable, "-m", "training", *words], check=True, capture_output=True, cwd=ROOT)
    return sorted(folder.rglob("*.jpg"))


def places(walk: Walk) -> None:
    """The pictures and videos that the guides speak of."""
    home, folder = Path(walk.environment["HOME"]), walk.folder
    found = pictures(folder / "platform-3")
    # Without the manifest, so that each picture is a person of its own until somebody says otherwise.
    (home / "pictures").mkdir()
    for path in found:
        shutil.copyfile(path, home / "pictures" / path.name)
    shutil.copyfile(found[0], home / "someone.jpg")
    encoder = load_checkpoint(DEMO, device="cpu")
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.mul_(1.01)
    save_checkpoint(encoder, folder / "clip", card="# another\n")
    write(folder / "gate.mp4", walk_by(1), seconds=3)
    for name in ("footage/gate 5", "recordings"):
        (folder / name).mkdir(parents=True)
    write(folder / "footage" / "gate 5" / "20261121_100000.mp4", walk_by(2)[1:], seconds=6)
    write(folder / "recordings" / "20261121_110000.mp4", seconds=1)


def test_commands_of_searching(walk: Walk) -> None:
    places(walk)
    chosen = walked(training=False)
    begin = chosen.index("descry ingest ~/pictures")
    for command in chosen[:begin]:
        take(walk, command)
    with worker(walk):
        for command in chosen[begin:]:
            take(walk, command)
    assert (walk.folder / "heat.png").stat().st_size > 500
    assert (walk.folder / "case17.pdf").read_bytes().startswith(b"%PDF")
    with zipfile.ZipFile(walk.folder / "north.zip") as exported:
        assert exported.testzip() is None
