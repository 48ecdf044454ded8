"""The losses: each a small function with its equation number."""
