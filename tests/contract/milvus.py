"""Milvus Lite for tests: whether it is here, and a server of it that several processes can use."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import LIMIT_S, free_port


def need_milvus_lite() -> None:
    """Skip where Milvus Lite is not installed; fail there with CI=true, where nothing may be skipped for that."""
    if importlib.util.find_spec("milvus_lite") is not None:
        return
    missing = "Milvus Lite is not installed (extra `milvus-lite`; it cannot stand beside faiss-gpu)"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


class MilvusLiteServer:
    """A process that serves one folder to many, as a cluster would. It can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        place = ["--data-dir", str(self._folder), "--host", "127.0.0.1", "--port", str(self._port)]
        with (self._folder.parent / "milvus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "milvus_lite", "server", *place], stdout=log, stderr=log
            )
        deadline = time.monotonic() + LIMIT_S
        while not self._listens():
            assert self._process.poll() is None, (self._folder.parent / "milvus.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "Milvus Lite did not listen in time"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as found:
            return found.connect_ex(("127.0.0.1", self._port)) == 0


@contextmanager
def milvus_server(folder: Path) -> Iterator[MilvusLiteServer]:
    """A running server, for the length of a block."""
    need_milvus_lite()
    folder.mkdir(parents=True, exist_ok=True)
    server = MilvusLiteServer(folder / "milvus.db")
    server.start()
    try:
        yield server
    finally:
        server.kill()
