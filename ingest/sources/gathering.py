"""When a batch closes: at its full size, or a short while after its first message.

Without the wait a quiet city would commit every message alone, at many times the cost. It always
runs, however full the broker's window is: a batch that waits for more than the window would wait
for ever.
"""

import asyncio
from collections.abc import Callable


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

    async def take(self) -> int:
        """Wait until a batch is due, and return how many messages to take for it.

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
        count = min(self._waiting, self._batch)
        self._waiting -= count
        self._first_at = self._now()
        return count
