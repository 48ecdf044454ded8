"""Procedural pedestrians with attributes, camera views and written descriptions. Imports no torch: a worker starts
fast."""

from training.synthetic.config import SyntheticConfig
from training.synthetic.writer import generate

__all__ = ["SyntheticConfig", "generate"]
