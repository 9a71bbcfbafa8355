"""A mosquitto with a session for a contestant: fresh for each, and the same for all."""

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cityhub.broker import SIMULATOR, EmbeddedBroker
from cityhub.child import Child, Program
from cityhub.folder import DataFolder
from cityhub.ports import LOOPBACK, free_port, is_free
from core.errors import StartError
from core.settings import Embedded
from ingest import wire

ROOT: Final = Path(__file__).parents[2]
USER: Final = "hub"
_LOADER: Final = "loader"
_EXPIRY_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Door:
    """A broker, where messages go in and where the contestant takes them out.

    Attributes:
        url: Where the hub takes them.
        out_port: Its port on loopback.
        port: Where they are published, on loopback.
        user: Who publishes.
        password: Of all users.
        v5: Publishers speak MQTT 5, otherwise 3.1.1.
        pid: Of the broker.
    """

    url: str
    out_port: int
    port: int
    user: str
    password: str
    v5: bool
    pid: int


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
async def fresh_mosquitto(folder: Path) -> AsyncIterator[Door]:
    """Lend a broker that keeps what is published for the session ``hub``, which is away.

    Args:
        folder: A folder that is not there yet.
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
        await _make_session(port, password)
        url = f"mqtt://{USER}:{password}@{LOOPBACK}:{port}"
        yield Door(url, port, port, _LOADER, password, True, child.pid)
    finally:
        child.stop()
        shutil.rmtree(folder)


@asynccontextmanager
async def fresh_log(folder: Path) -> AsyncIterator[Door]:
    """Lend the hub's own NATS with an empty log, which it forces to disk ten times a second.

    That is the setting for more than 1,000 messages a second; with the default, at each message,
    the disk alone would be measured.
    """
    settings = Embedded(mqtt_port=0, sync_interval="100ms")
    with DataFolder(folder) as data:
        server = EmbeddedBroker(data, settings, say=lambda _: None)
        await server.start()
        try:
            assert server.child is not None  # noqa: S101 - it has been started
            inside, outside = urlsplit(server.url), urlsplit(server.simulator_url)
            yield Door(
                server.url,
                inside.port or 0,
                server.mqtt_port,
                SIMULATOR,
                outside.password or "",
                False,
                server.child.pid,
            )
        finally:
            server.stop()
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


async def _make_session(port: int, password: str) -> None:
    """Subscribe once and go away; from then on the broker keeps what comes."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(
        wire.connect(
            USER,
            v5=True,
            keep_alive=600,
            username=USER,
            password=password,
            session_expiry=_EXPIRY_S,
        )
    )
    writer.write(wire.subscribe(1, "hub/#", v5=True))
    for _ in range(2):
        head = await reader.readexactly(2)
        body = await reader.readexactly(head[1])
        if head[0] == wire.CONNACK and wire.read_connack(body, v5=True).code:
            raise StartError("mosquitto refuses the bench's login")
    writer.write(wire.disconnect(v5=True))
    await writer.drain()
    writer.close()
    await writer.wait_closed()
