"""The log where it goes wrong: on the NATS that cityhub up runs."""

import asyncio
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import nats as nats_py
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cityhub.broker import EmbeddedBroker
from cityhub.folder import DataFolder
from cityhub.ports import free_port, is_free
from core.clock import ManualClock, SystemClock
from core.db import Pool
from core.errors import ConfigError, LeaseLostError, StartError
from core.settings import Embedded
from devices.secret import device_secret
from ingest.nats_wire import Deliveries, Note, read_place, take_deliveries, topic_of
from ingest.session import identify_log, identifying
from ingest.sources import RawBatch
from ingest.sources.jetstream import JetStreamSource
from ingest.sources.log import find_log_problem, make_log, touch_mqtt
from ingest.sources.pauses import Pauses
from ingest.wire import WireError
from tests.publisher import Message, publish
from tests.servers import SITE_KEY, Nats, open_folder


def make(url: str, **changes: Any) -> JetStreamSource:
    kept = {"name": "main", "clock": SystemClock(), "pauses": Pauses(lambda: 0.0)}
    return JetStreamSource(url=url, **{**kept, **changes})


def reading(source: JetStreamSource, position: int = 0) -> Any:
    return source.read(position)


async def take(source: JetStreamSource, count: int, position: int = 0) -> list[RawBatch]:
    taken: list[RawBatch] = []
    async with asyncio.timeout(30), aclosing(reading(source, position)) as batches:
        async for batch in batches:
            taken.append(batch)
            await source.committed(batch)
            if sum(map(len, taken)) >= count:
                break
    return taken


def payloads_of(batches: list[RawBatch]) -> list[bytes]:
    return [payload for batch in batches for payload in batch.payloads]


def reports(count: int, start: int = 0, device: str = "MH-0001") -> list[Message]:
    return [
        Message(f"hub/{device}/telemetry", f'{{"seq":{i}}}'.encode())
        for i in range(start, start + count)
    ]


async def simulate(nats: Nats, *messages: Message, client_id: str = "publisher") -> None:
    login = urlsplit(nats.simulator_url)
    await publish(
        nats.mqtt_port, login.username or "", login.password or "", *messages, client_id=client_id
    )


TOPICS = ["hub/a.b/event", "hub//event", "hub/井盖/event", "hub/.x/event", "hub/x./event"]


@pytest.mark.parametrize("topic", [*TOPICS, "hub/x..y/event", "hub/./event", "hub/>/event"])
async def test_any_topic_comes_back_from_its_subject(nats: Nats, topic: str) -> None:
    client = await nats_py.connect(nats.url)
    await client.close()
    await simulate(nats, Message(topic, b"odd"), *reports(1))
    (batch, *_) = await take(make(nats.url), 2)
    assert batch.topics[0] == topic.encode()


@pytest.mark.tier_p
async def test_03_a_killed_broker_loses_nothing_of_a_backlog(nats: Nats) -> None:
    await simulate(nats, *reports(2_000))
    source = make(nats.url, batch=100, window=400)
    taken: list[RawBatch] = []
    async with asyncio.timeout(60), aclosing(reading(source)) as batches:
        async for batch in batches:
            taken.append(batch)
            await source.committed(batch)
            if len(taken) == 3:
                nats.kill()
                await nats.start()
            if sum(map(len, taken)) >= 2_000:
                break
    assert payloads_of(taken) == [message.payload for message in reports(2_000)]
    assert [batch.after for batch in taken] == [0, *(batch.position for batch in taken[:-1])]


@pytest.mark.tier_p
async def test_the_next_process_reads_on_at_once(nats: Nats) -> None:
    await simulate(nats, *reports(500))
    first = await take(make(nats.url, batch=100), 200)
    position = first[-1].position
    loop = asyncio.get_running_loop()
    start = loop.time()
    rest = await take(make(nats.url, batch=100), 500 - position, position)
    assert loop.time() - start < 3
    assert payloads_of(first + rest) == [message.payload for message in reports(500)]


async def test_what_waits_in_the_log_came_when_it_came_whoever_reads_it_and_when(
    nats: Nats,
) -> None:
    clock = SystemClock()
    before = clock.micros()
    await simulate(nats, *reports(20))
    after = clock.micros()
    await asyncio.sleep(3)  # the hub is away
    first = await take(make(nats.url, batch=7), 20)
    came = [at for batch in first for at in batch.received_at]
    assert before - 1_000 <= came[0] <= came[-1] <= after + 2_000_000
    assert came == sorted(came)
    again = await take(make(nats.url), 20)
    assert [at for batch in again for at in batch.received_at] == came


async def test_a_server_whose_clock_differs_is_read_by_ours(nats: Nats) -> None:
    """A node an hour off would make every device's clock look an hour wrong."""
    await simulate(nats, *reports(5))
    clock = ManualClock(datetime(2031, 5, 1, tzinfo=UTC))
    (batch,) = await take(make(nats.url, clock=clock), 5)
    assert all(0 <= clock.micros() - at < 10_000_000 for at in batch.received_at)


@pytest.mark.tier_p
async def test_38_no_login_of_a_device_reaches_what_the_hub_has_not_read(nats: Nats) -> None:
    nats.let_in("MH-0001")
    await asyncio.sleep(0.3)
    secret = device_secret(SITE_KEY, "MH-0001")
    await publish(nats.mqtt_port, "MH-0001", secret, *reports(200))
    for client_id in ("hub", "hubsrc", "cityhub-setup", "publisher"):
        thief = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True)
        thief.username_pw_set("MH-0001", secret)
        thief.connect("127.0.0.1", nats.mqtt_port)
        thief.loop_start()
        thief.subscribe("hub/#", qos=1)
        await asyncio.sleep(0.2)
        thief.disconnect()
        thief.loop_stop()
    batches = await take(make(nats.url), 200)
    assert payloads_of(batches) == [message.payload for message in reports(200)]


@pytest.mark.tier_p
async def test_what_is_published_in_the_first_millisecond_of_the_first_start_is_in_the_log() -> (
    None
):
    with open_folder() as path, DataFolder(path) as folder:
        port = low_port()
        broker = EmbeddedBroker(folder, Embedded(mqtt_port=port, nats_port=0), say=lambda _: None)
        login = urlsplit(broker.simulator_url)

        async def hammer() -> None:
            while True:
                with suppress(OSError):
                    await publish(port, login.username or "", login.password or "", *reports(50))
                    return
                await asyncio.sleep(0.001)

        hammering = asyncio.ensure_future(hammer())
        await broker.start()
        try:
            await asyncio.wait_for(hammering, 20)
            batches = await take(make(broker.url), 50)
        finally:
            broker.stop()
    assert payloads_of(batches) == [message.payload for message in reports(50)]


def low_port() -> int:
    """Return a free port below those the system hands out.

    Whoever knocks at one of its own before somebody listens may be connected to himself.
    """
    return next(port for port in range(21_000, 30_000) if is_free(port))


async def _remake(nats: Nats) -> None:
    """Delete the log and make it anew, as a careless administrator would."""
    client = await nats_py.connect(nats.url)
    js = client.jetstream()
    await js.delete_stream("HUB")
    await client.close()
    await make_log(nats.url)


async def test_a_log_made_anew_is_never_read_with_the_old_one_s_offset(
    nats: Nats, database: str
) -> None:
    await simulate(nats, *reports(20))
    identify = identifying(database, "main")
    (batch, *_) = await take(make(nats.url, identify=identify), 20)
    await _remake(nats)
    with pytest.raises(ConfigError, match=r"created .* ingest\.source"):
        await take(make(nats.url, identify=identify), 1, batch.position)


async def test_a_log_made_anew_while_it_is_read_ends_the_reading(nats: Nats) -> None:
    await simulate(nats, *reports(5))
    source = make(nats.url, heartbeat=0.5)
    async with asyncio.timeout(30), aclosing(reading(source)) as batches:
        await anext(batches)
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0.1)
        await _remake(nats)
        with pytest.raises(ConfigError, match="made anew"):
            await waiting


async def test_an_offset_beyond_the_log_s_end_is_set_back(
    nats: Nats, pool: Pool, database: str
) -> None:
    await simulate(nats, *reports(20))
    identify = identifying(database, "main")
    await take(make(nats.url, identify=identify), 20)
    async with pool.connection() as conn:
        await conn.execute("UPDATE hub.source_offset SET position = 900")
        with pytest.raises(LeaseLostError, match="ends at 20"):
            await take(make(nats.url, identify=identify), 1, 900)
        cursor = await conn.execute("SELECT position FROM hub.source_offset")
        assert await cursor.fetchone() == (20,)
        await identify_log(conn, "another", "made then", 0)


async def test_a_nats_without_the_log_is_one_sentence(nats: Nats) -> None:
    with pytest.raises(ConfigError, match="no stream NONE"):
        await take(make(nats.url, stream="NONE"), 1)


async def test_a_wrong_password_is_one_sentence(nats: Nats) -> None:
    url = urlsplit(nats.url)
    with pytest.raises(ConfigError, match="Authorization Violation"):
        await take(make(f"nats://hub:wrong@127.0.0.1:{url.port}"), 1)


async def test_the_next_server_of_a_cluster_is_tried(nats: Nats) -> None:
    await simulate(nats, *reports(5))
    batches = await take(make(f"nats://127.0.0.1:{free_port()},{nats.url}"), 5)
    assert len(payloads_of(batches)) == 5


async def test_the_log_is_made_once_and_its_faults_are_named(nats: Nats) -> None:
    assert await find_log_problem(nats.url) is None
    await make_log(nats.url)
    client = await nats_py.connect(nats.url)
    js = client.jetstream()
    await js.delete_consumer("$MQTT_msgs", "hubsrc")
    assert "acknowledged and forgotten" in (await find_log_problem(nats.url) or "")
    await js.delete_stream("HUB")
    assert "there is no stream HUB" in (await find_log_problem(nats.url) or "")
    await js.add_stream(name="HUB", subjects=["hub.>"])
    assert "not sourced" in (await find_log_problem(nats.url) or "")
    await client.close()
    with pytest.raises(StartError, match="cannot be asked"):
        await find_log_problem(f"nats://127.0.0.1:{free_port()}")


async def test_a_login_over_mqtt_that_is_refused_says_so(nats: Nats) -> None:
    with pytest.raises((ConfigError, OSError, asyncio.IncompleteReadError)):
        await touch_mqtt("127.0.0.1", nats.mqtt_port, "simulator", "wrong")


def test_deliveries_are_read_from_any_split_of_the_stream() -> None:
    reply = b"$JS.ACK.HUB.c.1.%d.%d.1760000000000000000.0"
    stream, head = b"", b"NATS/1.0\r\nNmqtt-Pub: 1\r\n\r\n"
    for i in range(1, 6):
        body = head + b"x" * i
        stream += b"HMSG $MQTT.msgs.hub.a.b 1 %b %d %d\r\n%b\r\n" % (
            reply % (i + 10, i),
            len(head),
            len(body),
            body,
        )
        stream += b"MSG $MQTT.msgs.hub.a.c 1 %b 2\r\nhi\r\nPING\r\n" % (reply % (i + 20, i))
    status = b"NATS/1.0 100 Idle Heartbeat\r\n\r\n"
    stream += b"HMSG _INBOX.m 1 %d %d\r\n%b\r\n" % (len(status), len(status), status)
    for size in (1, 3, 50, len(stream)):
        rest, into = b"", Deliveries()
        notes: list[Note] = []
        for at in range(0, len(stream), size):
            data = rest + stream[at : at + size]
            used, more = take_deliveries(data, into)
            rest, notes = data[used:], notes + more
        assert rest == b""
        assert into.payloads == [p for i in range(1, 6) for p in (b"x" * i, b"hi")]
        assert read_place(into.replies[-1]).stream == 25
        assert [note.verb for note in notes] == ["PING"] * 5 + ["STATUS"]


@pytest.mark.parametrize(
    "line", [b"HMSG a\r\n", b"MSG a 1 b c d e\r\n", b"MSG a 1 r -5\r\n", b"HMSG a 1 r 9 5\r\n"]
)
def test_a_line_that_lies_is_refused(line: bytes) -> None:
    with pytest.raises(WireError):
        take_deliveries(line, Deliveries())


def test_a_delivery_across_accounts_tells_its_place_too() -> None:
    assert read_place(b"$JS.ACK.domain.hash.HUB.c.1.42.7.1760000000000000000.0.rnd").stream == 42
    with pytest.raises(WireError):
        read_place(b"$JS.ACK.HUB")
    assert topic_of(b"hub.x.y") == b"hub/x/y"
