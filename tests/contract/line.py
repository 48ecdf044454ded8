"""A line to a PostgreSQL that can be cut, or go silent, under the connections that use it."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import make_url

from tests.waiting import free_port

_PIECE = 65_536


class Line:
    """Passes on what comes to a free port of loopback. `url` is the database's as it is reached through it."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        host, port = parsed.query.get("host", parsed.host or "localhost"), parsed.port or 5432
        assert isinstance(host, str)
        self._unix = host.startswith("/")
        self._target = f"{host}/.s.PGSQL.{port}" if self._unix else (host, port)
        self._flowing, self._lock = threading.Event(), threading.Lock()
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._port = free_port()  # which stays ours while the line is cut
        self.mend()
        self.url = (
            parsed.difference_update_query(["host"])
            .set(host="127.0.0.1", port=self._port)
            .render_as_string(hide_password=False)
        )

    def mend(self) -> None:
        """Everything passes, new connections too."""
        self._flowing.set()
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self._port))
                threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def silence(self) -> None:
        """Nothing passes any more, and nothing is closed: as if the machine at the other end were gone."""
        self._flowing.clear()

    def cut(self) -> None:
        """Every connection ends, and new ones are refused."""
        with self._lock:
            listener, self._listener = self._listener, None
            ended, self._open = self._open, []
        if listener is not None:
            _end(listener)
        for connection in ended:
            _end(connection)
        self._flowing.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX if self._unix else socket.AF_INET)
                far.connect(self._target)
            except OSError:
                return
            with self._lock:
                self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                self._flowing.wait()
                target.sendall(piece)
        _end(source)
        _end(target)


@contextmanager
def line_to(url: str) -> Iterator[Line]:
    """A line for the length of a block."""
    line = Line(url)
    try:
        yield line
    finally:
        line.cut()


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
