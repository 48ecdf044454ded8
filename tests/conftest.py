"""What holds for all tests."""

import os

# The tests of a whole suite fill the machine: a worker or a training that stands back behind them would not get ahead.
for name in ("DESCRY_WORKER_NICENESS", "DESCRY_TRAINING_NICENESS"):
    os.environ.setdefault(name, "0")
