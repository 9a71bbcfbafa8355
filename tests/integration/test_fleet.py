"""The fleet over real brokers: in order, nothing lost, scenes begun by hand while it runs."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiomqtt
import nats as nats_client
import pytest
from nats.aio.msg import Msg

from core.errors import ConfigError
from simulators import control
from simulators.city import build_city
from simulators.city_files import write_city
from simulators.fleet import run_fleet
from simulators.truth import read_truth
from tests.servers import Mosquitto, Nats

CITY = build_city(
    7,
    components=0,
    scale=0.05,
    intervals=dict.fromkeys(("manhole_cover", "street_lamp", "sanitation_worker"), 1.0),
)
Heard = list[tuple[str, dict[str, object]]]


@asynccontextmanager
async def running(login: str, tmp_path: Path, **more: object) -> AsyncIterator[Path]:
    """Run a small fleet against a broker; yields its control socket."""
    write_city(CITY, tmp_path)
    door, parts = tmp_path / "control.sock", urlsplit(login)
    settings: dict[str, object] = {"truth": tmp_path / "truth.jsonl", "control": door, **more}
    fleet = asyncio.create_task(
        run_fleet(
            broker_host=parts.hostname or "",
            broker_port=parts.port or 0,
            username=unquote(parts.username or "") or None,
            password=unquote(parts.password or "") or None,
            devices=tmp_path / "devices.csv",
            **settings,  # type: ignore[arg-type]  # settings of run_fleet, by name
        )
    )
    try:
        await eventually(lambda: _connected(door))
        yield door
    finally:
        fleet.cancel()
        with suppress(asyncio.CancelledError):
            await fleet


async def eventually(holds: Callable[[], Awaitable[bool]], within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not await holds():
            await asyncio.sleep(0.05)


async def _connected(door: Path) -> bool:
    try:
        told = await asyncio.to_thread(control.status, door)
    except ConfigError:
        return False
    return bool(told["connected"] == told["connections"])


async def all_acknowledged(door: Path) -> bool:
    told = await asyncio.to_thread(control.status, door)
    return bool(told["pending"] == 0)


def check_order(heard: Heard) -> None:
    """Every device's counters come without a gap; a repeat is a redelivery, never a step back."""
    seen: dict[str, set[int]] = {}
    newest: dict[str, int] = {}
    for device_id, body in heard:
        seq = body["seq"]
        assert isinstance(seq, int)
        if seq not in seen.setdefault(device_id, set()):
            assert seq == newest.get(device_id, seq - 1) + 1
            newest[device_id] = seq
        seen[device_id].add(seq)


async def test_a_scene_begun_by_hand_is_heard_on_the_embedded_broker(
    nats: Nats, tmp_path: Path
) -> None:
    heard: Heard = []

    async def hear(message: Msg) -> None:
        heard.append((message.subject.split(".")[1], json.loads(message.data)))

    client = await nats_client.connect(nats.url)
    try:
        await client.subscribe("hub.>", cb=hear)
        async with running(nats.simulator_url, tmp_path) as door:
            begun = await asyncio.to_thread(control.start_scene, door, "cover_stolen", lasts_s=600)
            thief = begun["node"]

            async def cried() -> bool:
                return any(body.get("e") == "cover_open" for name, body in heard if name == thief)

            await eventually(cried)
            assert await asyncio.to_thread(control.repair, door, thief)

            async def laid_back() -> bool:
                return any(body.get("e") == "cover_close" for name, body in heard if name == thief)

            await eventually(laid_back)
            await eventually(lambda: all_acknowledged(door))
            told = await asyncio.to_thread(control.status, door)
    finally:
        await client.close()
    assert len(heard) >= told["acknowledged"] > 50
    check_order(heard)
    (line,) = read_truth(tmp_path / "truth.jsonl").values()
    assert line["devices"] == [thief]


async def test_nothing_is_lost_while_the_broker_restarts(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    mosquitto.stop()
    mosquitto.prepare([("simulator", "secret")])
    for file, old, new in (
        ("acl", "user hub\n", "user simulator\ntopic write hub/#\n\nuser hub\n"),
        ("mosquitto.conf", "use_username_as_clientid true\n", ""),  # four connections, one login
    ):
        path = mosquitto.config.with_name(file)
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    mosquitto.start()
    heard: Heard = []
    async with _session(mosquitto):
        pass
    login = f"mqtt://simulator:secret@127.0.0.1:{mosquitto.port}"
    async with running(login, tmp_path) as door:
        await asyncio.sleep(1.5)
        mosquitto.stop()
        await asyncio.sleep(1.5)
        mosquitto.start()
        await eventually(lambda: _connected(door), within=40)
        await eventually(lambda: all_acknowledged(door), within=40)
        told = await asyncio.to_thread(control.status, door)
    async with _session(mosquitto) as hub:
        async with asyncio.timeout(20):
            while len(heard) < told["acknowledged"]:
                message = await anext(hub.messages)
                assert isinstance(message.payload, bytes)
                heard.append((str(message.topic).split("/")[1], json.loads(message.payload)))
    assert "broker lost, trying again" in caplog.text
    check_order(heard)


def _session(mosquitto: Mosquitto) -> "Session":
    return Session(mosquitto)


class Session:
    """The hub's persistent session, so that nothing published while it is away is missed."""

    def __init__(self, mosquitto: Mosquitto) -> None:
        self._client = aiomqtt.Client(
            "127.0.0.1",
            mosquitto.port,
            username=mosquitto.user,
            password=mosquitto.password,
            identifier="test-hub",
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
        )

    async def __aenter__(self) -> aiomqtt.Client:
        await self._client.__aenter__()
        await self._client.subscribe("hub/#", qos=1)
        return self._client

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(None, None, None)


async def test_another_machine_is_refused_unless_allowed(tmp_path: Path) -> None:
    write_city(CITY, tmp_path)
    with pytest.raises(ConfigError, match="--allow-remote"):
        await run_fleet(
            broker_host="broker.example", broker_port=1883, devices=tmp_path / "devices.csv"
        )
