"""Video: people are found in frames, followed from frame to frame, and their best crops become images."""
