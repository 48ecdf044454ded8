"""A real chat endpoint on loopback whose behaviour a test writes, request by request."""

import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

GOOD = {
    "identity": "A young woman of slim build with long brown hair.",
    "clothing": "She wears a red shirt, blue jeans and white shoes.",
}


@dataclass(frozen=True)
class Asked:
    """One request: how often this picture was asked about before, and the whole."""

    before: int
    picture: str
    data: str
    messages: list[dict[str, Any]]
    authorization: str | None
    path: str
    time: float


Behaviour = Callable[["Handler", Asked], None]


@dataclass
class Endpoint:
    """What the server saw, and what it does."""

    behave: Behaviour
    url: str = ""
    seen: list[Asked] = field(default_factory=list)
    answered: list[Asked] = field(default_factory=list)
    times: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def counts(self) -> Counter[str]:
        """How often each picture was asked about."""
        with self.lock:
            return Counter(self.times)


class Handler(BaseHTTPRequestHandler):
    """Reads a request, notes it, behaves."""

    protocol_version = "HTTP/1.1"
    asked: Asked

    def do_POST(self) -> None:
        endpoint = cast("Server", self.server).endpoint
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        data = body["messages"][1]["content"][1]["image_url"]["url"]
        picture = hashlib.sha256(data.encode()).hexdigest()
        with endpoint.lock:
            before = endpoint.times[picture]
            endpoint.times[picture] += 1
            self.asked = Asked(
                before,
                picture,
                data,
                body["messages"],
                self.headers["authorization"],
                self.path,
                time.monotonic(),
            )
            endpoint.seen.append(self.asked)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            endpoint.behave(self, self.asked)

    def say(
        self, text: object, *, tokens: tuple[int, int] | None = (1000, 50), finish: str = "stop", **more: object
    ) -> None:
        """A chat completion; what is no text is sent as JSON in it."""
        content = text if isinstance(text, str) or text is None else json.dumps(text)
        body: dict[str, Any] = {
            "choices": [{"message": {"role": "assistant", "content": content, **more}, "finish_reason": finish}]
        }
        if tokens:
            body["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
        self.send(200, json.dumps(body).encode())

    def send(self, status: int, body: bytes, *, promise: int | None = None, **headers: str) -> None:
        """An answer; `promise` is a content length that is not kept."""
        if promise is None:  # noted before it leaves: who has the answer may look at once
            endpoint = cast("Server", self.server).endpoint
            with endpoint.lock:
                endpoint.answered.append(self.asked)
        self.send_response(status)
        self.send_header("content-length", str(len(body) if promise is None else promise))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        if promise is not None:
            self.wfile.flush()
            self.close_connection = True

    def hang(self) -> None:
        """Say nothing until the test is over."""
        cast("Server", self.server).endpoint.over.wait()

    def trickle(self) -> None:
        """A byte now and then, without end."""
        self.send_response(200)
        self.send_header("content-length", "100000")
        self.end_headers()
        over = cast("Server", self.server).endpoint.over
        while not over.wait(0.02):
            self.wfile.write(b" ")
            self.wfile.flush()

    def reset(self) -> None:
        """Cut the connection hard."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it
        """Silence."""

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the connection may be gone, as the test wants it
            super().finish()


class Server(ThreadingHTTPServer):
    """One thread a connection."""

    endpoint: Endpoint
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed are part of the tests."""


@contextmanager
def serving(behave: Behaviour) -> Iterator[Endpoint]:
    """An endpoint on a free port while the block runs."""
    server = Server(("127.0.0.1", 0), Handler)
    server.endpoint = Endpoint(behave, url=f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.endpoint
    finally:
        server.endpoint.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
