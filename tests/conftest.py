"""What holds for all tests."""

import os
import random
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# The tests of a whole suite fill the machine: a worker or a training that stands back behind them would not get ahead.
for name in ("DESCRY_WORKER_NICENESS", "DESCRY_TRAINING_NICENESS"):
    os.environ.setdefault(name, "0")
# What a test kills or measures is to be the server itself. Tests of the supervision ask for it.
os.environ.setdefault("DESCRY_SUPERVISE", "0")
# A machine that is busy is no error: neither an example nor the making of examples has a time limit. (Hypothesis itself
# lifts both where the variable CI is set, and nowhere else.)
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Each test begins with the same random numbers, whichever ran before it in its process: networks of random weights
    are many here, and what they do is compared within tolerances."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  libraries draw from it
    if "torch" in sys.modules:  # a test that needs it has imported it
        sys.modules["torch"].manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that are marked `long`: for one of minutes that begins last, all others wait."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
