"""The server and the worker start where only `pip install descry[cpu]` was done."""

import os
import subprocess
import sys
from pathlib import Path

EXTRAS = ("cv2", "av", "onnx", "onnxruntime", "onnxscript", "openvino", "boto3", "pymilvus", "spacy")
PROGRAM = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in NAMES:
            raise ModuleNotFoundError(name)


NAMES = sys.argv[1:]
sys.meta_path.insert(0, Missing())
import app.cli, app.jobs.worker
from app.main import create_app
from app.settings import Settings

print(len(create_app(Settings()).openapi()["paths"]))
"""


def test_nothing_optional_is_needed_to_start(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *EXTRAS],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30
