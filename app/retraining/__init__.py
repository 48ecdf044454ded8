"""Retraining: a data set of the gallery, a training process, a gate, and a candidate in the registry."""
