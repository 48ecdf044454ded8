"""Queries as things: each has an id, can be asked again, judged, kept by name, and its answer printed."""
