"""The network that a run begins with: fresh, or from a checkpoint; and what is learnt beside it and dropped."""
