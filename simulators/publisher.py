"""A raw MQTT 3.1.1 publisher that knows which message was acknowledged; shares no line with ingest.

It stands for devices with a queue of their own: what was not acknowledged when a connection broke
goes again, in order, before anything new. So the hub sees at worst a duplicate.
"""

import asyncio
import itertools
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from simulators.courier import Login

T = TypeVar("T")

ACCEPTED: Final = b"\x20\x02\x00\x00"
"""CONNACK of a broker that lets us in."""
_PUBACK: Final = b"\x40\x02"
_IDS: Final = 60_000  # packet ids in turn, never 0
_BURST: Final = 50
_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Publication(Generic[T]):
    """What a device says.

    Attributes:
        topic: Where.
        payload: What.
        tag: What the sender knows it by.
    """

    topic: str
    payload: bytes
    tag: T


class Publisher(Generic[T]):
    """Publishes at QoS 1, in order, with a window of its own, over as many connections as it takes.

    Args:
        login: Where the broker is.
        sending: Hears of messages just before they go out for the first time.
        acknowledged: Hears of messages that the broker has taken.
        client_id: Our name there; None: the login's.
        window: The most messages without an acknowledgement.
    """

    def __init__(
        self,
        login: Login,
        *,
        sending: Callable[[list[T]], None] = lambda _: None,
        acknowledged: Callable[[list[T]], None] = lambda _: None,
        client_id: str | None = None,
        window: int = 500,
    ) -> None:
        self.sessions = 0
        self.resent = 0
        self._login = login
        self._client_id = client_id or login.username or "load"
        self._sending = sending
        self._acknowledged = acknowledged
        self._window = window
        self._flying: deque[tuple[int, Publication[T]]] = deque()

    async def send(self, messages: Iterable[Publication[T]], *, rate: float) -> None:
        """Publish all, at most ``rate`` a second; return when each is acknowledged."""
        rest, ids = iter(messages), itertools.cycle(range(1, _IDS + 1))
        while True:
            try:
                await self._session(rest, ids, rate)
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(_PAUSE_S)  # the broker is away: again from the first in doubt
            else:
                return

    async def _session(
        self, rest: Iterator[Publication[T]], ids: Iterator[int], rate: float
    ) -> None:
        login = self._login
        reader, writer = await asyncio.open_connection(login.host, login.port)
        try:
            writer.write(connect_packet(self._client_id, login.username, login.password))
            if (answer := await reader.readexactly(4)) != ACCEPTED:
                raise ConnectionRefusedError(f"the broker answers CONNECT with {answer!r}")
            self.sessions += 1
            over = asyncio.Event()
            hearing = asyncio.create_task(self._hear(reader, over))
            try:
                await self._publish(rest, ids, writer, rate, hearing)
                over.set()
                if self._flying:
                    await hearing
            finally:
                hearing.cancel()
                await asyncio.wait([hearing])
        finally:
            writer.close()

    async def _publish(
        self,
        rest: Iterator[Publication[T]],
        ids: Iterator[int],
        writer: asyncio.StreamWriter,
        rate: float,
        hearing: "asyncio.Task[None]",
    ) -> None:
        """Write what is in doubt and then the rest, until all is written or nobody listens."""
        for packet_id, message in self._flying:
            writer.write(publish_packet(packet_id, message.topic, message.payload))
        self.resent += len(self._flying)
        loop = asyncio.get_running_loop()
        start, count = loop.time(), 0
        while True:
            if hearing.done():
                hearing.result()
            room = min(_BURST, self._window - len(self._flying))
            some = list(itertools.islice(rest, room))
            if room > 0 and not some:
                return
            flying = [(next(ids), message) for message in some]
            self._flying += flying
            self._sending([message.tag for message in some])
            for packet_id, message in flying:
                writer.write(publish_packet(packet_id, message.topic, message.payload))
            await writer.drain()
            count += len(some)
            await asyncio.sleep(max(0.001, start + count / rate - loop.time()))

    async def _hear(self, reader: asyncio.StreamReader, over: asyncio.Event) -> None:
        """Take acknowledgements, which come in order."""
        data = b""
        while self._flying or not over.is_set():
            chunk = await reader.read(1 << 16)
            if not chunk:
                raise ConnectionError("the broker hung up")
            data += chunk
            some = []
            while len(data) >= 4:  # noqa: PLR2004 - a PUBACK
                packet_id, message = self._flying[0]
                if data[:4] != _PUBACK + struct.pack(">H", packet_id):
                    raise ConnectionError(f"{data[:4]!r} instead of the PUBACK of {packet_id}")
                self._flying.popleft()
                some.append(message.tag)
                data = data[4:]
            self._acknowledged(some)


def connect_packet(client_id: str, user: str | None, password: str | None) -> bytes:
    """Return CONNECT with a clean session."""
    login = b"" if user is None else _text(user) + _text(password or "")
    flags = b"\x02" if user is None else b"\xc2"
    return _packet(0x10, b"\x00\x04MQTT\x04" + flags + b"\x00\x3c" + _text(client_id) + login)


def publish_packet(packet_id: int, topic: str, payload: bytes) -> bytes:
    """Return PUBLISH at QoS 1."""
    return _packet(0x32, _text(topic) + struct.pack(">H", packet_id) + payload)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _packet(kind: int, body: bytes) -> bytes:
    length, left = b"", len(body)
    while True:
        left, digit = left >> 7, left & 0x7F
        length += bytes([digit | (0x80 if left else 0)])
        if not left:
            return bytes([kind]) + length + body
