"""A TCP proxy that breaks connections on purpose (故障代理): what a bad network does, on loopback.

Each direction has its own :class:`Faults`, switched while connections run. Nothing is ever dropped
out of the middle of a stream, since TCP never does that: a black hole holds bytes back until it is
healed or the connection is reset.
"""

import asyncio
import math
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

_CHUNK: Final = 1 << 16
_HELD: Final = 64
"""The most chunks that wait in one direction of a connection; then its sender has to wait."""
_LINGER_0: Final = struct.pack("ii", 1, 0)  # close() sends RST instead of FIN


class Way(StrEnum):
    """A direction."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Faults:
    """What one direction suffers.

    Attributes:
        latency_s: Delay of each chunk, in seconds.
        jitter_s: At most so much more, by chance; the order stays.
        bandwidth: Bytes a second.
        reset_at: A connection is reset when it has carried so many bytes this way; at most these
            arrive. None: never.
        stalled: Black hole: nothing passes, no end of a stream either, and nobody is told.
        piece: The most bytes that arrive at once. None: as they came.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bandwidth: float = math.inf
    reset_at: int | None = None
    stalled: bool = False
    piece: int | None = None


@dataclass(eq=False)
class _Pair:
    """One connection and its continuation."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    far_gone: bool = False

    def reset(self) -> None:
        for writer in (self.near, self.far):
            _reset(writer)


class FaultProxy:
    """Forwards connections to one address, as well or badly as told.

    Args:
        host: Where to.
        port: Where to.
        seed: Of the jitter.
        watch: Sees each chunk before it is passed on, to switch faults at a certain word.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        seed: int = 0,
        watch: Callable[[Way, bytes], None] | None = None,
    ) -> None:
        self.connections = 0  # so far
        self.carried = {Way.UP: 0, Way.DOWN: 0}  # bytes passed on
        self._target = host, port
        self._chance = random.Random(seed)
        self._watch = watch
        self._faults = {Way.UP: Faults(), Way.DOWN: Faults()}
        self._changed = asyncio.Event()
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Reset what is left, and listen no more."""
        if self._server is not None:
            self._server.close()
        pairs = list(self._pairs)
        self.reset()
        await asyncio.gather(*(task for pair in pairs for task in pair.tasks))

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None  # noqa: S101 - as a context manager only
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def suffer(self, up: Faults | None = None, down: Faults | None = None) -> None:
        """Set the faults of both directions from now on; None: none. ``suffer()`` heals all."""
        self._faults = {Way.UP: up or Faults(), Way.DOWN: down or Faults()}
        self._changed.set()
        self._changed = asyncio.Event()

    def reset(self) -> int:
        """Reset all connections that there are; return how many."""
        pairs = list(self._pairs)
        for pair in pairs:
            pair.reset()
        self._changed.set()
        self._changed = asyncio.Event()
        return len(pairs)

    def half_open(self) -> int:
        """End the far half of all connections; the near one stays open, and hears nothing of it."""
        for pair in self._pairs:
            pair.far_gone = True
            _reset(pair.far)
        return len(self._pairs)

    def inject(self, way: Way, data: bytes) -> None:
        """Slip bytes that nobody sent into all connections."""
        for pair in self._pairs:
            (pair.far if way is Way.UP else pair.near).write(data)

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            far_reader, far = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(near)
            return
        pair = _Pair(near, far)
        self._pairs.add(pair)
        pair.tasks = [
            asyncio.create_task(self._carry(Way.UP, pair, reader, far)),
            asyncio.create_task(self._carry(Way.DOWN, pair, far_reader, near)),
        ]
        try:
            await asyncio.wait(pair.tasks)
        finally:
            self._pairs.discard(pair)
            for writer in (near, far):
                writer.close()

    async def _carry(
        self, way: Way, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry one direction of a connection to its end."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_HELD)
        taking = asyncio.create_task(self._take(way, reader, queue))
        try:
            with suppress(ConnectionError):
                await self._give(way, pair, queue, writer)
        finally:
            taking.cancel()

    async def _take(
        self, way: Way, reader: asyncio.StreamReader, queue: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        """Read, and say when each chunk is due; an empty one ends the stream."""
        loop, last, data = asyncio.get_running_loop(), 0.0, b"-"
        while data:
            try:
                data = await reader.read(_CHUNK)
            except ConnectionError:
                data = b""
            faults = self._faults[way]
            delay = faults.latency_s + faults.jitter_s * self._chance.random()
            last = max(last, loop.time() + delay) + len(data) / faults.bandwidth
            if data and self._watch is not None:
                self._watch(way, data)
            await queue.put((last, data))

    async def _give(
        self,
        way: Way,
        pair: _Pair,
        queue: "asyncio.Queue[tuple[float, bytes]]",
        writer: asyncio.StreamWriter,
    ) -> None:
        """Write what is due.

        Raises:
            ConnectionError: The receiver is gone.
        """
        loop, sent = asyncio.get_running_loop(), 0
        while True:
            due, data = await queue.get()
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            while self._faults[way].stalled and not writer.is_closing():
                await self._changed.wait()
            if way is Way.DOWN and pair.far_gone:
                await self._silence(pair)
                return
            limit = self._faults[way].reset_at
            if limit is not None and sent + len(data) >= limit:
                writer.write(data[: max(0, limit - sent)])
                with suppress(ConnectionError):
                    await writer.drain()
                pair.reset()
                return
            if not data:
                if writer.can_write_eof() and not writer.is_closing():
                    writer.write_eof()
                return
            piece = self._faults[way].piece or len(data)
            for start in range(0, len(data), piece):
                writer.write(data[start : start + piece])
                await writer.drain()
                if piece < len(data):
                    await asyncio.sleep(0.001)  # or the two ends would put them together again
            sent += len(data)
            self.carried[way] += len(data)

    async def _silence(self, pair: _Pair) -> None:
        """Hold the near half open until it is closed or reset."""
        while not pair.near.is_closing() and not pair.tasks[0].done():
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._changed.wait()), 0.05)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing():
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    writer.transport.abort()
