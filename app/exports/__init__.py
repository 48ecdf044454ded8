"""Exports: a part of the gallery as files that another Descry can ingest."""
