"""Clients that cost next to nothing: a process of its own that keeps connections busy through one selector.

`python -m benchmarks.load` reads a plan from standard input and writes what came of it to standard output, as JSON.
httpx takes about a millisecond of a core for each request, which would be measured as the server's.
"""

import json
import os
import random
import re
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nretry-after: *\d", re.IGNORECASE)
_MOST_CONNECTIONS, _DRAIN_S, _CHUNK = 4_000, 60.0, 1 << 18
_COLOURS = ("red", "blue", "grey", "black", "white", "green", "brown", "yellow", "purple", "orange", "pink", "beige")
_TOPS = ("jacket", "coat", "hoodie", "shirt", "sweater", "vest", "t-shirt", "blouse")
_BOTTOMS = ("trousers", "jeans", "shorts", "skirt", "leggings")
_BAGS = ("backpack", "handbag", "suitcase", "shoulder bag", "plastic bag", "umbrella")
_REMEMBERED = 64


@dataclass(frozen=True)
class Plan:
    """What to ask, how often and for how long.

    Attributes:
        path: `/healthz` is asked with GET, anything else with POST and a description.
        clients: closed loop: each asks again as soon as it has its answer. 0: open loop, at `rate`.
        rate: arrivals a second, at random instants, whether earlier ones are answered or not.
        repeated: share of the questions that are one of the last 64 asked before; the others are new.
        seed: of the texts and the instants.
    """

    port: int
    path: str = "/v1/search/text"
    clients: int = 1
    rate: float = 0.0
    seconds: float = 5.0
    repeated: float = 0.0
    seed: int = 1
    host: str = "127.0.0.1"


@dataclass
class Outcome:
    """What came of a plan.

    Attributes:
        answers: for each (seconds from the start at which it was due, milliseconds until it was answered, status).
        advised: how many of the refusals said when to come again.
        unanswered: requests without an answer a minute after the end, or whose connection broke.
        elapsed_s, cpu_s: of the clients.
    """

    answers: list[tuple[float, float, int]] = field(default_factory=list)
    advised: int = 0
    unanswered: int = 0
    elapsed_s: float = 0.0
    cpu_s: float = 0.0

    def taken(self, status: int = 200) -> list[float]:
        """Milliseconds of the answers with a status, ascending."""
        return sorted(ms for _, ms, found in self.answers if found == status)


def load(plan: Plan, cores: set[int] | None = None) -> Outcome:
    """Carry a plan out in a process of its own, on some cores."""
    command = [sys.executable, "-m", "benchmarks.load"]
    told = subprocess.run(
        command, input=json.dumps([asdict(plan), sorted(cores or ())]), capture_output=True, text=True
    )
    if told.returncode:
        raise RuntimeError(f"the clients ended: {told.stderr[-2000:]}")
    found = json.loads(told.stdout)
    return Outcome(**found | {"answers": [(due, ms, status) for due, ms, status in found["answers"]]})


def descriptions(seed: int, repeated: float = 0.0) -> Iterator[str]:
    """Descriptions of about 25 words without end; no two are alike but those that are repeated."""
    rng, recent, seen = random.Random(seed), deque[str](maxlen=_REMEMBERED), set[str]()
    pick = rng.choice
    while True:
        if recent and rng.random() < repeated:
            yield rng.choice(recent)
            continue
        text = (
            f"A {pick(('young', 'tall', 'slim', 'elderly'))} {pick(('woman', 'man'))} with {pick(('short', 'long'))} "
            f"{pick(('black', 'brown', 'blond', 'grey'))} hair wears a {pick(_COLOURS)} {pick(_TOPS)} over a "
            f"{pick(_COLOURS)} {pick(_TOPS)} and {pick(_COLOURS)} {pick(_BOTTOMS)}, carrying a {pick(_COLOURS)} "
            f"{pick(_BAGS)}."
        )
        if text not in seen:
            seen.add(text)
            recent.append(text)
            yield text


class _Connection:
    """One kept connection, with at most one request on its way."""

    def __init__(self, plan: Plan) -> None:
        self.socket = socket.create_connection((plan.host, plan.port), timeout=_DRAIN_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self.due = 0.0

    def ask(self, request: bytes, due: float) -> None:
        self.due = due
        self.socket.sendall(request)

    def answer(self) -> tuple[int, bool] | None:
        """The status of an answer that is complete, and whether it says when to come again.

        Raises:
            ConnectionError: the server has closed the connection.
        """
        piece = self.socket.recv(_CHUNK)
        if not piece:
            raise ConnectionError("closed")
        self._received += piece
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or length is None or len(body) < int(length[1]):
            return None
        self._received = b""
        return int(head[9:12]), _RETRY.search(head) is not None


class _Clients:
    """Connections, and what was answered on them."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._selector = plan, selectors.DefaultSelector()
        self._texts = descriptions(plan.seed, plan.repeated)
        self._open = 0
        self.outcome = Outcome()
        self.idle: deque[_Connection] = deque()

    def connect(self) -> _Connection:
        connection = _Connection(self._plan)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        self._open += 1
        return connection

    def free(self) -> _Connection | None:
        if self.idle:
            return self.idle.popleft()
        return self.connect() if self._open < _MOST_CONNECTIONS else None

    @property
    def busy(self) -> int:
        return self._open - len(self.idle)

    def request(self) -> bytes:
        plan = self._plan
        head = f"{plan.path} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n"
        if plan.path == "/healthz":
            return f"GET {head}\r\n".encode()
        body = json.dumps({"query": next(self._texts), "limit": 10})
        return f"POST {head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    def collect(self, began: float, wait_s: float) -> list[_Connection]:
        """Take what has been answered; gives the connections that are free by that."""
        freed = []
        for key, _ in self._selector.select(max(0.0, wait_s)):
            connection: _Connection = key.data
            try:
                found = connection.answer()
            except OSError:
                self._selector.unregister(connection.socket)
                connection.socket.close()
                self._open -= 1
                self.outcome.unanswered += 1
                continue
            if found is not None:
                status, advised = found
                took = (time.perf_counter() - connection.due) * 1000
                self.outcome.answers.append((connection.due - began, took, status))
                self.outcome.advised += advised
                freed.append(connection)
        return freed


def _closed(clients: _Clients, plan: Plan, began: float) -> None:
    end = began + plan.seconds
    for connection in [clients.connect() for _ in range(plan.clients)]:
        connection.ask(clients.request(), time.perf_counter())
    while clients.busy and time.perf_counter() < end + _DRAIN_S:
        for connection in clients.collect(began, 0.1):
            now = time.perf_counter()
            if now < end:
                connection.ask(clients.request(), now)
            else:
                clients.idle.append(connection)


def _opened(clients: _Clients, plan: Plan, began: float) -> None:
    rng, end = random.Random(plan.seed), began + plan.seconds
    due = began + rng.expovariate(plan.rate)
    while True:
        now = time.perf_counter()
        while due <= min(now, end):
            connection = clients.free()
            if connection is None:  # its time counts from the instant at which it was due all the same
                break
            connection.ask(clients.request(), due)
            due += rng.expovariate(plan.rate)
        if due > end and (not clients.busy or now > end + _DRAIN_S):
            return
        clients.idle.extend(clients.collect(began, min(max(due - now, 0.0005), 0.1)))


def carry_out(plan: Plan) -> Outcome:
    """Ask, wait for every answer, and count."""
    clients = _Clients(plan)
    began, processor = time.perf_counter(), time.process_time()
    (_closed if plan.clients else _opened)(clients, plan, began)
    outcome = clients.outcome
    outcome.unanswered += clients.busy
    outcome.elapsed_s, outcome.cpu_s = time.perf_counter() - began, time.process_time() - processor
    return outcome


if __name__ == "__main__":
    given, affinity = json.load(sys.stdin)
    if affinity:
        os.sched_setaffinity(0, affinity)
    json.dump(asdict(carry_out(Plan(**given))), sys.stdout)
