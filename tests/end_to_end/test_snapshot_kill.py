"""A process killed while it writes an index snapshot: the part is ignored, the answers stay, nothing piles up."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.test_service_process import answer, checkpoint, data, ingest, pictures, serving
from tests.waiting import LIMIT_S, until

__all__ = ["checkpoint", "data"]
WRITER = """
import json, sys
from pathlib import Path
from app.vectors.snapshot import SnapshotKey, save_snapshot
from tests.app.snapshots import whole
path = Path(sys.argv[1])
with path.open("rb") as handle:
    header = json.loads(handle.readline())
key = SnapshotKey(*(header[name] for name in ("history", "fingerprint", "space", "dim")))
snapshot = whole(path, key, header["sequence"])
while True:
    save_snapshot(path, snapshot)
"""


def kill_within_a_write(index: Path) -> None:
    """Leave a partial file behind."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(index)])

    def met() -> bool:
        """Whether the writer stands still within a write; else it goes on."""
        assert writer.poll() is None
        writer.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, writer.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if list(index.parent.glob("*.partial")):
            return True
        writer.send_signal(signal.SIGCONT)
        return False

    try:
        until(lambda: list(index.parent.glob("*.partial")) and met(), "a kill meets a write", pause_s=0)
    finally:
        writer.kill()
        writer.wait()


def test_a_snapshot_that_was_cut_off_is_ignored_and_removed(data: Path, tmp_path: Path) -> None:
    ingest(data, pictures(tmp_path / "p", 60))
    with serving(data) as (client, server):
        before = answer(client)
        server.terminate()  # an orderly end writes the snapshot
        server.wait(LIMIT_S)
    (index,) = (data / "index").glob("*.index")
    for gone in (False, True):
        kill_within_a_write(index)
        if gone:
            index.unlink()  # as if the very first write had been cut off
        with serving(data) as (client, server):
            assert answer(client) == before
            # A server may write its snapshot anew at this moment.
            until(lambda: [path.name for path in (data / "index").iterdir()] == [index.name], "the part is removed")
            server.terminate()
            server.wait(LIMIT_S)
