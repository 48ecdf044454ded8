"""What holds for all tests."""

import os

# The tests of a whole suite fill the machine: a training that stands back behind them would not get ahead.
os.environ.setdefault("DESCRY_TRAINING_NICENESS", "0")
