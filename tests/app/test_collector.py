"""What the collector of garbage looks at in a process that lives long."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import gc
from app.collector import leave_imports_alone

imported = [[] for _ in range(600_000)]
leave_imports_alone()
assert not gc.get_objects() or len(gc.get_objects()) < 10_000
before = gc.get_stats()[2]["collections"]
held = [[] for _ in range(120_000)]
print(gc.get_stats()[2]["collections"] - before)
"""


def test_full_collections_do_not_wait_for_a_part_of_what_was_imported() -> None:
    """120,000 objects are less than a quarter of 600,000, and were not looked at."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
