"""What every source promises, over all: a list, a recording, MQTT 5 and 3.1.1, and the log."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import pytest

from core.clock import ManualClock
from core.recording import Recorded, RecordingWriter
from ingest.sources import RawBatch, Source
from ingest.sources.gathering import BATCH_BYTES
from ingest.sources.jetstream import JetStreamSource
from ingest.sources.memory import MemorySource
from ingest.sources.mqtt import MqttSource
from ingest.sources.pauses import Pauses
from ingest.sources.replay import ReplaySource
from tests.publisher import Message, publish
from tests.servers import Mosquitto, Nats

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LOADER = ("loader", "a-password")
INFLIGHT = 80  # what the broker lets a client of 3.1.1 leave unacknowledged


class Rig(Protocol):
    """A broker, and how to read it."""

    async def publish(self, *messages: Message) -> None: ...

    async def open(
        self, *, batch: int = 100, linger: float = 0.02, window: int = 200
    ) -> Source: ...


class MemoryRig:
    def __init__(self) -> None:
        self._all: list[Message] = []
        self._source: MemorySource | None = None

    async def publish(self, *messages: Message) -> None:
        self._all += messages
        if self._source is not None:
            for message in messages:
                await self._source.publish(message.topic.encode(), message.payload)

    async def open(self, *, batch: int = 100, linger: float = 0.02, window: int = 200) -> Source:
        self._source = MemorySource(
            name="memory", clock=ManualClock(NOW), batch=batch, linger=linger, window=window
        )
        for message in self._all:
            await self._source.publish(message.topic.encode(), message.payload)
        return self._source


@dataclass
class ReplayRig:
    """A recording that grows while it is read."""

    path: Path

    async def publish(self, *messages: Message) -> None:
        at = ManualClock(NOW).micros()
        with RecordingWriter(self.path) as recording:
            for m in messages:
                recording.append(Recorded(at, m.topic.encode(), m.payload, m.qos, m.retain))

    async def open(self, *, batch: int = 100, linger: float = 0.02, window: int = 200) -> Source:
        await self.publish()
        return ReplaySource(
            path=self.path,
            name="replay",
            clock=ManualClock(NOW),
            batch=batch,
            linger=linger,
            window=window,
        )


@dataclass
class MqttRig:
    server: Mosquitto
    protocol: str
    epoch: int = 0

    async def publish(self, *messages: Message) -> None:
        await publish(self.server.port, *LOADER, *messages)

    async def open(self, *, batch: int = 100, linger: float = 0.02, window: int = 200) -> Source:
        async def session(held: int) -> tuple[int, str]:
            self.epoch = held or self.epoch + 1
            return self.epoch, "hub-client"

        return MqttSource(
            url=self.server.url,
            name="mqtt",
            clock=ManualClock(NOW),
            session=session,
            protocol=self.protocol,
            batch=batch,
            linger=linger,
            receive_maximum=window,
            inflight_limit=INFLIGHT,
        )

    async def subscribe(self) -> None:
        """Make the session, as the hub's first start does."""
        subscribed = asyncio.Event()

        class Noticed(Pauses):
            def reset(self) -> None:
                subscribed.set()

        source = cast("MqttSource", await self.open())
        source._pauses = Noticed()
        async with aclosing(reading(source, 0)) as batches:
            waiting = asyncio.ensure_future(anext(batches))
            await asyncio.wait_for(subscribed.wait(), 10)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


@dataclass
class JetStreamRig:
    server: Nats

    async def publish(self, *messages: Message) -> None:
        login = urlsplit(self.server.simulator_url)
        await publish(self.server.mqtt_port, login.username or "", login.password or "", *messages)

    async def open(self, *, batch: int = 100, linger: float = 0.02, window: int = 200) -> Source:
        return JetStreamSource(
            url=self.server.url,
            name="log",
            clock=ManualClock(NOW),
            batch=batch,
            linger=linger,
            window=window,
        )


@pytest.fixture(params=["memory", "replay", "mqtt 5", "mqtt 3.1.1", "jetstream"])
def bare_rig(request: pytest.FixtureRequest) -> Rig:
    if request.param == "memory":
        return MemoryRig()
    if request.param == "replay":
        return ReplayRig(request.getfixturevalue("tmp_path") / "traffic.rec")
    if request.param == "jetstream":
        return JetStreamRig(request.getfixturevalue("nats"))
    server: Mosquitto = request.getfixturevalue("mosquitto")
    server.stop()
    server.prepare([LOADER])
    config = server.config.read_text()
    server.config.write_text(
        config.replace("max_inflight_messages 1000", f"max_inflight_messages {INFLIGHT}")
    )
    acl = server.config.with_name("acl")
    acl.write_text(acl.read_text() + f"\nuser {LOADER[0]}\ntopic write hub/#\n")
    server.start()
    return MqttRig(server, request.param.removeprefix("mqtt "))


@pytest.fixture
async def rig(bare_rig: Rig) -> Rig:
    if isinstance(bare_rig, MqttRig):
        await bare_rig.subscribe()
    return bare_rig


def reading(source: Source, position: int) -> Any:
    """The source's iterator, which is a generator and so can be closed."""
    return source.read(position)


def numbered(count: int, start: int = 0) -> list[Message]:
    return [
        Message(f"hub/D-{i % 5}/telemetry", f'{{"seq":{i}}}'.encode())
        for i in range(start, start + count)
    ]


async def take(
    source: Source, count: int, position: int = 0, *, commit: bool = True
) -> tuple[list[bytes], list[RawBatch]]:
    """Read so many messages, then drop the reader as a crash would."""
    payloads: list[bytes] = []
    batches: list[RawBatch] = []
    async with asyncio.timeout(20), aclosing(reading(source, position)) as stream:
        async for batch in stream:
            payloads += batch.payloads
            batches.append(batch)
            if commit:
                await source.committed(batch)
            if len(payloads) >= count:
                break
        await asyncio.sleep(0.2 if commit else 0)  # an acknowledgement takes its time
    return payloads, batches


async def take_for(source: Source, seconds: float, position: int = 0) -> list[bytes]:
    """Read for a while, committing nothing."""
    payloads: list[bytes] = []
    async with aclosing(reading(source, position)) as stream:
        try:
            async with asyncio.timeout(seconds):
                async for batch in stream:
                    payloads += batch.payloads
        except TimeoutError:
            pass
    return payloads


async def test_messages_come_in_the_order_in_which_they_were_published(rig: Rig) -> None:
    sent = numbered(450)
    await rig.publish(*sent)
    payloads, batches = await take(await rig.open(), 450)
    assert payloads == [message.payload for message in sent]
    topics = [topic for batch in batches for topic in batch.topics]
    assert topics == [message.topic.encode() for message in sent]


async def test_a_batch_is_never_longer_than_asked(rig: Rig) -> None:
    await rig.publish(*numbered(250))
    _, batches = await take(await rig.open(batch=64), 250)
    assert max(len(batch) for batch in batches) <= 64
    for batch in batches:
        assert len(batch.topics) == len(batch.payloads) == len(batch.received_at) == len(batch)


async def test_a_batch_of_large_messages_closes_at_its_bytes_and_loses_none(rig: Rig) -> None:
    sent = [
        Message(f"hub/D-{i % 5}/telemetry", b"%04d" % i + b" " * 59_996) for i in range(90)
    ]  # 5.4 MB: three batches in bytes, one in messages
    await rig.publish(*sent)
    payloads, batches = await take(await rig.open(batch=100, linger=0.5), 90)
    assert payloads == [message.payload for message in sent]
    assert max(sum(map(len, batch.payloads)) for batch in batches) <= BATCH_BYTES


async def test_positions_follow_one_another(rig: Rig) -> None:
    await rig.publish(*numbered(120))
    source = await rig.open(batch=50)
    _, batches = await take(source, 120)
    if source.capabilities.offsets:
        assert [batch.after for batch in batches] == [0, *(b.position for b in batches[:-1])]
    else:
        assert {(batch.after, batch.position) for batch in batches} == {(0, 0)}
        assert {batch.epoch for batch in batches} == {2}  # 1 made the session


async def test_a_message_that_was_not_committed_comes_again(rig: Rig) -> None:
    await rig.publish(*numbered(30))
    first, _ = await take(await rig.open(), 30, commit=False)
    again, _ = await take(await rig.open(), 30)
    assert first == again


async def test_a_message_that_was_committed_never_comes_again(rig: Rig) -> None:
    await rig.publish(*numbered(30))
    _, batches = await take(await rig.open(), 30)
    await rig.publish(*numbered(5, start=30))
    later = await take_for(await rig.open(), 1.0, batches[-1].position)
    assert later == [message.payload for message in numbered(5, start=30)]


async def test_what_was_committed_before_a_crash_stays_so_and_the_rest_comes_again(
    rig: Rig,
) -> None:
    await rig.publish(*numbered(90))
    source = await rig.open(batch=30)
    position, taken = 0, 0
    async with asyncio.timeout(20), aclosing(reading(source, 0)) as stream:
        async for batch in stream:
            if taken < 30:
                await source.committed(batch)
                position = batch.position
                committed = taken + len(batch)
            taken += len(batch)
            if taken >= 80:
                break
        await asyncio.sleep(0.2)
    rest, _ = await take(await rig.open(), 90 - committed, position)
    assert rest == [message.payload for message in numbered(90 - committed, start=committed)]


async def test_no_more_is_taken_than_the_window_until_something_is_committed(rig: Rig) -> None:
    await rig.publish(*numbered(300))
    source = await rig.open(batch=20, window=80)
    held: list[RawBatch] = []
    payloads: list[bytes] = []
    async with aclosing(reading(source, 0)) as stream:
        step = asyncio.ensure_future(anext(stream))
        while True:
            done, _ = await asyncio.wait([step], timeout=1.0)
            if not done:
                break
            held.append(step.result())
            step = asyncio.ensure_future(anext(stream))
        taken = sum(map(len, held))
        for batch in held:
            payloads += batch.payloads
            await source.committed(batch)
        while len(payloads) < 300:
            batch = await asyncio.wait_for(step, 10)
            payloads += batch.payloads
            await source.committed(batch)
            if len(payloads) < 300:
                step = asyncio.ensure_future(anext(stream))
    assert taken == 80
    assert payloads == [message.payload for message in numbered(300)]


async def test_a_lonely_message_waits_no_longer_than_the_linger(rig: Rig) -> None:
    await rig.publish(*numbered(1))
    payloads, _ = await asyncio.wait_for(take(await rig.open(batch=100, linger=0.05), 1), 5)
    assert payloads == [b'{"seq":0}']


async def test_messages_come_while_the_reader_waits(rig: Rig) -> None:
    source = await rig.open()
    waiting = asyncio.ensure_future(take(source, 3))
    await asyncio.sleep(0.3)
    await rig.publish(*numbered(3))
    payloads, _ = await waiting
    assert payloads == [message.payload for message in numbered(3)]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 70_000, 1_100_000])
async def test_a_payload_of_any_size_arrives_as_it_was_sent(rig: Rig, size: int) -> None:
    odd = Message("hub/D-1/snapshot", bytes(i % 251 for i in range(size)))
    await rig.publish(*numbered(1), odd, *numbered(1, start=1))
    payloads, _ = await take(await rig.open(), 3)
    assert payloads == [b'{"seq":0}', odd.payload, b'{"seq":1}']


async def test_a_retained_message_is_a_message(rig: Rig) -> None:
    await rig.publish(Message("hub/D-1/state", b'{"online":true}', retain=True), *numbered(1))
    payloads, batches = await take(await rig.open(), 2, commit=False)
    # A broker of 3.1.1 repeats what it retains to each reader that comes: idempotent, a state.
    assert payloads[:2] == [b'{"online":true}', b'{"seq":0}']
    assert batches[0].topics[0] == b"hub/D-1/state"


async def test_messages_are_dated_by_the_hub_s_clock(rig: Rig) -> None:
    await rig.publish(*numbered(3))
    _, batches = await take(await rig.open(), 3)
    assert {at for batch in batches for at in batch.received_at} == {ManualClock(NOW).micros()}
