"""A process killed while it writes an index snapshot: the part is ignored, the answers stay, nothing piles up."""

import subprocess
import sys
import time
from pathlib import Path

from tests.end_to_end.test_service_process import answer, checkpoint, data, ingest, pictures, serving

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
    deadline = time.monotonic() + 60
    while not list(index.parent.glob("*.partial")):
        assert time.monotonic() < deadline, "no kill met a write"
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(index)])
        while not list(index.parent.glob("*.partial")):
            assert writer.poll() is None
        writer.kill()
        writer.wait()


def test_a_snapshot_that_was_cut_off_is_ignored_and_removed(data: Path, tmp_path: Path) -> None:
    ingest(data, pictures(tmp_path / "p", 60))
    with serving(data) as (client, server):
        before = answer(client)
        server.terminate()  # an orderly end writes the snapshot
        server.wait(60)
    (index,) = (data / "index").glob("*.index")
    for gone in (False, True):
        kill_within_a_write(index)
        if gone:
            index.unlink()  # as if the very first write had been cut off
        with serving(data) as (client, server):
            assert answer(client) == before
            assert [path.name for path in (data / "index").iterdir()] == [index.name]
            server.terminate()
            server.wait(60)
