"""When a batch closes: at its full size, or a short while after its first message.

Its size is bounded in messages and in bytes. Five thousand messages of gateways may hold millions
of records, a transaction of minutes that holds the fence and fills the memory; two mebibytes hold
some fifty thousand.

Without the wait a quiet city would commit every message alone, at many times the cost. It always
runs, however full the broker's window is: a batch that waits for more than the window would wait
for ever.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final, Protocol

BATCH_BYTES: Final = 2 << 20
"""The most payload of a batch, unless one message alone is larger; 5,000 of 400 bytes."""
WINDOW_BYTES: Final = 16 * BATCH_BYTES
"""Payload taken and not yet committed from which on nothing more is asked for."""


class Waiting(Protocol):
    """Where the messages lie."""

    payloads: list[bytes]


def size_of(payloads: Sequence[bytes]) -> int:
    """Return the bytes of some payloads."""
    return sum(map(len, payloads))


def fitting(payloads: Sequence[bytes], most: int) -> int:
    """Return how many of the first payloads make a batch; never none while there are some.

    >>> fitting([b"x" * BATCH_BYTES, b"y"], 2), fitting([b"x", b"y", b"z"], 2)
    (1, 2)
    """
    first = payloads[:most]
    if size_of(first) <= BATCH_BYTES:
        return len(first)
    return max(1, bisect_right(list(accumulate(map(len, first))), BATCH_BYTES))


class Gathering:
    """Counts messages that came and were not yet taken; the messages themselves lie elsewhere.

    Args:
        batch: The most messages of a batch.
        linger: How long the first message waits for company, in seconds.
    """

    def __init__(self, batch: int, linger: float) -> None:
        self._batch = batch
        self._linger = linger
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._waiting = 0
        self._first_at = 0.0
        self._news = asyncio.Event()
        self._failure: Exception | None = None
        self._fatal = False

    def add(self, count: int) -> None:
        """Note that messages came."""
        before, self._waiting = self._waiting, self._waiting + count
        if not before:
            self._first_at = self._now()
        if not before or self._waiting >= self._batch:
            self._news.set()

    def fail(self, error: Exception, *, fatal: bool = False) -> None:
        """Note that no more will come; the first reason counts.

        Args:
            error: What :meth:`take` raises once all that came is taken.
            fatal: Raise it at once: what came is no longer ours.
        """
        if self._failure is None:
            self._failure = error
            self._fatal = fatal
        self._news.set()

    async def take(self, waiting: Waiting) -> int:
        """Wait until a batch is due, and return how many messages to take for it.

        Args:
            waiting: The messages that were counted, the oldest first.

        Raises:
            Exception: What :meth:`fail` was given.
        """
        while self._waiting < self._batch and self._failure is None:
            self._news.clear()
            if not self._waiting:
                await self._news.wait()
                continue
            try:
                async with asyncio.timeout(self._first_at + self._linger - self._now()):
                    await self._news.wait()
            except TimeoutError:
                break
        if self._failure is not None and (self._fatal or not self._waiting):
            raise self._failure
        most = min(self._waiting, self._batch)
        count = fitting(waiting.payloads, most)
        self._waiting -= count
        if count == most:  # what a batch has no bytes for waited long enough
            self._first_at = self._now()
        return count
