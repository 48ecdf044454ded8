"""The client: `_sync` is written by hand, `_sync` from it by `python -m app.reference`."""
