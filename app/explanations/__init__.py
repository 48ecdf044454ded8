"""Which words of a description an image bears out, and where."""
