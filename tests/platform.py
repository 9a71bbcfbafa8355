"""A city-management platform that misbehaves as told: a real HTTP server on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Answer = bytes | float | None
"""Raw bytes of an answer; a number: seconds of silence after taking it; None: hangs up."""


@dataclass
class Received:
    """One POST as it came."""

    headers: dict[str, str]
    body: bytes
    target: str = ""
    """Method and path."""

    @property
    def key(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return json.loads(self.body)


@dataclass
class Platform:
    """Answers by a rule; keeps what it received, and what it took, by key."""

    answer: Callable[[Received], Answer]
    port: int = 0
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/orders"

    @property
    def keys(self) -> list[str]:
        return [one.key for one in self.received]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (one := await _read(reader)) is not None:
                self.received.append(one)
                answer = self.answer(one)
                if isinstance(answer, float):
                    await asyncio.sleep(answer)
                    return
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


def http(status: str, body: str = "", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


OK = http("200 OK", '{"external_id": "P-7"}')


@asynccontextmanager
async def open_platform(answer: Callable[[Received], Answer]) -> AsyncIterator[Platform]:
    platform = Platform(answer)
    server = await asyncio.start_server(platform.serve, "127.0.0.1", 0)
    platform.port = server.sockets[0].getsockname()[1]
    try:
        yield platform
    finally:
        server.close()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(headers, body, first.rpartition(" ")[0])
