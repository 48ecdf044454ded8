"""The client: `_async` is written by hand, `_sync` from it by `python -m app.reference`."""
