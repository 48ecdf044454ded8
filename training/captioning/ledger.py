"""The file of descriptions as the tool writes it: what was asked, answered, paid and given up, one line each.

Every line goes out in one write and is applied to the counts by the function that also replays the file, so counts
after a resume are those of an uninterrupted run. A kill leaves at most a half last line, which is cut off. A loss of
power can take the lines of the last second besides. Events, beyond those of `descriptions.py`:

    asked   {id, image, prompt, model, style}           before a request leaves
    answer  {id, ..., accepted, reason, said, tokens_in, tokens_out, cost, spent}
    error   {id, ..., reason, may_be_billed}            no usable answer came
    failed  {image, prompt, model, style, code, reason, spent}   given up; a later run may ask again

An id that is asked and has neither answer nor error was under way when a run was killed. It may have been paid for.
"""

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.captioning.descriptions import read_lines
from training.errors import DescriptionsError

_SYNC_SECONDS = 1.0
_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Key:
    """What a finished answer is found again by."""

    image: str
    prompt: str
    model: str
    style: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, as the endpoint counts them."""

    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens, in any currency."""

    tokens_in: float
    tokens_out: float

    def cost(self, usage: Usage) -> float:
        """What the request costs."""
        return (usage.tokens_in * self.tokens_in + usage.tokens_out * self.tokens_out) / 1e6


@dataclass(slots=True)
class Spent:
    """What one image took so far."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0


@dataclass(slots=True)
class Totals:
    """Over a whole file.

    Attributes:
        finished, failed: keys with an accepted answer; keys given up and not finished since.
        requests: sent; each is in exactly one of answers, errors, unanswered.
        rejected: answers that the checks refused (paid all the same).
        unanswered: under way now, or when a run was killed.
        may_be_billed: errors after which the endpoint may have worked all the same (time-outs, cut connections).
        unmetered: answers without token counts. unpriced: answers without a cost.
        dearest: the highest cost of one request.
    """

    images: int = 0
    finished: int = 0
    failed: int = 0
    requests: int = 0
    answers: int = 0
    rejected: int = 0
    errors: int = 0
    unanswered: int = 0
    may_be_billed: int = 0
    unmetered: int = 0
    unpriced: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    dearest: float = 0.0

    def to_dict(self) -> dict[str, int | float]:
        """A JSON-ready mapping; money to a millionth."""
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}


class Counts:
    """The state that the lines of a file add up to."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.paths: dict[str, str] = {}
        self.done: set[Key] = set()
        self.given_up: dict[Key, str] = {}
        self.spent: dict[Key, Spent] = {}
        self.last_id = 0

    def apply(self, line: dict[str, Any]) -> None:
        """Count one line."""
        event = line["event"]
        if event == "image":
            self.paths[line["path"]] = line["image"]
            self.totals.images = len(self.paths)
            return
        key = _key(line)
        if event == "asked":
            self.last_id = max(self.last_id, line["id"])
            self.totals.requests += 1
            self.totals.unanswered += 1
            self.spent.setdefault(key, Spent()).requests += 1
        elif event == "answer":
            self._answer(key, line)
        elif event == "error":
            self.totals.unanswered -= 1
            self.totals.errors += 1
            self.totals.may_be_billed += bool(line["may_be_billed"])
        elif event == "failed" and key not in self.done:
            self.given_up[key] = line["code"]
        self.totals.finished, self.totals.failed = len(self.done), len(self.given_up)

    def _answer(self, key: Key, line: dict[str, Any]) -> None:
        totals, spent = self.totals, self.spent.setdefault(key, Spent())
        if "id" in line:  # rules answer without being asked
            totals.unanswered -= 1
            totals.answers += 1
            totals.unmetered += line["tokens_in"] is None
            totals.unpriced += line["cost"] is None
            totals.rejected += not line["accepted"]
            for one in (totals, spent):
                one.tokens_in += line["tokens_in"] or 0
                one.tokens_out += line["tokens_out"] or 0
                one.cost += line["cost"] or 0.0
            totals.dearest = max(totals.dearest, line["cost"] or 0.0)
        if line["accepted"]:
            self.done.add(key)
            self.given_up.pop(key, None)


def read_counts(file: Path) -> Counts:
    """What a file adds up to, without opening it for writing.

    Raises:
        DescriptionsError: no such file, or a damaged line.
    """
    counts = Counts()
    for number, line in enumerate(read_lines(file), start=1):
        try:
            counts.apply(line)
        except (KeyError, TypeError) as error:
            raise DescriptionsError(f"line {number} of {file} lacks or mistypes a field ({error})") from error
    return counts


class Ledger:
    """A file of descriptions, open for writing by this process alone.

    Raises:
        DescriptionsError: another process writes to it, a line is damaged, or it cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DescriptionsError(f"{file} cannot be written: {error.strerror}") from error
        try:
            self._lock()
            self.cut = self._cut_half_line()
            self.counts = read_counts(file)
        except BaseException:
            os.close(self._descriptor)
            raise
        self.lost = self.counts.totals.unanswered
        """Requests that earlier runs left under way."""
        self._synced = time.monotonic()

    def image(self, image: str, path: str) -> None:
        """Tell at which path a picture lies, if the file does not say so yet."""
        if self.counts.paths.get(path) != image:
            self._write({"event": "image", "image": image, "path": path})

    def asked(self, key: Key) -> int:
        """A request is about to leave; returns its id."""
        number = self.counts.last_id + 1
        self._write({"event": "asked", "id": number, **asdict(key)})
        return number

    def answered(
        self,
        number: int,
        key: Key,
        usage: Usage | None,
        cost: float | None,
        *,
        texts: tuple[str, str] | None = None,
        reason: str = "",
        said: str = "",
    ) -> None:
        """An answer came: accepted with its (identity, clothing) texts, or rejected; its beginning is then kept."""
        before = self.counts.spent.get(key, Spent())
        tokens = (usage.tokens_in, usage.tokens_out) if usage else (0, 0)
        spent = Spent(
            before.requests, before.tokens_in + tokens[0], before.tokens_out + tokens[1], before.cost + (cost or 0.0)
        )
        line: dict[str, Any] = {"event": "answer", "id": number, **asdict(key), "accepted": texts is not None}
        line |= {"identity": texts[0], "clothing": texts[1]} if texts else {"reason": reason, "said": said[:_SHOWN]}
        line |= {"tokens_in": usage.tokens_in if usage else None, "tokens_out": usage.tokens_out if usage else None}
        self._write({**line, "cost": cost, "spent": asdict(spent)})

    def errored(self, number: int, key: Key, reason: str, *, may_be_billed: bool) -> None:
        """No usable answer came to a request."""
        self._write({"event": "error", "id": number, **asdict(key), "reason": reason, "may_be_billed": may_be_billed})

    def failed(self, key: Key, code: str, reason: str) -> None:
        """A key is given up for now."""
        spent = asdict(self.counts.spent.get(key, Spent()))
        self._write({"event": "failed", **asdict(key), "code": code, "reason": reason, "spent": spent})

    def by_rules(self, key: Key, identity: str, clothing: str) -> None:
        """An answer that no one was asked for."""
        self._write({"event": "answer", **asdict(key), "accepted": True, "identity": identity, "clothing": clothing})

    def close(self) -> None:
        """Sync and let go of the file."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def _write(self, line: dict[str, Any]) -> None:
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "replace")
        try:
            if os.write(self._descriptor, data) != len(data):
                raise OSError(None, "the disk is full")
            if time.monotonic() - self._synced >= _SYNC_SECONDS:
                os.fsync(self._descriptor)
                self._synced = time.monotonic()
        except OSError as error:
            raise DescriptionsError(
                f"{self._file} cannot be written ({error.strerror}); make room, run again"
            ) from error
        self.counts.apply(line)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DescriptionsError(f"another process writes to {self._file}; wait for it, or name another") from error

    def _cut_half_line(self) -> bool:
        """Take off what a kill left behind the last end of line; says whether there was anything."""
        size = os.fstat(self._descriptor).st_size
        end, step = size, 1 << 16
        while end > 0:
            start = max(0, end - step)
            newline = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._descriptor, end)
        return end < size


def _key(line: dict[str, Any]) -> Key:
    return Key(line["image"], line["prompt"], line["model"], line["style"])
