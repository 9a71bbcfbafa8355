"""A mosquitto with a queued session for a contestant: fresh for each, and the same for all."""

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cityhub.child import Child, Program
from cityhub.ports import LOOPBACK, free_port, is_free
from core.errors import StartError
from ingest import wire

ROOT: Final = Path(__file__).parents[2]
USER: Final = "hub"
_LOADER: Final = "loader"
_CHUNK: Final = 200  # messages in one write of the loader
_IN_FLIGHT: Final = 5_000
_EXPIRY_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Queue:
    """A broker that holds messages for the session of the user ``hub``.

    Attributes:
        port: Where it listens on loopback.
        password: Of all its users.
        pid: Of the broker.
    """

    port: int
    password: str
    pid: int

    @property
    def url(self) -> str:
        """Where the hub finds it."""
        return f"mqtt://{USER}:{self.password}@{LOOPBACK}:{self.port}"


def find_mosquitto() -> str:
    """Return the program.

    Raises:
        StartError: There is none.
    """
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None or shutil.which("mosquitto_passwd") is None:
        raise StartError("the bench needs mosquitto: apt-get install mosquitto mosquitto-clients")
    return found


@asynccontextmanager
async def queued(folder: Path, messages: Sequence[tuple[str, bytes]]) -> AsyncIterator[Queue]:
    """Lend a fresh broker whose session ``hub`` was away while all of this was published.

    Args:
        folder: An empty folder.
        messages: Topics and payloads, published at QoS 1 and acknowledged by the broker.
    """
    password, port = secrets.token_urlsafe(12), free_port()
    child = Child(
        Program(
            name="mosquitto",
            argv=[find_mosquitto(), "-c", str(_configure(folder, port, password))],
            log=folder / "mosquitto.log",
        )
    )
    try:
        async with asyncio.timeout(20):
            while is_free(port):
                if child.ended() is not None:
                    raise StartError(f"mosquitto did not start: {child.last_words()}")
                await asyncio.sleep(0.02)
        queue = Queue(port, password, child.pid)
        await _make_session(queue)
        await _load(queue, messages)
        yield queue
    finally:
        child.stop()
        shutil.rmtree(folder)


def _configure(folder: Path, port: int, password: str) -> Path:
    """Write the configuration that we ship, with the folder and port of this run.

    One line differs: the queue is saved once a minute instead of every 1,000 changes, since writing
    all of a deep queue again and again would make the broker's disk the only thing measured.
    """
    shipped = ROOT / "deploy" / "mosquitto"
    if not shipped.is_dir():
        raise StartError(f"the bench runs from a clone of the project: there is no {shipped}")
    folder.mkdir()
    passwords, acl = folder / "passwd", folder / "acl"
    passwords.write_text(f"{USER}:{password}\n{_LOADER}:{password}\n", "utf-8")
    acl.write_text(
        (shipped / "acl").read_text("utf-8") + f"\nuser {_LOADER}\ntopic write hub/#\n", "utf-8"
    )
    for path in (passwords, acl):
        path.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    text = (shipped / "mosquitto.conf").read_text("utf-8")
    text = text.replace("@FOLDER@", str(folder)).replace("listener 1883", f"listener {port}")
    text = text.replace("autosave_on_changes true", "autosave_on_changes false")
    text = text.replace("autosave_interval 1000", "autosave_interval 60")
    if os.geteuid() == 0:
        text = f"user root\n{text}"
    config = folder / "mosquitto.conf"
    config.write_text(text, "utf-8")
    return config


async def _make_session(queue: Queue) -> None:
    _, writer = await _log_in(queue, USER, subscribe=True)
    writer.write(wire.disconnect(v5=True))
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def _load(queue: Queue, messages: Sequence[tuple[str, bytes]]) -> None:
    """Publish at QoS 1, with a window, and wait for all acknowledgements."""
    reader, writer = await _log_in(queue, _LOADER)
    acked = 0
    for start in range(0, len(messages), _CHUNK):
        while start + _CHUNK - acked > _IN_FLIGHT:
            acked += await _acks(reader)
        some = messages[start : start + _CHUNK]
        writer.write(b"".join(_publish(start + i, *one) for i, one in enumerate(some)))
        await writer.drain()
    while acked < len(messages):
        acked += await _acks(reader)
    writer.close()
    await writer.wait_closed()


async def _acks(reader: asyncio.StreamReader) -> int:
    """Return how many PUBACKs came; mosquitto's have four bytes each."""
    data = await reader.read(1 << 16)
    if not data:
        raise StartError("mosquitto hung up on the loader")
    if len(data) % 4:
        data += await reader.readexactly(4 - len(data) % 4)
    return len(data) // 4


def _publish(number: int, topic: str, payload: bytes) -> bytes:
    packet_id = (number % 65_000 + 1).to_bytes(2, "big")
    body = len(topic).to_bytes(2, "big") + topic.encode() + packet_id + b"\x00" + payload
    return b"\x32" + _length(len(body)) + body


def _length(length: int) -> bytes:
    """Return the length of a packet of up to 16 kB."""
    low, high = length & 0x7F, length >> 7
    return bytes([low | 0x80, high]) if high else bytes([low])


async def _log_in(
    queue: Queue, user: str, *, subscribe: bool = False
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(LOOPBACK, queue.port)
    expiry = _EXPIRY_S if subscribe else 0
    writer.write(
        wire.connect(
            user,
            v5=True,
            keep_alive=600,
            username=user,
            password=queue.password,
            session_expiry=expiry,
        )
    )
    if subscribe:
        writer.write(wire.subscribe(1, "hub/#", v5=True))
    for _ in range(1 + subscribe):
        head = await reader.readexactly(2)
        body = await reader.readexactly(head[1])
        if head[0] == wire.CONNACK and wire.read_connack(body, v5=True).code:
            raise StartError("mosquitto refuses the bench's login")
    return reader, writer
