"""The verbs of `python -m training` beside train, evaluate, calibrate, ablate and report."""
