"""`descry serve` runs the server as a child process, and starts it again when it dies or gives itself up.

The child is the same command once more. It gets the listening socket, so that no connection is refused meanwhile: the
supervisor answers 503 until the child serves again. Standard library only: it is there all the time. Decision 0025.
"""

import ctypes
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from types import FrameType

_VARIABLE = "_DESCRY_SUPERVISED"
RESTART_CODE = 70
"""`app.embedding.watchdog.RESTART_CODE`, whose module is not for a process that waits."""
_PR_SET_PDEATHSIG = 1
_LOOK_S, _HEALTHY_S, _LONGEST_PAUSE_S = 0.2, 60.0, 30.0
_CLIENT_S, _HEAD_BYTES = 0.5, 16 * 1024
_log = logging.getLogger("app.commands.supervision")


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a supervised process got from its supervisor."""

    listener: socket.socket
    told: int

    def serving(self) -> None:
        """Tell the supervisor that connections are answered from now on."""
        os.write(self.told, b"1")


def inherited() -> Inherited | None:
    """The listening socket, if a supervisor runs this process; it then ends with its supervisor."""
    if (words := os.environ.pop(_VARIABLE, None)) is None:
        return None
    supervisor, listener, told = map(int, words.split(":"))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)
    os.set_inheritable(listener, False)
    os.set_inheritable(told, False)
    return Inherited(socket.socket(fileno=listener), told)


def supervise(listener: socket.socket) -> int:
    """Run this command as a supervised child, again and again, until it ends of itself or is asked to.

    Returns:
        Its exit code, negative for the signal that ended it. It is not started again if it never came to serve.
    """
    listener.setblocking(False)  # for the child too, which shares it: either may be the faster one to accept
    keeper = _Keeper(listener)
    before = {number: signal.signal(number, keeper.pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return keeper.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Keeper:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._child: subprocess.Popen[bytes] | None = None
        self._wanted = True

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        """A signal for this process is meant for the child."""
        self._wanted = False
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def run(self) -> int:
        pause, served_before = 0.0, False
        while True:
            began = time.monotonic()
            code, served = self._watch(answer=served_before)
            if not self._wanted or (code >= 0 and code != RESTART_CODE) or not (served or served_before):
                return code
            served_before = True
            pause = 0.0 if time.monotonic() - began > _HEALTHY_S else min(max(1.0, 2 * pause), _LONGEST_PAUSE_S)
            _log.error("the server ended with code %d; starting it again in %g s", code, pause)
            again = time.monotonic() + pause
            while self._wanted and time.monotonic() < again:
                self._refuse_some([])
            if not self._wanted:
                return code

    def _watch(self, *, answer: bool) -> tuple[int, bool]:
        """Start a child and wait for its end: its exit code, and whether it came to serve.

        Args:
            answer: refuse connections until it serves. At the first start they wait: it is soon there.
        """
        hears, told = os.pipe()
        words = f"{os.getpid()}:{self._listener.fileno()}:{told}"
        # In a session of its own, or Ctrl-C would reach it twice, which cuts its orderly end short.
        child = self._child = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env={**os.environ, _VARIABLE: words},
            pass_fds=(self._listener.fileno(), told),
            start_new_session=True,
        )
        os.close(told)
        if not self._wanted:  # asked for between the last look and now
            child.terminate()
        served = False
        while child.poll() is None:
            if served:
                try:
                    child.wait(_LOOK_S)
                except subprocess.TimeoutExpired:
                    continue
            elif hears in (self._refuse_some([hears]) if answer else select.select([hears], [], [], _LOOK_S)[0]):
                served = os.read(hears, 1) == b"1"
                if not served:  # it is about to end
                    child.wait()
        os.close(hears)
        return child.returncode, served

    def _refuse_some(self, hears: list[int]) -> list[int]:
        """Answer those who ask in the meantime; returns what else has something to say."""
        asked: list[int] = [*hears, self._listener.fileno()]
        found = select.select(asked, [], [], _LOOK_S)[0]
        if found == asked[-1:]:
            try:
                client, _ = self._listener.accept()
            except OSError:  # the child was faster, or the client is gone
                return []
            with client:
                client.settimeout(_CLIENT_S)
                _refuse(client)
        return [one for one in hears if one in found]


def _refuse(client: socket.socket) -> None:
    """Answer one connection with 503."""
    try:
        words = client.recv(_HEAD_BYTES).split(b"\r\n", 1)[0].split(b" ")
        path = words[1].partition(b"?")[0].decode("ascii", "replace") if len(words) > 1 else "/"
        problem = {
            "type": "urn:descry:problem:restarting",
            "title": "Not available now",
            "status": 503,
            "detail": "the server failed and is being started again; try again in a moment",
            "code": "restarting",
            "instance": path,
            "request_id": uuid.uuid4().hex,
        }
        body = json.dumps(problem).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
            f"Cache-Control: no-store\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        client.sendall(head.encode() + body)
        client.shutdown(socket.SHUT_WR)
        client.recv(_HEAD_BYTES)  # or what the client still sends would reset the connection before it reads
    except OSError:
        pass


def end_as(code: int) -> None:
    """End this process as its child ended."""
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
