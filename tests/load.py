"""A raw MQTT 3.1.1 loader that keeps a log of what was acknowledged; shares no line with ingest.

It stands for the devices: what was not acknowledged when a connection broke it sends again, in
order, as a device with a queue of its own does.
"""

import asyncio
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO

_CONNACK: Final = b"\x20\x02\x00\x00"
_PUBACK: Final = b"\x40\x02"
_IDS: Final = 60_000  # packet ids in turn, never 0
_BURST: Final = 50


async def is_cut_off(port: int, user: str, password: str, topic: str, payload: bytes) -> bool:
    """Publish one message; return whether the broker closes the connection instead of taking it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(connect_packet(user, password))
        assert await reader.readexactly(4) == _CONNACK
        writer.write(publish_packet(1, topic, payload))
        return await reader.read(4) != _PUBACK + b"\x00\x01"
    except ConnectionError:
        return True
    finally:
        writer.close()


class Loader:
    """Publishes messages at QoS 1, in order, with a window of its own.

    Args:
        port: The broker's door on loopback.
        user: Login, also the client id.
        password: Its password.
        log: File that gets the number of each acknowledged message, a line each.
        window: The most messages without an acknowledgement.
    """

    def __init__(
        self, port: int, user: str, password: str, *, log: Path, window: int = 500
    ) -> None:
        self._port = port
        self._user = user
        self._password = password
        self._log = log
        self._window = window
        self._done = 0
        self._heard = asyncio.Condition()

    async def reached(self, number: int) -> None:
        """Wait until so many messages are acknowledged."""
        async with self._heard:
            await self._heard.wait_for(lambda: self._done >= number)

    async def send(self, messages: Sequence[tuple[str, bytes]], *, rate: float) -> None:
        """Publish all, at most ``rate`` a second; return when each is acknowledged."""
        with self._log.open("a", encoding="ascii") as log:
            while self._done < len(messages):
                try:
                    await self._session(messages, log, rate)
                except (OSError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.1)  # the broker is away: again from the first in doubt

    def acknowledged(self) -> set[int]:
        """Return the numbers of the messages that the broker has taken, from the log."""
        return {int(line) for line in self._log.read_text("ascii").split()}

    async def _session(
        self, messages: Sequence[tuple[str, bytes]], log: TextIO, rate: float
    ) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(connect_packet(self._user, self._password))
            assert await reader.readexactly(4) == _CONNACK
            async with asyncio.TaskGroup() as group:
                group.create_task(self._publish(messages, writer, rate))
                group.create_task(self._hear(len(messages), reader, log))
        except* (OSError, asyncio.IncompleteReadError) as errors:
            raise ConnectionError from errors
        finally:
            writer.close()

    async def _publish(
        self, messages: Sequence[tuple[str, bytes]], writer: asyncio.StreamWriter, rate: float
    ) -> None:
        loop = asyncio.get_running_loop()
        first, start = self._done, loop.time()
        number = first
        while number < len(messages):
            burst = min(_BURST, self._done + self._window - number, len(messages) - number)
            for n in range(number, number + burst):
                writer.write(publish_packet(n % _IDS + 1, *messages[n]))
            number += burst
            await writer.drain()
            due = start + (number - first) / rate
            await asyncio.sleep(max(0.001, due - loop.time()))

    async def _hear(self, count: int, reader: asyncio.StreamReader, log: TextIO) -> None:
        """Take acknowledgements, which come in order, and note them down."""
        while self._done < count:
            packet = await reader.readexactly(4)
            expected = _PUBACK + struct.pack(">H", self._done % _IDS + 1)
            assert packet == expected, f"{packet!r} instead of {expected!r}"
            log.write(f"{self._done}\n")
            self._done += 1
            if not self._done % _BURST:
                async with self._heard:
                    self._heard.notify_all()


def connect_packet(user: str, password: str) -> bytes:
    """Return CONNECT with a clean session."""
    return _packet(
        0x10, b"\x00\x04MQTT\x04\xc2\x00\x3c" + _text(user) + _text(user) + _text(password)
    )


def publish_packet(packet_id: int, topic: str, payload: bytes) -> bytes:
    """Return PUBLISH at QoS 1."""
    return _packet(0x32, _text(topic) + struct.pack(">H", packet_id) + payload)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _packet(kind: int, body: bytes) -> bytes:
    length, left = b"", len(body)
    while True:
        left, digit = divmod(left, 128)[0], left % 128
        length += bytes([digit | (0x80 if left else 0)])
        if not left:
            return bytes([kind]) + length + body
