"""What waiting is in the client without async and await; `async_tools` is the same with."""

from collections.abc import Iterator
from time import sleep as pause

import httpx

Response = httpx.Response
HttpClient = httpx.Client

__all__ = ["HttpClient", "Response", "pause", "streamed"]


def streamed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces."""
    return pieces
