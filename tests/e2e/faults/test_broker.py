"""Rows 11, 17, 32, 33 and 38: the way to the broker is bad, the herd is back, ids are stolen."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from devices.secret import device_secret
from simulators.proxy import FaultProxy, Faults, Way
from simulators.publisher import ACCEPTED, connect_packet, publish_packet
from tests.e2e.faults.office import raise_alarms
from tests.e2e.faults.site import Broker, Role, Site, open_mosquitto, open_nats, through
from tests.servers import SITE_KEY, Mosquitto, Nats


async def started(site: Site, role: Role) -> None:
    """Start a role without holding the loop up, which a proxy needs, until it has its session."""
    await asyncio.to_thread(site.settle)
    role.start()
    async with asyncio.timeout(30):
        while not await site.ask("SELECT 1 FROM hub.source_offset"):
            await asyncio.sleep(0.1)
    await asyncio.sleep(2)


@pytest.mark.tier_n
async def test_11_a_line_of_64_kbit_with_resets_and_a_half_open_connection(
    mosquitto_site: Site,
) -> None:
    site, slow = mosquitto_site, Faults(bandwidth=8_000, latency_s=0.05, jitter_s=0.05)
    async with FaultProxy("127.0.0.1", site.broker.login.port) as proxy:
        role = site.role(broker=through(site.broker.hub_url, proxy.port), BROKER_KEEP_ALIVE="5")
        await started(site, role)
        try:
            proxy.suffer(slow, slow)
            async with site.loaded(40):
                for _ in range(4):
                    await asyncio.sleep(2.5)
                    proxy.reset()
                await asyncio.sleep(2)
                before, start = proxy.connections, time.monotonic()
                assert proxy.half_open() >= 1
                async with asyncio.timeout(15):
                    while proxy.connections == before:
                        await asyncio.sleep(0.05)
                noticed = time.monotonic() - start
            await site.settled(role, seconds=90)
            await site.judge()
        finally:
            role.end()
    assert noticed < 1.5 * 5, f"a dead connection was noticed after {noticed:.1f} s"


@pytest.fixture
async def narrow_site(
    database: str, mosquitto: Mosquitto, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    """A site whose broker allows twenty unacknowledged messages."""
    broker = open_mosquitto(mosquitto, max_inflight_messages="20")
    async with Site(database, broker, tmp_path, request.node) as site:
        yield site


@pytest.mark.tier_p
async def test_32_a_broker_that_allows_20_unacknowledged(narrow_site: Site) -> None:
    site = narrow_site
    site.settle()
    greedy = site.role("greedy", BROKER_PROTOCOL="3.1.1", INGEST_BATCH="5000")
    greedy.start()
    assert await greedy.ended() == 2
    assert "no batch could fill" in greedy.last_words()
    with site.running(site.role(BROKER_PROTOCOL="3.1.1", INGEST_BATCH="20")) as role:
        async with site.loaded(400, 1_200):
            pass
        await site.settled(role, seconds=30)
        await site.judge()


class Hostile:
    """Slips a packet that makes no sense into the stream, now and then."""

    packets = (b"\xf0\x02\x00\x00", b"\x30\xff\xff\xff\xff\x7f", b"\x32\x05\x00\xffab")

    def __init__(self) -> None:
        self.proxy: FaultProxy | None = None
        self.sent = 0

    async def run(self) -> None:
        """Slip them in, and let the worker connect anew in between."""
        assert self.proxy is not None
        for packet in self.packets * 2:
            await asyncio.sleep(0.6)
            self.proxy.inject(Way.DOWN, packet)
            self.sent += 1


@pytest.mark.tier_p
async def test_33_a_resumed_session_in_pieces_and_with_hostile_packets(
    mosquitto_site: Site,
) -> None:
    """What was queued comes before SUBACK, in small pieces; nonsense costs one connection."""
    site, hostile = mosquitto_site, Hostile()
    async with FaultProxy("127.0.0.1", site.broker.login.port) as proxy:
        hostile.proxy = proxy
        role = site.role(broker=through(site.broker.hub_url, proxy.port))
        await started(site, role)
        try:
            role.kill()
            async with site.loaded(300, 300):
                pass
            proxy.suffer(down=Faults(piece=61))
            role.start()
            await site.settled(role)
            proxy.suffer()
            async with site.loaded(400, thefts=0, first_seq=1_000):
                before = proxy.connections
                await hostile.run()
            await site.settled(role)
            assert proxy.connections > before, "nothing hostile was noticed"
            await site.judge()
        finally:
            role.end()


@pytest.mark.tier_p
async def test_38_a_device_logs_in_with_the_hub_s_client_id_and_a_clean_session(
    with_thief: tuple[Site, int, str],
) -> None:
    site, port, password = with_thief
    with site.running(site.role()) as role:
        role.kill()  # the backlog is what a thief would take
        async with site.loaded(1_000):
            ids = await site.ask("SELECT coalesce(client_id, 'hub') FROM hub.source_offset")
            for client_id in (ids[0][0], "hub", *["hub"] * 3):
                await asyncio.to_thread(_steal, port, password, client_id)
        role.start()
        await site.settled(role)
        await site.judge()


@pytest.fixture(params=["mosquitto", "nats"])
def thief(request: pytest.FixtureRequest) -> tuple[Broker, int, str]:
    """A broker, its port, and the password of the device ``MH-T``."""
    if request.param == "nats":
        nats: Nats = request.getfixturevalue("nats")
        nats.let_in("MH-T")
        return open_nats(nats), nats.mqtt_port, device_secret(SITE_KEY, "MH-T")
    mosquitto: Mosquitto = request.getfixturevalue("mosquitto")
    return open_mosquitto(mosquitto, "MH-T"), mosquitto.port, "MH-T"


@pytest.fixture
async def with_thief(
    thief: tuple[Broker, int, str], database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Site, int, str]]:
    """A site, and the thief's door and password."""
    broker, port, password = thief
    async with Site(database, broker, tmp_path, request.node) as site:
        yield site, port, password


def _steal(port: int, password: str, client_id: str) -> None:
    """Log in as a device under another's client id, take what comes, and go."""
    thief = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True)
    thief.username_pw_set("MH-T", password)
    thief.connect("127.0.0.1", port)
    thief.loop_start()
    thief.subscribe("hub/#", qos=1)
    time.sleep(0.3)
    thief.disconnect()
    thief.loop_stop()


@pytest.mark.tier_n
async def test_17_a_herd_of_2000_devices_comes_back_at_once(nats_site: Site) -> None:
    """Back within a minute, and nobody is told 2,000 things.

    The broker was away, not the devices: no device's alarm may come of it.
    """
    site, nats, herd = nats_site, nats_site.broker.server, 2_000
    assert isinstance(nats, Nats)
    site.settle(herd)
    nats.let_in(*site.devices)
    now = site.clock.micros() // 1000 * 1000
    keys: list[tuple[str, int]] = []

    async def come(seq: int) -> float:
        """Have all devices connect and publish a reading; return how long it took."""
        start = time.monotonic()
        gate = asyncio.Semaphore(500)  # as many as a listen queue holds
        done = await asyncio.gather(
            *(_come(nats.mqtt_port, d, seq, now + seq * 1000, gate) for d in site.devices)
        )
        keys.extend(done)
        return time.monotonic() - start

    await site.publish([])  # the ledger of the run begins
    with site.running(site.role()) as role:
        await come(0)
        nats.kill()
        await nats.start()
        took = await come(1)
        site.note(keys)
        await site.settled(role, 2 * herd)
        assert await raise_alarms(site.database) == []
        await site.judge()
    assert took < 60, f"the herd was back after {took:.1f} s"


async def _come(
    port: int, device: str, seq: int, ts: int, gate: asyncio.Semaphore
) -> tuple[str, int]:
    """Connect, publish until acknowledged, and return what was."""
    payload = b'{"t":%d,"seq":%d,"tilt":0.5,"batt":3.6}' % (ts // 1000, seq)
    while True:
        async with gate:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            try:
                async with asyncio.timeout(30):
                    writer.write(connect_packet(device, device, device_secret(SITE_KEY, device)))
                    if await reader.readexactly(4) != ACCEPTED:
                        raise ConnectionError
                    writer.write(publish_packet(1, f"hub/{device}/telemetry", payload))
                    if await reader.readexactly(4) == b"\x40\x02" + struct.pack(">H", 1):
                        return device, seq
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                await asyncio.sleep(0.2)
            finally:
                writer.close()
