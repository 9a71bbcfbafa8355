"""The MQTT source where it goes wrong: on a mosquitto, and on a broker that plays bad days."""

import asyncio
import subprocess
from collections.abc import Callable
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from core.clock import SystemClock
from core.db import Pool
from core.errors import ConfigError, LeaseLostError
from ingest.session import Claim, claim_epoch, claiming, confirm_epoch
from ingest.sources import RawBatch
from ingest.sources.mqtt import MqttSource
from ingest.sources.pauses import Pauses
from ingest.sources.probe import find_mqtt_problem
from tests.fakebroker import Peer, play, publication
from tests.publisher import Message, publish
from tests.servers import Mosquitto, Nats

CONNACK = b"\x20\x03\x00\x00\x00"
RESUMED = b"\x20\x03\x01\x00\x00"
SUBACK = b"\x90\x04\x00\x01\x00\x01"
DEVICE = ("MH-0001", "secret-of-the-device")
TOPIC = "hub/MH-0001/telemetry"


class Noticed(Pauses):
    """Tells when the subscription stands; waits hardly at all."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.subscribed = asyncio.Event()

    def reset(self) -> None:
        super().reset()
        self.subscribed.set()


def session(client_id: str = "hub") -> Claim:
    async def claim(held: int) -> tuple[int, str]:
        return held or 1, client_id

    return claim


def make(url: str, **changes: Any) -> MqttSource:
    kept = {
        "name": "main",
        "clock": SystemClock(),
        "session": session(),
        "batch": 100,
        "linger": 0.02,
        "pauses": Pauses(lambda: 0.0),
    }
    return MqttSource(url=url, **{**kept, **changes})


def reading(source: MqttSource) -> Any:
    return source.read(0)


async def take(source: MqttSource, count: int, *, commit: bool = True) -> list[bytes]:
    payloads: list[bytes] = []
    async with asyncio.timeout(20), aclosing(reading(source)) as batches:
        async for batch in batches:
            payloads += batch.payloads
            if commit:
                await source.committed(batch)
            if len(payloads) >= count:
                break
        await asyncio.sleep(0.2)
    return payloads


async def subscribe(make_source: Callable[[Pauses], MqttSource]) -> None:
    """Make the hub's session at the broker."""
    noticed = Noticed()
    async with aclosing(reading(make_source(noticed))) as batches:
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.wait_for(noticed.subscribed.wait(), 10)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


@pytest.fixture
def broker(mosquitto: Mosquitto) -> Mosquitto:
    """The mosquitto as we ship it, with one device."""
    mosquitto.stop()
    mosquitto.prepare([DEVICE])
    mosquitto.start()
    return mosquitto


def reports(count: int, start: int = 0) -> list[Message]:
    return [Message(TOPIC, f'{{"seq":{i}}}'.encode()) for i in range(start, start + count)]


def payloads_of(messages: list[Message]) -> list[bytes]:
    return [message.payload for message in messages]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.tier_p
async def test_38_a_device_with_the_hub_s_client_id_and_a_clean_session_takes_nothing_away(
    broker: Mosquitto, protocol: str
) -> None:
    await subscribe(lambda pauses: make(broker.url, protocol=protocol, pauses=pauses))
    await publish(broker.port, *DEVICE, *reports(200))
    for client_id in ("hub", Mosquitto.user):
        thief = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True)
        thief.username_pw_set(*DEVICE)
        thief.connect("127.0.0.1", broker.port)
        thief.loop_start()
        thief.subscribe("hub/#", qos=1)
        await asyncio.sleep(0.3)
        thief.disconnect()
        thief.loop_stop()
    source = make(broker.url, protocol=protocol)
    assert await take(source, 200) == payloads_of(reports(200))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.tier_p
async def test_38_looking_whether_a_broker_is_safe_takes_nothing_from_the_hub_s_queue(
    broker: Mosquitto, protocol: str
) -> None:
    await subscribe(lambda pauses: make(broker.url, protocol=protocol, pauses=pauses))
    await publish(broker.port, *DEVICE, *reports(200))
    assert await find_mqtt_problem(broker.url, protocol=protocol) is None
    source = make(broker.url, protocol=protocol)
    assert await take(source, 200) == payloads_of(reports(200))


@pytest.mark.tier_p
async def test_32_a_broker_that_allows_20_unacknowledged_never_stalls_the_hub(
    broker: Mosquitto,
) -> None:
    broker.stop()
    text = broker.config.read_text().replace("max_inflight_messages 1000", "")
    broker.config.write_text(text)
    broker.start()
    settings: dict[str, Any] = {"protocol": "3.1.1", "batch": 5_000, "linger": 0.05}
    await subscribe(lambda pauses: make(broker.url, pauses=pauses, **settings))
    await publish(broker.port, *DEVICE, *reports(205))
    for limit in (20, 1_000):  # as it is, and as somebody wrongly believes it to be
        source = make(broker.url, inflight_limit=limit, **settings)
        assert await take(source, 100, commit=True) == payloads_of(reports(100)) or limit > 20
        await publish(broker.port, *DEVICE, *reports(1))


async def test_what_was_queued_while_the_hub_was_away_comes_first(broker: Mosquitto) -> None:
    await subscribe(lambda pauses: make(broker.url, pauses=pauses))
    await publish(broker.port, *DEVICE, *reports(3_000))
    source = make(broker.url, batch=500)
    waiting = asyncio.ensure_future(take(source, 3_010))
    await publish(broker.port, *DEVICE, *reports(10, start=3_000))
    assert await waiting == payloads_of(reports(3_010))


async def test_the_source_comes_back_by_itself_when_the_broker_does(broker: Mosquitto) -> None:
    noticed = Noticed()
    source = make(broker.url, pauses=noticed)
    waiting = asyncio.ensure_future(take(source, 10))
    await asyncio.wait_for(noticed.subscribed.wait(), 10)
    broker.stop()
    await asyncio.sleep(0.3)
    noticed.subscribed.clear()
    broker.start()
    await asyncio.wait_for(noticed.subscribed.wait(), 15)
    await publish(broker.port, *DEVICE, *reports(10))
    assert await waiting == payloads_of(reports(10))


async def test_an_old_connection_s_messages_are_never_acknowledged_over_a_new_one(
    broker: Mosquitto,
) -> None:
    await subscribe(lambda pauses: make(broker.url, pauses=pauses))
    await publish(broker.port, *DEVICE, *reports(50))
    source = make(broker.url)
    async with asyncio.timeout(20), aclosing(reading(source)) as batches:
        held: RawBatch = await anext(batches)
        broker.stop()
        broker.start()
        again: RawBatch = await anext(batches)
        await source.committed(held)
        await asyncio.sleep(0.2)
    assert again.payloads[0] == held.payloads[0] == b'{"seq":0}'
    assert (await take(make(broker.url), 50))[:2] == payloads_of(reports(2))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_hub_learns_from_the_epoch_that_another_took_over(
    broker: Mosquitto, database: str, protocol: str
) -> None:
    first = make(broker.url, protocol=protocol, session=claiming(database, "main"))
    async with aclosing(reading(first)) as batches:
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0.5)
        await subscribe(
            lambda pauses: make(
                broker.url, protocol=protocol, session=claiming(database, "main"), pauses=pauses
            )
        )
        with pytest.raises(LeaseLostError, match="epoch 2"):
            await asyncio.wait_for(waiting, 10)


async def test_each_worker_raises_the_epoch_and_keeps_the_client_id(pool: Pool) -> None:
    async with pool.connection() as conn:
        first, client_id = await claim_epoch(conn, "main")
        assert await confirm_epoch(conn, "main", first) == (first, client_id)
        second, same = await claim_epoch(conn, "main")
        assert (second, same) == (first + 1, client_id)
        assert len(bytes.fromhex(client_id)) * 8 == 128
        with pytest.raises(LeaseLostError):
            await confirm_epoch(conn, "main", first)


async def test_a_wrong_password_is_one_sentence(broker: Mosquitto) -> None:
    source = make(broker.url.replace(Mosquitto.password, "wrong"))
    with pytest.raises(ConfigError, match=r"refuses the hub's CONNECT: .*(0x86|0x87)"):
        await take(source, 1)


async def test_a_nats_is_refused_with_one_sentence(nats: Nats) -> None:
    url = nats.simulator_url
    with pytest.raises(ConfigError, match="never reads a NATS through MQTT"):
        await take(make(url), 1)


async def test_content_types_of_mqtt_5_come_along(broker: Mosquitto) -> None:
    await subscribe(lambda pauses: make(broker.url, pauses=pauses))
    picture = Message("hub/MH-0001/snapshot", b"\xff\xd8", content_type="image/jpeg")
    await publish(broker.port, *DEVICE, *reports(1), picture, *reports(1), v5=True)
    source = make(broker.url)
    async with asyncio.timeout(10), aclosing(reading(source)) as batches:
        batch = await anext(batches)
    assert batch.content_types == {1: "image/jpeg"}


async def test_qos_0_comes_too_and_is_not_acknowledged(broker: Mosquitto) -> None:
    source = make(broker.url)
    noticed = Noticed()
    source._pauses = noticed
    waiting = asyncio.ensure_future(take(source, 3))
    await asyncio.wait_for(noticed.subscribed.wait(), 10)
    await publish(broker.port, *DEVICE, Message(TOPIC, b"a", qos=0), Message(TOPIC, b"b"))
    await publish(broker.port, *DEVICE, Message(TOPIC, b"c", qos=0))
    assert await waiting == [b"a", b"b", b"c"]


def certificate(folder: Path, name: str, subject: str) -> None:
    """Make a key and a certificate for 127.0.0.1 that is its own CA."""
    made = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
    how = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    how += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *how, *made, "-subj", subject], check=True, capture_output=True)


async def test_tls_is_checked_against_the_ca_file(broker: Mosquitto, tmp_path: Path) -> None:
    certificate(tmp_path, "server", "/CN=localhost")
    certificate(tmp_path, "other", "/CN=other")
    broker.stop()
    text = broker.config.read_text().replace(
        "allow_anonymous false",
        f"allow_anonymous false\ncertfile {tmp_path}/server.crt\nkeyfile {tmp_path}/server.key",
        1,
    )
    broker.config.write_text(text)
    broker.start()
    url = broker.url.replace("mqtt://", "mqtts://")
    await subscribe(lambda pauses: make(url, ca_file=tmp_path / "server.crt", pauses=pauses))
    with pytest.raises(ConfigError, match=r"not trusted: .*broker\.ca_file"):
        await take(make(url, ca_file=tmp_path / "other.crt"), 1)


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "mqtt://h:x", "nats://h"])
def test_a_url_that_names_no_broker_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"broker\.url"):
        make(url)


# On a broker that plays bad days ------------------------------------------------------------------


@pytest.mark.tier_p
@pytest.mark.parametrize("chunk", [0, 1, 7])
async def test_33_messages_before_suback_and_in_pieces_are_taken(chunk: int) -> None:
    acknowledged = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.packet()
        backlog = b"".join(publication("a/b", bytes([i]), i + 1) for i in range(100))
        await peer.send(RESUMED + backlog, chunk=chunk)
        assert (await peer.packet())[0] == 0x82
        await peer.send(SUBACK + publication("a/b", b"\xff", 101))
        ids = [int.from_bytes((await peer.packet())[1], "big") for _ in range(101)]
        assert ids == list(range(1, 102))
        acknowledged.set()

    async with play(script) as port:
        payloads = await take(make(f"mqtt://127.0.0.1:{port}"), 101)
        await asyncio.wait_for(acknowledged.wait(), 5)
    assert payloads == [*(bytes([i]) for i in range(100)), b"\xff"]


@pytest.mark.tier_p
@pytest.mark.parametrize(
    "hostile",
    [b"\x32\xff\xff\xff\xff\xff", b"\x32\x04\xff\xffab", b"\x34\x05\x00\x01a\x00\x01", b"\xf0\x00"],
)
async def test_33_a_hostile_packet_costs_one_connection_and_no_message(hostile: bytes) -> None:
    async def bad(peer: Peer) -> None:
        await peer.packet()
        await peer.send(CONNACK)
        await peer.packet()
        await peer.send(publication("a", b"1", 1) + hostile)
        await peer.reader.read()

    async def good(peer: Peer) -> None:
        await peer.packet()
        await peer.send(RESUMED + publication("a", b"1", 1) + publication("a", b"2", 2))
        await peer.reader.read()

    async with play(bad, good) as port:
        assert await take(make(f"mqtt://127.0.0.1:{port}"), 3) == [b"1", b"1", b"2"]


@pytest.mark.tier_p
async def test_11_a_silent_broker_is_given_up_within_one_and_a_half_intervals() -> None:
    dead, alive = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def silent(peer: Peer) -> None:
        await peer.packet()
        await peer.send(CONNACK + SUBACK)
        times.append(loop.time())
        while await peer.reader.read(100):
            pass
        times.append(loop.time())
        dead.set()

    async def good(peer: Peer) -> None:
        await peer.packet()
        await peer.send(CONNACK + SUBACK)
        alive.set()
        await peer.reader.read()

    async with (
        play(silent, good) as port,
        aclosing(reading(make(f"mqtt://127.0.0.1:{port}", keep_alive=1))) as batches,
    ):
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.wait_for(dead.wait(), 5)
        await asyncio.wait_for(alive.wait(), 5)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert 1.0 <= times[1] - times[0] < 1.5


async def test_a_quiet_connection_is_kept_alive_in_the_broker_s_interval() -> None:
    pinged = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.packet()
        await peer.send(b"\x20\x06\x00\x00\x03\x13\x00\x01" + SUBACK)
        await peer.packet()
        for _ in range(3):
            assert (await peer.packet())[0] == 0xC0
            await peer.send(b"\xd0\x00")
        pinged.set()

    async with (
        play(script) as port,
        aclosing(reading(make(f"mqtt://127.0.0.1:{port}", keep_alive=3_600))) as batches,
    ):
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.wait_for(pinged.wait(), 5)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_broker_that_says_who_took_the_session_is_believed() -> None:
    async def script(peer: Peer) -> None:
        await peer.packet()
        await peer.send(CONNACK + SUBACK + publication("a", b"1", 1) + b"\xe0\x01\x8e")
        await peer.reader.read()

    async with play(script) as port:
        with pytest.raises(LeaseLostError, match="took over"):
            await take(make(f"mqtt://127.0.0.1:{port}"), 1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\x20\x03\x00\x85\x00", "client id"),
        (b"\x20\x02\x00\x01", 'broker.protocol = "3.1.1"'),
        (CONNACK + b"\x90\x04\x00\x01\x00\x87", "subscribe at QoS 1.*0x87"),
        (CONNACK + b"\x90\x04\x00\x01\x00\x00", "QoS 0 only"),
    ],
)
async def test_a_refusal_for_good_is_one_sentence(answer: bytes, said: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.packet()
        await peer.send(answer)
        await peer.reader.read()

    async with play(script) as port:
        with pytest.raises(ConfigError, match=said):
            await take(make(f"mqtt://127.0.0.1:{port}"), 1)


@pytest.mark.parametrize(
    "first", [b"\x20\x03\x00\x89\x00", CONNACK + b"\xe0\x01\x8b", b"", b"\x20\x01\x00"]
)
async def test_a_refusal_for_now_is_tried_again(first: bytes) -> None:
    async def bad(peer: Peer) -> None:
        await peer.packet()
        await peer.send(first)

    async def good(peer: Peer) -> None:
        await peer.packet()
        await peer.send(CONNACK + SUBACK + publication("a", b"1", 1))
        await peer.reader.read()

    async with play(bad, good) as port:
        assert await take(make(f"mqtt://127.0.0.1:{port}"), 1) == [b"1"]


async def test_qos_0_beyond_the_window_stops_the_reading_of_the_socket() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.packet()
        await peer.send(CONNACK + SUBACK)
        body = b"\x00\x01a\x00" + b"x" * 8_000
        packet = b"\x30" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body
        while True:
            await peer.send(packet)
            sent += 1

    async with play(script) as port:
        source = make(f"mqtt://127.0.0.1:{port}", receive_maximum=100, batch=10)
        async with aclosing(reading(source)) as batches:
            await anext(batches)
            await asyncio.sleep(1)
            before = sent
            await asyncio.sleep(0.5)
            assert sent == before < 2_000


def test_a_port_that_nobody_listens_on_is_retried_with_growing_pauses() -> None:
    pauses = Pauses(lambda: 1.0)
    waits = [pauses.next() for _ in range(8)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    pauses.reset()
    assert pauses.next() == 0.1
    with closing(asyncio.new_event_loop()):
        assert Pauses(lambda: 0.0).next() == 0.05
