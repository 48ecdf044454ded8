"""What holds for all tests."""

import os

import pytest

# The tests of a whole suite fill the machine: a worker or a training that stands back behind them would not get ahead.
for name in ("DESCRY_WORKER_NICENESS", "DESCRY_TRAINING_NICENESS"):
    os.environ.setdefault(name, "0")
# What a test kills or measures is to be the server itself. Tests of the supervision ask for it.
os.environ.setdefault("DESCRY_SUPERVISE", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that are marked `long`: for one of minutes that begins last, all others wait."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
