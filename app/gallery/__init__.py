"""The gallery: reading pictures, storing them, ingesting folders."""
