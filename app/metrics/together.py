"""One answer of /metrics for several processes on one port: each gives what it counts to the others of its machine.

Whoever scrapes keeps the connection, and so would be answered by one process for ever.
"""

import contextlib
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_log = logging.getLogger(__name__)
_WITHIN_S, _CREDENTIALS = 2.0, struct.Struct("3i")
_LENGTH = struct.Struct("!Q")
_UP = "descry_process_up"
_HEAD = f"# HELP {_UP} 0: this process did not answer the scrape; it is being started, or hangs.\n# TYPE {_UP} gauge\n"


class Together:
    """The metrics of this process for the others, and theirs.

    The sockets have names that are no files: nothing is left when a process is killed. Both sides look whether the
    other one is of the same user, for everyone on the machine may use such a name.

    Args:
        name: the same for all of them, and for no others on the machine.
        place: of this process, from 0.
        count: how many there are.
        own: the metrics of this process as text, with the label `process`.
    """

    def __init__(self, name: str, place: int, count: int, own: Callable[[], bytes]) -> None:
        self._name, self._place, self._count, self._own = name, place, count, own
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self._address(place))
        self._listener.listen()
        self._thread = threading.Thread(target=self._give, name="descry-metrics", daemon=True)
        self._thread.start()

    def text(self) -> bytes:
        """The metrics of all processes. One that does not answer is left out, and `descry_process_up` says so."""
        others = [place for place in range(self._count) if place != self._place]
        with ThreadPoolExecutor(len(others) or 1) as pool:
            found = dict(zip(others, pool.map(self._ask, others), strict=True))
        found[self._place] = self._own()
        up = [f'{_UP}{{process="{place}"}} {float(found[place] is not None)}\n' for place in sorted(found)]
        texts = [text for _, text in sorted(found.items()) if text is not None]
        return merged([(_HEAD + "".join(up)).encode(), *texts])

    def close(self) -> None:
        """Give nothing any more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _address(self, place: int) -> str:
        return f"\0{self._name}-{place}"

    def _give(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            with client:
                try:
                    client.settimeout(_WITHIN_S)
                    if _same_user(client):
                        text = self._own()
                        client.sendall(_LENGTH.pack(len(text)) + text)
                except OSError:
                    continue  # it has waited long enough, and says that this process did not answer
                except Exception:  # noqa: BLE001  the thread goes on for the next scrape
                    _log.warning("metrics could not be given to another process", exc_info=True)

    def _ask(self, place: int) -> bytes | None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_WITHIN_S)
            try:
                client.connect(self._address(place))
                if not _same_user(client):
                    return None
                (length,) = _LENGTH.unpack(_read(client, _LENGTH.size))
                return _read(client, length)
            except OSError:
                return None


def merged(texts: list[bytes]) -> bytes:
    """Metrics in Prometheus' text format as one: each family once, with the series of all."""
    heads: dict[str, list[str]] = {}
    series: dict[str, list[str]] = {}
    for text in texts:
        family = ""
        for line in filter(None, text.decode().split("\n")):
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                if family not in heads:
                    heads[family], series[family] = [line], []
                    continue
            elif line.startswith("#"):
                if len(heads[family]) == 1:
                    heads[family].append(line)
            else:
                series[family].append(line)
    lines = [line for family, head in heads.items() for line in (*head, *series[family])]
    return "".join(f"{line}\n" for line in lines).encode()


def _same_user(other: socket.socket) -> bool:
    packed = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(packed)
    return bool(user == os.getuid())


def _read(client: socket.socket, length: int) -> bytes:
    """So many bytes.

    Raises:
        OSError: the other side ended before, or takes too long.
    """
    found = bytearray()
    while len(found) < length:
        if not (part := client.recv(min(length - len(found), 2**16))):
            raise ConnectionError("the other process ended")
        found += part
    return bytes(found)
