"""`descry`, with a model that hangs, dies, fails or waits when a file in the folder FAULTS says so.

    python -m tests.end_to_end.violence.faulty serve ...

It writes down how many texts each pass has.
"""

import os
import signal
import threading
import time
from pathlib import Path

from torch import Tensor

from app.cli import app
from models.clip_baseline import ClipBaseline

FOLDER = Path(os.environ.get("FAULTS", "."))
PASSES = "passes.txt"
_whole = ClipBaseline.encode_text


def _encode_text(self: ClipBaseline, token_ids: Tensor) -> Tensor:
    with (FOLDER / PASSES).open("a") as log:
        log.write(f"{len(token_ids)}\n")
    if (FOLDER / "hang-once").exists():
        (FOLDER / "hang-once").unlink()
        threading.Event().wait()
    if (FOLDER / "hang").exists():
        threading.Event().wait()
    if (FOLDER / "die").exists():
        (FOLDER / "die").unlink()
        os.kill(os.getpid(), signal.SIGSEGV)
    if (FOLDER / "fail").exists():
        raise RuntimeError("an error of the device")
    while (FOLDER / "wait").exists():
        time.sleep(0.01)
    return _whole(self, token_ids)


if __name__ == "__main__":
    ClipBaseline.encode_text = _encode_text  # type: ignore[method-assign]
    app()
