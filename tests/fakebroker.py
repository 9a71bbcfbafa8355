"""A broker that does what a real one does only on a bad day: it plays a script, byte by byte."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Peer:
    """One connection of the client under test."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: list[tuple[int, bytes]] = field(default_factory=list)

    async def packet(self) -> tuple[int, bytes]:
        """Return the next packet: its first byte and its body."""
        head = (await self.reader.readexactly(1))[0]
        length, shift = 0, 0
        while True:
            byte = (await self.reader.readexactly(1))[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        packet = head, await self.reader.readexactly(length)
        self.seen.append(packet)
        return packet

    async def send(self, data: bytes, *, chunk: int = 0) -> None:
        """Send some bytes, in chunks if told so."""
        for at in range(0, len(data), chunk or max(1, len(data))):
            self.writer.write(data[at : at + (chunk or len(data))])
            await self.writer.drain()
            if chunk:
                await asyncio.sleep(0)


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def play(*scripts: Script) -> AsyncIterator[int]:
    """Lend a port; each connection meets the next script, the last one again and again."""
    remaining = list(scripts)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        try:
            await script(Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def publication(topic: str, payload: bytes, packet_id: int, *, v5: bool = True) -> bytes:
    """Return a short PUBLISH of QoS 1."""
    body = len(topic).to_bytes(2, "big") + topic.encode() + packet_id.to_bytes(2, "big")
    body += (b"\x00" if v5 else b"") + payload
    assert len(body) < 128
    return bytes([0x32, len(body)]) + body
