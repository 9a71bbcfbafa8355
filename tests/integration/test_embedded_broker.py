"""Our own broker: who gets in, what they may do, and what happens when the registry changes."""

import asyncio
import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import nats
import pytest

from cityhub.broker import EmbeddedBroker, device_login
from cityhub.folder import DataFolder
from cityhub.ports import free_port
from core.errors import StartError
from core.settings import Embedded
from devices.secret import device_secret
from ingest import wire
from tests.servers import SITE_KEY, Nats, open_folder

REFUSED = 5
"""Exit code of mosquitto_pub when the broker does not let it in."""
WRONG_LOGIN = 4
"""The same for a login that cannot be."""


@pytest.fixture(scope="module")
def broker() -> Iterator[Nats]:
    """A broker with two devices' logins."""
    with open_folder() as path, DataFolder(path) as folder:
        server = Nats(folder)
        asyncio.run(server.start())
        server.let_in("MH-1", "MH-2")
        yield server
        server.stop()


def _publish(broker: Nats, user: str, password: str, topic: str) -> int:
    return subprocess.run(
        [
            *("mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.mqtt_port), "-q", "1"),
            *("-u", user, "-P", password, "-i", f"{user}-test", "-t", topic, "-m", "{}"),
        ],
        capture_output=True,
        timeout=10,
        check=False,
    ).returncode


async def _count(broker: Nats) -> int:
    """Return how many messages the log has, once it has settled."""
    client = await nats.connect(broker.url)
    try:
        await asyncio.sleep(0.2)
        return (await client.jetstream().stream_info("HUB")).state.messages
    finally:
        await client.close()


async def test_a_device_publishes_what_is_its_own(broker: Nats) -> None:
    before = await _count(broker)
    assert _publish(broker, "MH-1", _secret("MH-1"), "hub/MH-1/telemetry") == 0
    assert _publish(broker, "MH-1", _secret("MH-1"), "hub/MH-1/command/ack") == 0
    assert await _count(broker) == before + 2


@pytest.mark.parametrize(
    "topic",
    ["hub/MH-2/telemetry", "hub/MH-1/command", "$MQTT/msgs/hub/MH-1/telemetry", "$JS/API/INFO"],
)
async def test_what_is_not_its_own_never_reaches_the_log(broker: Nats, topic: str) -> None:
    before = await _count(broker)
    _publish(broker, "MH-1", _secret("MH-1"), topic)
    assert await _count(broker) == before


@pytest.mark.parametrize(
    ("user", "password"),
    [("MH-1", "guess"), ("MH-9", "guess"), ("hub", "guess"), ("", "")],
)
def test_nobody_enters_without_a_login(broker: Nats, user: str, password: str) -> None:
    done = _publish(broker, user, password, "hub/MH-1/telemetry")
    assert done in {REFUSED, WRONG_LOGIN}


def test_the_hubs_own_login_does_not_open_the_devices_door(broker: Nats) -> None:
    password = broker.url.split(":")[2].split("@")[0]
    assert _publish(broker, "hub", password, "hub/MH-1/telemetry") == REFUSED


async def test_a_devices_login_does_not_open_the_log(broker: Nats) -> None:
    login = json.dumps({"user": "MH-1", "pass": _secret("MH-1"), "verbose": False})
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(broker.url).port)
    try:
        await reader.readline()  # INFO
        writer.write(f"CONNECT {login}\r\nPING\r\n".encode())
        assert await reader.readline() == b"-ERR 'Authorization Violation'\r\n"
    finally:
        writer.close()
        await writer.wait_closed()


def test_a_removed_device_is_cut_off_and_the_others_stay(broker: Nats) -> None:
    broker.let_in("MH-1", "MH-2")
    stays, goes = (_subscribe(broker, device) for device in ("MH-1", "MH-2"))
    try:
        for listener in (stays, goes):
            assert listener.stdout is not None
            while "SUBACK" not in listener.stdout.readline():
                pass
        broker.let_in("MH-1")
        assert goes.wait(10) == REFUSED, "cut off, and not let in again"
        assert stays.poll() is None
    finally:
        for listener in (stays, goes):
            listener.kill()
            listener.communicate()


def _subscribe(broker: Nats, device_id: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *("stdbuf", "-oL", "mosquitto_sub", "-d", "-h", "127.0.0.1", "-p"),
            *(str(broker.mqtt_port), "-q", "1", "-u", device_id, "-P", _secret(device_id)),
            *("-i", f"{device_id}-listens", "-t", f"hub/{device_id}/command"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _secret(device_id: str) -> str:
    return device_secret(SITE_KEY, device_id)


async def test_a_port_in_use_is_named_with_its_setting() -> None:
    with (
        open_folder() as path,
        DataFolder(path) as folder,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        port = other.getsockname()[1]
        broker = EmbeddedBroker(folder, Embedded(mqtt_port=port), say=lambda _: None)
        with pytest.raises(StartError, match=rf"port {port}.*CITYHUB_EMBEDDED_MQTT_PORT"):
            await broker.start()


async def test_the_log_survives_kill_9(nats: Nats) -> None:
    nats.let_in("MH-1")
    await asyncio.sleep(0.2)
    assert _publish(nats, "MH-1", _secret("MH-1"), "hub/MH-1/telemetry") == 0
    nats.kill()
    await nats.start()
    assert await _count(nats) == 1


async def test_the_first_message_of_the_first_millisecond_is_in_the_log() -> None:
    """The log must be there before the door opens: a device hammers it while the hub starts."""
    port = free_port()
    with open_folder() as path, DataFolder(path) as folder:
        broker = EmbeddedBroker(folder, Embedded(mqtt_port=port), say=lambda _: None)
        async with asyncio.TaskGroup() as tasks:
            hammer = tasks.create_task(_publish_as_soon_as_possible(port))
            await broker.start([device_login("MH-1", _secret("MH-1"))])
        try:
            assert hammer.result() > 1, "it came before the door was open"
            client = await nats.connect(broker.url)
            await asyncio.sleep(0.2)
            assert (await client.jetstream().stream_info("HUB")).state.messages == 1
            await client.close()
        finally:
            broker.stop()


async def _publish_as_soon_as_possible(port: int) -> int:
    """Publish one message at QoS 1; return how many attempts it took."""
    topic = b"hub/MH-1/telemetry"
    body = len(topic).to_bytes(2) + topic + b"\x00\x01{}"
    login = wire.connect(
        "first", v5=False, keep_alive=10, username="MH-1", password=_secret("MH-1")
    )
    for attempt in range(1, 100_000):
        try:
            answer = await _exchange(port, login + bytes([0x32, len(body)]) + body)
        except (OSError, asyncio.IncompleteReadError):
            await asyncio.sleep(0)
        else:
            assert answer == b"\x20\x02\x00\x00\x40\x02\x00\x01"
            return attempt
    raise AssertionError("the door never opened")


async def _exchange(port: int, request: bytes) -> bytes:
    """Send bytes and return CONNACK and PUBACK."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.readexactly(8)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
