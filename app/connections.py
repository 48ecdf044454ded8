"""Connections of the server that do not wait for ever for a client."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
"""Longest head of a request. The parser has no limit of its own."""


class _Patient(HttpToolsProtocol):
    seconds = 0.0
    _deadline: asyncio.TimerHandle | None = None
    _in_head, _head = False, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > HEAD_BYTES and not self.transport.is_closing():
                self._refuse_head()
        self._watch()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self._forget()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _refuse_head(self) -> None:
        if self._answering:  # the head of a further request: an answer to it would go into the one before
            self.transport.close()
        else:
            self.send_400_response("Invalid HTTP request received.")

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        if self._answering:
            self._forget()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.seconds, self.transport.close)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def patient(seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's protocol, which closes connections whose request does not become complete in time, or has no end.

    uvicorn gives up on connections that are silent between two requests, and the application (`app.guard`) on bodies
    that it reads. What is left are heads that trickle, and bodies that nobody reads because the answer was given
    already: either may take `seconds`.
    """
    return type("Patient", (_Patient,), {"seconds": seconds})
