"""What lies where in the folder of a retraining."""

import shutil
from collections.abc import Collection

from app.settings import Settings

DATA, BEST, GATE = "data", "best", "gate"
STATE_FILES = ("state.safetensors", "events.jsonl", "metrics.json", "trained")
"""What makes a run resume."""
LEFT = ("state.safetensors",)
"""What nobody needs once the candidate is registered."""


def sweep_data(settings: Settings, open_jobs: Collection[str]) -> None:
    """Remove the pictures of retrainings that have ended otherwise than in a worker's hands.

    Args:
        open_jobs: names of the folders that jobs still use.
    """
    if settings.retraining_dir.is_dir():
        for folder in settings.retraining_dir.iterdir():
            if folder.name not in open_jobs and (folder / DATA).is_dir():
                shutil.rmtree(folder / DATA, ignore_errors=True)
