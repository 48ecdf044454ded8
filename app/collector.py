"""Python's collector of garbage in processes that live long (decision 0039)."""

import gc


def leave_imports_alone() -> None:
    """Let no collection look at what is there now: what was imported, which stays anyway and is most of all there is.

    The collection afterwards finds nothing, and is what tells the collector how little is left to look at. Without it
    the next full collection waits until a quarter of what was imported has come to it, a quiet server for hours: an
    encoder that was replaced, weights and all, would stay as long.
    """
    gc.collect()
    gc.freeze()
    gc.collect()
