"""What holds for all tests."""

import os

# The tests of a whole suite fill the machine: a worker or a training that stands back behind them would not get ahead.
for name in ("DESCRY_WORKER_NICENESS", "DESCRY_TRAINING_NICENESS"):
    os.environ.setdefault(name, "0")
# What a test kills or measures is to be the server itself. Tests of the supervision ask for it.
os.environ.setdefault("DESCRY_SUPERVISE", "0")
