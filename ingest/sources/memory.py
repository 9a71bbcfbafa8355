"""A list that behaves like a log: for tests, and for whole cities simulated in seconds."""

import asyncio
from collections.abc import AsyncIterator

from core.clock import Clock
from ingest.sources import Capabilities, RawBatch
from ingest.sources.gathering import fitting


class MemorySource:
    """A log in memory; see :class:`ingest.sources.Source`. Positions count from 1.

    Args:
        name: The source's name.
        clock: When messages came.
        batch: The most messages of a batch.
        linger: How long the first message of a batch waits for company, in seconds.
        window: The most messages handed out and not yet committed.
    """

    capabilities = Capabilities(ordered=True, replayable=True, offsets=True)

    def __init__(
        self,
        *,
        name: str,
        clock: Clock,
        batch: int = 5_000,
        linger: float = 0.0,
        window: int = 20_000,
    ) -> None:
        self.name = name
        self._clock = clock
        self._batch = min(batch, window)
        self._linger = linger
        self._window = window
        self._log: list[tuple[bytes, bytes, str | None]] = []
        self._read = self._committed = 0
        self._news = asyncio.Condition()

    async def publish(self, topic: bytes, payload: bytes, content_type: str | None = None) -> None:
        """Add a message to the end of the log."""
        async with self._news:
            self._log.append((topic, payload, content_type))
            self._news.notify_all()

    async def drained(self) -> None:
        """Wait until all that was published is committed."""
        async with self._news:
            await self._news.wait_for(lambda: self._committed >= len(self._log))

    async def read(self, position: int) -> AsyncIterator[RawBatch]:
        """See :meth:`ingest.sources.Source.read`."""
        self._read = self._committed = position
        while True:
            async with self._news:
                await self._news.wait_for(self._has_more)
            await asyncio.sleep(self._linger)
            room = self._window - (self._read - self._committed)
            batch = self._cut(self._read, min(self._batch, room))
            self._read = batch.position
            yield batch

    async def committed(self, batch: RawBatch) -> None:
        """See :meth:`ingest.sources.Source.committed`."""
        async with self._news:
            self._committed = max(self._committed, batch.position)
            self._news.notify_all()

    def _has_more(self) -> bool:
        return self._read < len(self._log) and self._read - self._committed < self._window

    def _cut(self, start: int, count: int) -> RawBatch:
        taken = self._log[start : start + count]
        taken = taken[: fitting([payload for _, payload, _ in taken], count)]
        now = self._clock.micros()
        return RawBatch(
            topics=[topic for topic, _, _ in taken],
            payloads=[payload for _, payload, _ in taken],
            received_at=[now] * len(taken),
            epoch=0,
            after=start,
            position=start + len(taken),
            content_types={i: kind for i, (_, _, kind) in enumerate(taken) if kind is not None},
        )
