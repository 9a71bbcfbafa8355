"""A recording (:mod:`core.recording`) as a source: real traffic through the hub once more.

The position is the number of the message, from 1, so a replay resumes as a log does. A message
keeps the time at which the recorder took it off the wire: then the time rules, and hence the rows,
come out as they did the first time. Paced, it is handed over when the hub's clock has come to that
time: with a clock that stands until it is moved both go in lock-step, with one that runs a thousand
times as fast a day takes a minute and a half.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from core.clock import Clock
from core.recording import Recorded, Recording
from ingest.session import Identify
from ingest.sources import Capabilities, RawBatch
from ingest.sources.gathering import fitting


class ReplaySource:
    """A recording; see :class:`ingest.sources.Source`.

    Args:
        path: The file; it may still grow.
        name: The source's name.
        clock: The hub's time.
        identify: Compares the recording with the one the offset belongs to; None: nobody does.
        paced: Hand a message over no earlier than the clock shows its time.
        batch: The most messages of a batch.
        linger: How long the first message of a batch waits for company, in seconds.
        window: The most messages handed out and not yet committed.
        poll_s: How often a file that has ended is looked at again, and a clock that is not there
            yet, in seconds.

    Raises:
        ConfigError: The file is no recording.
    """

    capabilities = Capabilities(ordered=True, replayable=True, offsets=True)

    def __init__(
        self,
        *,
        path: Path,
        name: str,
        clock: Clock,
        identify: Identify | None = None,
        paced: bool = False,
        batch: int = 5_000,
        linger: float = 0.0,
        window: int = 20_000,
        poll_s: float = 0.02,
    ) -> None:
        self.name = name
        self._recording = Recording(path)
        self._clock = clock
        self._identify = identify
        self._paced = paced
        self._batch = min(batch, window)
        self._linger = linger
        self._window = window
        self._poll_s = poll_s
        self._read = self._committed = 0
        self._room = asyncio.Event()

    @property
    def position(self) -> int:
        """How many messages are committed."""
        return self._committed

    async def read(self, position: int) -> AsyncIterator[RawBatch]:
        """See :meth:`ingest.sources.Source.read`.

        Raises:
            ConfigError: The recording is damaged.
        """
        self._read = self._committed = position
        waiting: list[Recorded] = []
        await self._check_identity()
        while True:
            if not waiting:
                waiting = await self._more()
            await self._due(waiting[0])
            await asyncio.sleep(self._linger)
            room = await self._wait_for_room()
            count = self._cut(waiting, min(self._batch, room))
            taken, waiting = waiting[:count], waiting[count:]
            batch = self._pack(taken)
            self._read = batch.position
            yield batch

    async def committed(self, batch: RawBatch) -> None:
        """See :meth:`ingest.sources.Source.committed`."""
        self._committed = max(self._committed, batch.position)
        self._room.set()

    async def _check_identity(self) -> None:
        """Make sure that the position is one of this recording: it is known by its first block.

        Raises:
            ConfigError: It belongs to another one.
            LeaseLostError: The recording has lost its end.
        """
        if self._identify is None:
            return
        await self._reach(1)
        first = self._recording.blocks[0]
        await self._identify(f"recording {first.first}-{first.crc:08x}", len(self._recording))

    async def _more(self) -> list[Recorded]:
        """Return the messages of the next block, as soon as there are some."""
        await self._reach(self._read + 1)
        return self._recording.some(self._read)

    async def _reach(self, count: int) -> None:
        while True:
            if self._recording.refresh() >= count:
                return
            await asyncio.sleep(self._poll_s)

    async def _due(self, message: Recorded) -> None:
        while True:
            if not self._paced or self._clock.micros() >= message.at:
                return
            await asyncio.sleep(self._poll_s)

    async def _wait_for_room(self) -> int:
        while (room := self._window - (self._read - self._committed)) <= 0:
            self._room.clear()
            await self._room.wait()
        return room

    def _cut(self, waiting: list[Recorded], most: int) -> int:
        """Return how many messages go into the batch: the first one, and what is due beside it."""
        most = fitting([message.payload for message in waiting[:most]], most)
        if not self._paced:
            return most
        now = self._clock.micros()
        return next((i for i in range(1, most) if waiting[i].at > now), most)

    def _pack(self, taken: list[Recorded]) -> RawBatch:
        return RawBatch(
            topics=[message.topic for message in taken],
            payloads=[message.payload for message in taken],
            received_at=[message.at for message in taken],
            epoch=0,
            after=self._read,
            position=self._read + len(taken),
            content_types={
                i: message.content_type for i, message in enumerate(taken) if message.content_type
            },
        )
