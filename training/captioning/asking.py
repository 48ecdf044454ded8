"""Describe many images: concurrent requests, repeats, limits; everything that happens goes to the ledger at once."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.captioning.answers import RejectedError, read_answer
from training.captioning.client import BusyError, Client, ClosedError, Endpoint, LostError, RefusedError, Reply
from training.captioning.ledger import Key, Ledger, Prices
from training.captioning.pictures import data_url
from training.captioning.prompts import PROMPT_VERSION, Style, ask_again, first_messages
from training.errors import DatasetError, DescriptionsError

_LONGEST_WAIT = 60.0
_GUESSED_TOKENS_IN = 3000
"""What a request is taken to cost before any was answered."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much, how fast, how often.

    Attributes:
        concurrency: requests under way at a time.
        per_minute: requests sent in a minute; None for no limit.
        images: keys to finish or give up in this run; None for all.
        budget: money for the whole file, in the currency of the prices; needs prices.
        reasks: how often a rejected answer is asked for again.
        repeats: how often a request without an answer is sent again.
        first_wait: seconds before the first repeat; doubled each time up to a minute.
        patience: the longest Retry-After that is waited for, in seconds.
        most_side: pictures are scaled down to this many pixels on the longer side.
    """

    concurrency: int = 8
    per_minute: float | None = None
    images: int | None = None
    budget: float | None = None
    reasks: int = 3
    repeats: int = 5
    first_wait: float = 1.0
    patience: float = 300.0
    most_side: int = 768

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.most_side < 32:
            raise ValueError("concurrency is at least 1, and pictures have at least 32 pixels")
        if min(self.reasks, self.repeats, self.first_wait, self.patience) < 0:
            raise ValueError("repeats and waits are not negative")
        if (self.per_minute is not None and self.per_minute <= 0) or (self.budget is not None and self.budget <= 0):
            raise ValueError("a limit is more than nothing")


@dataclass(frozen=True, slots=True)
class Task:
    """One key to finish: a picture, and the style to write in."""

    key: Key
    path: Path
    style: Style


class _GaveUpError(Exception):
    """This image is given up; the code and reason go to the file."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _StoppedError(Exception):
    """The run stops; this image stays open."""


def open_tasks(
    ledger: Ledger,
    images: Sequence[tuple[str, Path]],
    model: str,
    styles: Callable[[str], Sequence[Style]],
    *,
    retry_failed: bool = False,
) -> list[Task]:
    """What is left to ask: neither finished nor given up for what the model said. Each key once.

    Args:
        images: (SHA-256, file).
        styles: the styles of an image, by its hash.
        retry_failed: also those whose answers were rejected, or that were refused or unreadable. Those that were given
            up because the endpoint could not be reached are always asked for again.
    """
    tasks: dict[Key, Task] = {}
    for image, path in images:
        for style in styles(image):
            key = Key(image, PROMPT_VERSION, model, style.name)
            given_up = ledger.counts.given_up.get(key)
            if key not in ledger.counts.done and (retry_failed or given_up in {None, "unreachable"}):
                tasks.setdefault(key, Task(key, path, style))
    return list(tasks.values())


class Describer:
    """Asks for all tasks. `stopped` says afterwards why the rest was not asked for; empty when nothing is left.

    Args:
        rng: spreads the waits before repeats.
        progress: called with (done, all, a few words) after each task.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: Ledger,
        limits: Limits,
        *,
        prices: Prices | None,
        local: bool,
        rng: random.Random,
        progress: Callable[[int, int, str], None] = lambda done, total, words: None,
    ) -> None:
        if limits.budget is not None and prices is None:
            raise DescriptionsError("a budget needs --price-in and --price-out, money for a million tokens")
        self._endpoint, self._ledger, self._limits = endpoint, ledger, limits
        self._prices, self._local, self._rng, self._progress = prices, local, rng, progress
        self._not_before = self._next_slot = 0.0
        self._under_way = self._unreached = self._refused = 0
        self._broken, self._halt, self._settled = "", asyncio.Event(), asyncio.Event()
        self.stopped = ""

    async def run(self, tasks: Sequence[Task]) -> None:
        """Work through the tasks.

        Raises:
            DescriptionsError: the endpoint takes no request or cannot be reached, or the file cannot be written.
                Everything that was answered is in the file.
        """
        wanted = tasks[: self._limits.images]
        beyond, queue, done = len(tasks) - len(wanted), iter(wanted), 0

        async def work(client: Client, queue: Iterator[Task]) -> None:
            nonlocal done
            for task in queue:
                try:
                    await self._describe(client, task)
                except _StoppedError:
                    return
                done += 1
                self._progress(done, len(wanted), self._words())

        async with Client(self._endpoint, concurrency=self._limits.concurrency, local=self._local) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self._limits.concurrency, len(wanted))):
                        group.create_task(work(client, queue))
            except* DescriptionsError as errors:
                raise errors.exceptions[0] from None
        if self._broken:
            raise DescriptionsError(self._broken)
        if beyond and not self.stopped:
            self.stopped = f"{beyond:,} images beyond the limit are left"

    def _words(self) -> str:
        totals = self._ledger.counts.totals
        words = f"{totals.failed} failed, {totals.tokens_in + totals.tokens_out:,} tokens"
        return f"{words}, cost {totals.cost:.4f}" if self._prices else words

    async def _describe(self, client: Client, task: Task) -> None:
        try:
            await self._converse(client, task)
        except _GaveUpError as given_up:
            self._ledger.failed(task.key, given_up.code, str(given_up))

    async def _converse(self, client: Client, task: Task) -> None:
        """Ask, check, ask again with the reason."""
        try:
            picture = await asyncio.to_thread(data_url, task.path, self._limits.most_side)
        except DatasetError as error:
            raise _GaveUpError("unreadable", error.message) from error
        messages, reason = first_messages(task.style, picture), ""
        for _ in range(self._limits.reasks + 1):
            number, reply = await self._ask(client, task.key, messages)
            cost = self._prices.cost(reply.usage) if self._prices and reply.usage else None
            try:
                texts = read_answer(reply.text, refusal=reply.refusal, cut=reply.cut)
            except RejectedError as rejected:
                reason = str(rejected)
                self._ledger.answered(number, task.key, reply.usage, cost, reason=reason, said=reply.text or "")
                messages = ask_again(messages, reply.text or "", reason)
            else:
                self._ledger.answered(number, task.key, reply.usage, cost, texts=texts)
                return
            finally:
                self._settle()
        raise _GaveUpError("rejected", f"{self._limits.reasks + 1} answers were rejected, the last because {reason}")

    async def _ask(self, client: Client, key: Key, messages: list[dict[str, Any]]) -> tuple[int, Reply]:
        """One answer, with repeats; the caller takes the request from `_under_way` when it has recorded the cost."""
        reason = ""
        for repeat in range(self._limits.repeats + 1):
            await self._turn()
            number = self._ledger.asked(key)
            self._under_way += 1
            try:
                reply = await client.ask(messages)
            except (BusyError, LostError, RefusedError, ClosedError) as error:
                self._settle()
                billed = isinstance(error, LostError) and error.may_be_billed
                reason = str(error)
                self._ledger.errored(number, key, reason, may_be_billed=billed)
                await self._after(error, repeat)
            except BaseException:
                self._settle()
                raise
            else:
                self._unreached = self._refused = 0
                if reply.usage is None and self._limits.budget is not None:
                    self._stop(broken="the endpoint does not count tokens, so that a budget cannot be kept")
                return number, reply
        self._unreached += 1
        if self._unreached >= max(3, self._limits.concurrency):
            self._stop(broken=f"the endpoint gave no answer for {self._unreached} images in a row: {reason}")
        raise _GaveUpError("unreachable", f"no answer after {self._limits.repeats + 1} requests: {reason}")

    async def _after(self, error: Exception, repeat: int) -> None:
        """What an error means for the run; returns when the request may be repeated."""
        if isinstance(error, ClosedError):
            self._stop(broken=str(error))
            raise _StoppedError
        if isinstance(error, RefusedError):
            self._refused += 1
            if self._refused >= 10:
                self._stop(broken=f"the endpoint refused {self._refused} requests in a row, the last with {error}")
            raise _GaveUpError("refused", str(error))
        if isinstance(error, BusyError) and error.wait is not None:
            if error.wait > self._limits.patience:
                self._stop(broken=f"the endpoint asks to wait for {error.wait:.0f} s ({error})")
                raise _StoppedError
            self._not_before = max(self._not_before, time.monotonic() + error.wait)  # meant for all of our requests
        if repeat < self._limits.repeats:
            await self._pause(min(_LONGEST_WAIT, self._limits.first_wait * 2**repeat) * self._rng.uniform(0.5, 1.0))

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the run."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._halt.wait()

    async def _turn(self) -> None:
        """Wait until a request may leave; raises when none may any more."""
        while not self._halt.is_set():
            if (wait := max(self._not_before, self._next_slot) - time.monotonic()) > 0:
                await self._pause(wait)
            elif self._limits.budget is None or self._expected() <= self._limits.budget:
                break
            elif self._under_way:  # their true cost may leave room
                self._settled.clear()
                await self._settled.wait()
            else:
                self._stop("the budget does not allow another request")
        if self._halt.is_set():
            raise _StoppedError
        if self._limits.per_minute:
            self._next_slot = time.monotonic() + 60.0 / self._limits.per_minute

    def _settle(self) -> None:
        """A request is no longer under way, and its cost is in the file."""
        self._under_way -= 1
        self._settled.set()

    def _expected(self) -> float:
        """Money spent when everything under way, one more, and what was lost but may be billed, cost as much as the
        dearest so far."""
        totals = self._ledger.counts.totals
        prices = self._prices or Prices(0.0, 0.0)
        guess = (_GUESSED_TOKENS_IN * prices.tokens_in + self._endpoint.most_tokens * prices.tokens_out) / 1e6
        uncertain = self._under_way + 1 + totals.may_be_billed + self._ledger.lost
        return totals.cost + (totals.dearest or guess) * uncertain

    def _stop(self, why: str = "", *, broken: str = "") -> None:
        """Let no further request leave; those under way are waited for."""
        self._broken = self._broken or broken
        self.stopped = self.stopped or why or broken
        self._halt.set()
