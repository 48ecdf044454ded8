"""Every command of docs/api.md in its order, and every curl of README and guides, against a real server and worker."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

from tests.programs import program
from tests.waiting import LIMIT_S, PROCESS_S, free_port

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "docs" / "api.md").read_text()
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", GUIDE, flags=re.DOTALL)
README = (ROOT / "README.md").read_text()
GUIDES = README + "".join((ROOT / "docs" / name).read_text() for name in ("gallery.md", "searching.md"))
SHOWN = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDES, flags=re.DOTALL))
CURLS = re.findall(r"^curl (?:[^'\n\\]|'[^']*'|\\\n)*", SHOWN, flags=re.MULTILINE)
SECTIONS = (
    "A key",
    "Ingest",
    "Search",
    "Feedback",
    "Identification",
    "Retraining",
    "Export",
    "Errors",
    "The same with Python",
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with what the guide wants."""
    made = tmp_path / "made"
    words = ["synthesise-gallery", str(made), "--identities", "10", "--images", "2", "--seed", "5", "--workers", "2"]
    subprocess.run([sys.executable, "-m", "training", *words], check=True, capture_output=True, cwd=ROOT)
    folder = tmp_path / "work"
    folder.mkdir()
    pictures = sorted(made.rglob("*.jpg"))
    shutil.copyfile(pictures[0], folder / "someone.jpg")
    with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        for path in [*pictures, *made.glob("manifest.*")]:
            archive.write(path, path.relative_to(made))
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    port = str(free_port())
    # `descry` of the guide is this interpreter's.
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "descry").write_text(f'#!/bin/sh\nexec {sys.executable} -m app.cli "$@"\n')
    (programs / "descry").chmod(0o755)
    own = {"DESCRY_DATA_DIR": str(tmp_path / "data"), "DESCRY_DEVICE": "cpu", "DESCRY_PORT": port}
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, **own, "PATH": path, "PYTHONPATH": str(ROOT), "URL": f"http://127.0.0.1:{port}"}


@pytest.fixture
def server(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    shown = tmp_path / "server.log"
    words = ["models", "register", "--shipped", "--activate"]
    subprocess.run(["descry", *words], env=environment, check=True, capture_output=True, cwd=tmp_path)
    with shown.open("wb") as log:
        running = subprocess.Popen(["descry", "serve"], env=environment, stderr=log, cwd=tmp_path)
    try:
        ends = time.monotonic() + LIMIT_S
        while True:
            assert running.poll() is None, shown.read_text()
            assert time.monotonic() < ends, shown.read_text()
            try:
                if httpx.get(f"{environment['URL']}/readyz", timeout=20).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield environment["URL"]
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(LIMIT_S)


def test_the_guide_has_every_walk() -> None:
    assert [title for title in SECTIONS if f"\n## {title}\n" not in GUIDE] == []
    assert len([kind for kind, _ in BLOCKS if kind == "sh"]) > 8


def test_every_command_of_the_guide_works(place: Path, environment: dict[str, str], server: str) -> None:
    for name in ("bash", "curl", "jq", "unzip"):
        program(name)
    lines = ["set -euo pipefail"]
    for number, (kind, text) in enumerate(BLOCKS):
        lines.append(f"echo '== block {number}'")
        if kind == "sh":
            lines.append(text)
        else:
            (place / f"{number}.py").write_text(text)
            lines.append(f"{sys.executable} -W error {number}.py")
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)], cwd=place, env=environment, capture_output=True, text=True, timeout=PROCESS_S
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = done.stdout
    assert f"== block {len(BLOCKS) - 1}" in said
    assert '"succeeded"' in said
    assert "null" not in said.split("== block 2")[0]
    for name in ("thumbnail.jpg", "sheet.html", "export.zip"):
        assert (place / name).stat().st_size > 500


def video(path: Path) -> None:
    """A second of a grey wall."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for shade in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 100 + shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_every_curl_of_the_guides_is_answered(place: Path, environment: dict[str, str], server: str) -> None:
    program("curl")
    assert len(CURLS) > 5
    assert SHOWN.count("curl ") == len(CURLS)
    video(place / "gate.mp4")
    # One of them names image 17.
    taken = ["descry", "ingest", "pictures.zip"]
    subprocess.run(taken, cwd=place, env=environment, check=True, capture_output=True, timeout=PROCESS_S)
    statuses = []
    for command in CURLS:
        here = command.replace("localhost:8000", server.removeprefix("http://"))
        asked = ["bash", "-c", here.replace("curl ", "curl -w '\\n%{http_code}' ", 1)]
        done = subprocess.run(
            asked, cwd=place, env=environment, capture_output=True, text=True, check=True, timeout=PROCESS_S
        )
        statuses.append((command.split("/v1/")[1].split()[0], done.stdout.rpartition("\n")[2]))
    assert {status for _, status in statuses} <= {"200", "202"}, statuses
