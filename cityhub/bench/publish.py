"""Publishes a file of messages at QoS 1, at full rate or at a set one, and says when each left.

``python -m cityhub.bench.publish PORT USER PASSWORD FILE VERSION RATE TIMES`` speaks MQTT 5 or
3.1.1 (VERSION 5 or 4); RATE is messages a second, 0 for as fast as they are acknowledged; TIMES is
a file for the time of each message, or ``-``. All packets are made before the clock starts, so what
it costs is next to nothing beside the broker.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cityhub.ports import LOOPBACK
from core.clock import SystemClock
from core.errors import StartError
from ingest import wire

_CHUNK: Final = 200  # messages in one write
_IN_FLIGHT: Final = 5_000
_TICK_S: Final = 0.01
_IDS: Final = 65_000
_PUBACK_BYTES: Final = 4
_LEAST_LONG: Final = 128


def encode(lines: Sequence[bytes], *, v5: bool) -> list[bytes]:
    """Return the PUBLISH packets of lines of topic, tab, payload."""
    properties = b"\x00" if v5 else b""
    packets = []
    for number, line in enumerate(lines):
        topic, _, payload = line.partition(b"\t")
        packet_id = (number % _IDS + 1).to_bytes(2, "big")
        body = len(topic).to_bytes(2, "big") + topic + packet_id + properties + payload
        packets.append(b"\x32" + _length(len(body)) + body)
    return packets


def _length(length: int) -> bytes:
    """Return the length of a packet of up to 16 kB."""
    high, low = divmod(length, _LEAST_LONG)
    return bytes([low | _LEAST_LONG, high]) if high else bytes([low])


async def publish(
    port: int, user: str, password: str, packets: Sequence[bytes], *, v5: bool, rate: float
) -> list[int]:
    """Publish, and wait for all acknowledgements.

    Returns:
        When each message left, microseconds UTC.

    Raises:
        StartError: The broker refuses or hangs up.
    """
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(wire.connect(user, v5=v5, keep_alive=600, username=user, password=password))
    head = await reader.readexactly(2)
    if head[0] != wire.CONNACK or wire.read_connack(await reader.readexactly(head[1]), v5=v5).code:
        raise StartError("the broker refuses the bench's publisher")
    clock, acked, left_at = SystemClock(), 0, list[int]()
    chunk = max(1, round(rate * _TICK_S)) if rate else _CHUNK
    start = time.perf_counter()
    for first in range(0, len(packets), chunk):
        if rate:
            await asyncio.sleep(max(0.0, start + first / rate - time.perf_counter()))
        while first + chunk - acked > _IN_FLIGHT:
            acked += await _acks(reader)
        some = packets[first : first + chunk]
        left_at += itertools.repeat(clock.micros(), len(some))
        writer.write(b"".join(some))
        await writer.drain()
    while acked < len(packets):
        acked += await _acks(reader)
    writer.close()
    await writer.wait_closed()
    return left_at


async def _acks(reader: asyncio.StreamReader) -> int:
    """Return how many PUBACKs came; each has four bytes."""
    data = await reader.read(1 << 16)
    if not data:
        raise StartError("the broker hung up on the bench's publisher")
    if len(data) % _PUBACK_BYTES:
        data += await reader.readexactly(_PUBACK_BYTES - len(data) % _PUBACK_BYTES)
    return len(data) // _PUBACK_BYTES


def _main(words: Sequence[str]) -> dict[str, Any]:
    port, user, password, file, version, rate, times = words
    v5 = version == "5"
    packets = encode(Path(file).read_bytes().split(b"\n")[:-1], v5=v5)
    cpu, wall = time.process_time(), time.perf_counter()
    left_at = asyncio.run(publish(int(port), user, password, packets, v5=v5, rate=float(rate)))
    figures = {
        "messages": len(packets),
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
    }
    if times != "-":
        Path(times).write_text(json.dumps(left_at), "ascii")
    return figures


if __name__ == "__main__":
    print(json.dumps(_main(sys.argv[1:])))
