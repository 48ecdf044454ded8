"""Batches: many pictures in one request, staged on disk and left to a job."""
