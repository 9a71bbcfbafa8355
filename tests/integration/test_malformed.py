"""Ten thousand messages that no hub should take, among good ones, through the real worker."""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import cycle, islice
from urllib.parse import urlsplit

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.clock import Clock, SystemClock
from core.errors import PayloadError
from devices import KINDS
from ingest.envelopes import native
from ingest.session import claiming, identifying
from ingest.sources.jetstream import JetStreamSource
from ingest.sources.memory import MemorySource
from ingest.sources.mqtt import MqttSource
from simulators.publisher import ACCEPTED, connect_packet, publish_packet
from tests.intake import (
    SECOND,
    Message,
    add_devices,
    codes,
    count,
    cover,
    ledger,
    query,
    retire,
    running_worker,
)
from tests.malformed import BROKEN_RECORDS
from tests.publisher import Message as Published
from tests.publisher import publish
from tests.servers import Mosquitto, Nats

SEED = 20260501
GOOD = [f"MH-{i}" for i in range(20)]
READING = b'{"tilt":1}'
ANY_TOPIC = re.compile(r".+")
OF_DEVICES = re.compile(r"hub/[A-Za-z0-9_-]+/(telemetry|event|state)")

MISPLACED: dict[str, list[Message]] = {
    "unknown_device": [("hub/MH-404/telemetry", READING), ("hub/nobody/state", b'{"online":true}')],
    "device_retired": [("hub/MH-R/telemetry", READING)],
    "identity": [("hub/MH-B/telemetry", b'{"d":"MH-1","tilt":1}')],
    "no_readings": [("hub/GW-1/telemetry", READING)],
    "wrong_topic": [
        ("hub/MH-1", READING),
        ("hub/MH-1/telemetry/x", READING),
        ("hub/a/b/c/d", READING),
    ],
    "bad_device_id": [("hub/MH.1/telemetry", READING), ("hub/MH*1/telemetry", READING)],
    "unknown_message": [("hub/MH-1/selfie", READING), ("hub/MH-1/command", b"{}")],
    "snapshot_unsupported": [("hub/MH-1/snapshot", b"\xff\xd8"), ("hub/MH-1/thumb", b"\xff\xd8")],
    "too_large": [("hub/MH-B/telemetry", b'{"tilt":1,"x":"%b"}' % (b"a" * 256_000))],
    "no_event_name": [("hub/MH-B/event", b"{}"), ("hub/MH-B/event", b'{"e":7}')],
}


def hand_written() -> list[tuple[str, Message]]:
    """Return a message of each kind of fault, with the code that we say it must have."""
    classes = [(code, ("hub/MH-B/telemetry", p)) for code, ps in BROKEN_RECORDS.items() for p in ps]
    return classes + [(code, message) for code, ms in MISPLACED.items() for message in ms]


def broken(number: int, of: re.Pattern[str] = ANY_TOPIC) -> Iterator[tuple[str, Message]]:
    """Yield malformed messages with their codes: each there is, then half and half by chance.

    Args:
        number: How many.
        of: Topics that the sender may write to.
    """
    classes = [item for item in hand_written() if of.fullmatch(item[1][0])]
    chance = found_by_chance()
    yield from classes
    yield from chance
    rng = random.Random(SEED)
    for _ in range(number - len(classes) - len(chance)):
        yield rng.choice(rng.choice((classes, chance)))


@cache
def found_by_chance(number: int = 2_000) -> list[tuple[str, Message]]:
    """Return payloads made by hypothesis that the exact reader refuses, with its codes.

    Made once for all tests and not by the ten thousand: two milliseconds each on an idle machine,
    they took longer than the hub took to refuse them.
    """
    found: list[tuple[str, Message]] = []
    text = st.text(max_size=40)
    value = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=6,
    )
    key = st.sampled_from(["t", "ts", "seq", "h", "q", "tilt", "gap", "c", "r"]) | text
    bodies = st.dictionaries(key, value, max_size=5).map(lambda d: repr(d).encode(errors="replace"))
    json_like = st.dictionaries(key, value, max_size=5).map(_json)

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(max_size=200) | bodies | json_like)
    def collect(payload: bytes) -> None:
        code = None
        try:
            for _, fields in native.records(native.parse(payload), 500):
                with suppress(KeyError):
                    native.child_of(fields)
                    native.read_record(fields, KINDS["manhole_cover"])
        except PayloadError as error:
            code = error.code
        if code is not None and not isinstance(_parsed(payload), list):
            found.append((code, ("hub/MH-B/telemetry", payload)))

    collect()
    return found


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _parsed(payload: bytes) -> object:
    try:
        body = native.parse(payload)
    except PayloadError:
        return None
    return [] if isinstance(body, dict) and ("c" in body or "r" in body) else body


def mixture(
    bad: list[tuple[str, Message]], good: int, clock: Clock
) -> tuple[list[Message], Counter[str]]:
    """Return good and bad messages in one stream, and how many of each code must be found."""
    now = clock.micros()
    expected = Counter(code for code, _ in bad)
    plain = [cover(GOOD[i % 20], i, ts=now - i * SECOND // 1000 * 1000) for i in range(good)]
    places = sorted(random.Random(SEED).sample(range(len(bad) + good), good))
    stream: list[Message] = [message for _, message in bad]
    for place, message in zip(places, plain, strict=True):
        stream.insert(place, message)
    return stream, expected


def prepare(database: str) -> None:
    add_devices(database, *GOOD, "MH-B", "MH-R")
    add_devices(database, "GW-1", kind="gateway")
    retire(database, "MH-R")


def check(database: str, expected: Counter[str], good: int) -> None:
    assert codes(database) == expected
    assert count(database, "reading_manhole_cover") == good
    bad = expected.total()
    assert ledger(database) == (good + bad, good, 0, bad)
    assert (
        query(database, "SELECT 1 FROM hub.quarantine WHERE detail_zh = '' OR detail_en = ''") == []
    )


async def test_14_ten_thousand_malformed_messages_lose_no_good_one(database: str) -> None:
    prepare(database)
    clock = SystemClock()
    stream, expected = mixture(list(broken(10_000)), 5_000, clock)
    assert expected.total() == 10_000
    source = MemorySource(name="test", clock=clock, batch=1_000)
    for topic, payload in stream:
        await source.publish(topic.encode(), payload)
    async with running_worker(database, source, clock), asyncio.timeout(120):
        await source.drained()
    check(database, expected, 5_000)
    assert expected.keys() >= {*BROKEN_RECORDS, *MISPLACED}


async def test_14_ten_thousand_malformed_messages_over_mosquitto(
    database: str, mosquitto: Mosquitto
) -> None:
    prepare(database)
    let_write_everywhere(mosquitto)
    clock = SystemClock()
    stream, expected = mixture(list(islice(cycle(hand_written()), 10_000)), 5_000, clock)
    assert expected.total() == 10_000
    source = MqttSource(
        url=mosquitto.url,
        name="test",
        clock=clock,
        session=claiming(database, "test"),
        client_id=mosquitto.user,
    )
    async with running_worker(database, source, clock) as worker:
        await until(database, "SELECT 1 FROM hub.source_offset WHERE epoch > 0")
        await asyncio.sleep(0.5)  # the subscription follows the claim
        await send(mosquitto.port, "loader", "loader", stream)
        await until(database, f"SELECT 1 FROM hub.ledger HAVING sum(received) >= {len(stream)}")
        check(database, expected, 5_000)
        # Row 15: the broker cuts off who sends 10 MB, and the hub never sees it.
        big = ("hub/MH-1/telemetry", b"9" * 10**7)
        assert await is_cut_off(mosquitto.port, "loader", "loader", *big)
        await send(mosquitto.port, "loader", "loader", [cover("MH-1", 10**6)])
        await until(database, "SELECT 1 FROM hub.reading_manhole_cover WHERE seq = 1000000")
        assert not worker.done()


async def test_14_ten_thousand_malformed_messages_over_the_embedded_broker(
    database: str, nats: Nats
) -> None:
    """Where the broker keeps everybody to their topics, what is left is in the payload."""
    prepare(database)
    clock = SystemClock()
    stream, expected = mixture(list(broken(10_000, OF_DEVICES)), 5_000, clock)
    assert expected.total() == 10_000
    source = JetStreamSource(
        url=nats.url, name="test", clock=clock, identify=identifying(database, "test")
    )
    login = urlsplit(nats.simulator_url)
    async with running_worker(database, source, clock):
        await send(nats.mqtt_port, str(login.username), str(login.password), stream)
        await until(database, f"SELECT 1 FROM hub.ledger HAVING sum(received) >= {len(stream)}")
    check(database, expected, 5_000)


def let_write_everywhere(mosquitto: Mosquitto) -> None:
    """Add a login that no access list holds back: what devices may not send must be met too."""
    mosquitto.stop()
    mosquitto.prepare([("loader", "loader")])
    with (mosquitto.config.parent / "acl").open("a") as acl:
        acl.write("\nuser loader\ntopic write #\n")
    mosquitto.start()


async def is_cut_off(port: int, user: str, password: str, topic: str, payload: bytes) -> bool:
    """Publish one message; return whether the broker closes the connection instead of taking it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(connect_packet(user, user, password))
        assert await reader.readexactly(4) == ACCEPTED
        writer.write(publish_packet(1, topic, payload))
        return await reader.read(4) != b"\x40\x02\x00\x01"
    except ConnectionError:
        return True
    finally:
        writer.close()


async def send(port: int, user: str, password: str, stream: list[Message]) -> None:
    messages = [Published(topic, payload) for topic, payload in stream]
    await publish(port, user, password, *messages, client_id="loader")


async def until(database: str, statement: str) -> None:
    """Wait until a statement has a row."""
    async with asyncio.timeout(120):
        while not await asyncio.to_thread(query, database, statement):
            await asyncio.sleep(0.1)
