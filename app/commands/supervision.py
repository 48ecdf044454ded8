"""`descry serve` runs the server as a child process, and starts it again when it dies or gives itself up.

The child is the same command once more. It gets the listening socket, so that no connection is refused meanwhile: the
supervisor answers 503 until the child serves again. Standard library only: it is there all the time. Decision 0025.

Of several children each has a socket of its own on the same port, among which the system divides connections. The
first one starts alone, so that it makes what is made once. The others take over from one that died, and no end of a
child ends them once the first has served. Decision 0040.
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
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

_VARIABLE = "_DESCRY_SUPERVISED"
RESTART_CODE = 70
"""`app.embedding.watchdog.RESTART_CODE`, whose module is not for a process that waits."""
_PR_SET_PDEATHSIG = 1
_LOOK_S, _HEALTHY_S, _LONGEST_PAUSE_S = 0.2, 60.0, 30.0
_CLIENT_S, _HEAD_BYTES, _LEAVING_S = 0.5, 16 * 1024, 1.0
_log = logging.getLogger("app.commands.supervision")


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a supervised process got from its supervisor."""

    listener: socket.socket
    told: int
    place: int = 0
    """Which of several it is. The first, 0, brings the worker."""
    relieved: bool = False
    """Whether others answer: then one that cannot search is better away, where a server alone would say why."""

    def serving(self) -> None:
        """Tell the supervisor that connections are answered from now on."""
        os.write(self.told, b"1")


def inherited() -> Inherited | None:
    """The listening socket, if a supervisor runs this process; it then ends with its supervisor."""
    if (words := os.environ.pop(_VARIABLE, None)) is None:
        return None
    supervisor, listener, told, place, relieved = map(int, words.split(":"))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)
    os.set_inheritable(listener, False)
    os.set_inheritable(told, False)
    return Inherited(socket.socket(fileno=listener), told, place, bool(relieved))


def supervise(listener: socket.socket, processes: int = 1) -> int:
    """Run this command as a supervised child, again and again, until it ends of itself or is asked to.

    Args:
        listener: with SO_REUSEPORT, if there is to be more than one.
        processes: how many children. One of several is started again however it ended, if the first ever served.

    Returns:
        The exit code of the first, negative for the signal that ended it. It is not started again if it never came to
        serve.
    """
    listener.setblocking(False)  # for the child too, which shares it: either may be the faster one to accept
    sockets = [listener, *(beside(listener) for _ in range(1, processes))]
    keepers = [_Keeper(one, place, alone=processes == 1) for place, one in enumerate(sockets)]
    for keeper in keepers:
        keeper.others = [other for other in keepers if other is not keeper]

    def pass_on(number: int, frame: FrameType | None) -> None:
        # A terminal that was closed asks for the same end: else the system would kill the children with this process.
        for keeper in keepers:
            keeper.pass_on(signal.SIGTERM if number == signal.SIGHUP else number)

    asked = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # that is what nohup is for
        asked.append(signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in asked}
    try:
        return keepers[0].run() if processes == 1 else _run_several(keepers)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def beside(listener: socket.socket) -> socket.socket:
    """Another socket on the same address. Connections come to those that a process listens on."""
    made = socket.socket(listener.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.setblocking(False)
    made.bind(listener.getsockname())
    return made


def _run_several(keepers: "list[_Keeper]") -> int:
    """Run the first, then the others beside it; end them with it. Returns its exit code."""
    # A child ends with the thread that started it, so each thread lives as long as its keeper.
    threads = [threading.Thread(target=keeper.run, daemon=True) for keeper in keepers]
    threads[0].start()
    while threads[0].is_alive() and not keepers[0].served.wait(_LOOK_S):
        pass
    others = threads[1:] if keepers[0].served.is_set() else []
    for thread in others:
        thread.start()
    while threads[0].is_alive():
        threads[0].join(_LOOK_S)
    for keeper in keepers[1:]:
        keeper.pass_on(signal.SIGTERM)
    for thread in others:
        thread.join()
    return keepers[0].code


class _Keeper:
    """Keeps one child running.

    Args:
        place: which of several it is, from 0.
    """

    def __init__(self, listener: socket.socket, place: int, *, alone: bool) -> None:
        self._listener, self._place, self._alone = listener, place, alone
        self._name = "the server" if alone else f"server process {place}"
        self._child: subprocess.Popen[bytes] | None = None
        self._wanted = True
        self.code = 1
        self.served = threading.Event()
        self.serves = False
        """Now; `served` stays."""
        self._since: float | None = None
        """When the present child came to serve: one that takes long to fail is not healthy."""
        self.others: list[_Keeper] = []

    def pass_on(self, number: int) -> None:
        """A signal for this process is meant for the child."""
        self._wanted = False
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def run(self) -> int:
        """Returns the exit code of the last child."""
        pause = 0.0
        while self._wanted or (not self._place and self._child is None):  # the first gives the exit code
            self._since = None
            self.code = self._watched()
            if not self._wanted or self._final():
                break
            healthy = self._since is not None and time.monotonic() - self._since > _HEALTHY_S
            pause = 0.0 if healthy else min(max(1.0, 2 * pause), _LONGEST_PAUSE_S)
            _log.error("%s ended %s; starting it again in %g s", self._name, _how(self.code), pause)
            if not self._alone:
                self._leave()
            again = time.monotonic() + pause
            while self._wanted and time.monotonic() < again:
                if self._alone:
                    self._refuse_some([])
                else:
                    time.sleep(_LOOK_S)
        return self.code

    def _watched(self) -> int:
        """`_watch`; one of several that cannot be started does not end the others."""
        try:
            return self._watch(answer=self._alone and self.served.is_set())
        except OSError:
            if self._alone or not (self._place or self.served.is_set()):
                raise
            _log.exception("%s cannot be started", self._name)
            return 1

    def _leave(self) -> None:
        """Let the others take all connections from now on; those that wait here are refused."""
        try:
            fresh = beside(self._listener)
        except OSError:
            _log.exception("connections of the server that ended wait for it")
            return
        until = time.monotonic() + _LEAVING_S  # as long as this socket is there, more may come
        with suppress(OSError):  # nobody waits any more
            while time.monotonic() < until:
                _answer_next(self._listener)
        self._listener.close()
        self._listener = fresh

    def _final(self) -> bool:
        """Whether the end of the child is that of all.

        It is if the first never came to serve. One alone that ends of itself may: nobody else answers.
        """
        if not self.served.is_set():
            return not self._place
        return self._alone and self.code >= 0 and self.code != RESTART_CODE

    def _watch(self, *, answer: bool) -> int:
        """Start a child and wait for its end: its exit code. `served` is set when it comes to serve.

        Args:
            answer: refuse connections until it serves. At the first start they wait: it is soon there.
        """
        hears, told = os.pipe()
        relieved = any(other.serves for other in self.others)
        words = f"{os.getpid()}:{self._listener.fileno()}:{told}:{self._place}:{relieved:d}"
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
                if served:
                    self.served.set()
                    self.serves, self._since = True, time.monotonic()
                    if not self._alone:
                        _log.info("%s serves, pid %d", self._name, child.pid)
                else:  # it is about to end
                    child.wait()
        self.serves = False
        os.close(hears)
        return child.returncode

    def _refuse_some(self, hears: list[int]) -> list[int]:
        """Answer those who ask in the meantime; returns what else has something to say."""
        asked: list[int] = [*hears, self._listener.fileno()]
        found = select.select(asked, [], [], _LOOK_S)[0]
        if found == asked[-1:]:
            with suppress(OSError):  # the child was faster, or the client is gone
                _answer_next(self._listener)
        return [one for one in hears if one in found]


def _how(code: int) -> str:
    if code >= 0:
        return f"with code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:  # a real-time one
        return f"by signal {-code}"


def _answer_next(listener: socket.socket) -> None:
    """Refuse the next connection that waits.

    Raises:
        OSError: none does.
    """
    client, _ = listener.accept()
    with client:
        client.settimeout(_CLIENT_S)
        _refuse(client)


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
