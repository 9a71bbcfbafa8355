"""The embedded log at its quota: what is committed makes room, what is not is never dropped."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import urlsplit

import nats as nats_py
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cityhub.folder import DataFolder
from core.clock import SystemClock
from ingest.sources.jetstream import JetStreamSource
from ingest.sources.log import read_fill
from ingest.sources.log_watch import watch_log
from tests.servers import Nats, open_folder, run_nats

MIB = 1 << 20
QUOTA = 64 * MIB


@pytest.fixture
def small() -> Iterator[Nats]:
    """The embedded broker with the smallest quota."""
    with open_folder() as path, DataFolder(path) as folder:
        server = run_nats(folder, max_log_bytes=QUOTA)
        try:
            yield server
        finally:
            server.stop()


class Devices:
    """A client that sends messages of 1 MiB, again and again until each is acknowledged."""

    def __init__(self, nats: Nats) -> None:
        login = urlsplit(nats.simulator_url)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "devices", clean_session=False)
        self._client.username_pw_set(login.username, login.password)
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(1)
        self._client.on_publish = self._note
        self._client.connect("127.0.0.1", nats.mqtt_port)
        self._client.loop_start()
        self._numbers: dict[int, int] = {}
        self._acknowledged: set[int] = set()

    def _note(self, *arguments: Any) -> None:
        self._acknowledged.add(arguments[2])

    def send(self, first: int, count: int) -> None:
        """Send messages that begin with their number."""
        for number in range(first, first + count):
            payload = b"%08d" % number + bytes(MIB - 8)
            self._numbers[self._client.publish("hub/MH-1/telemetry", payload, 1).mid] = number

    @property
    def acknowledged(self) -> set[int]:
        """The numbers that the broker took over."""
        return {self._numbers[mid] for mid in self._acknowledged & self._numbers.keys()}

    async def settle(self) -> set[int]:
        """Wait until nothing more is acknowledged; return what was."""
        while True:
            before = len(self._acknowledged)
            await asyncio.sleep(2)
            if len(self._acknowledged) == before:
                return self.acknowledged

    def stop(self) -> None:
        """Say nothing more."""
        self._client.loop_stop()


async def store(nats: Nats, wanted: int) -> list[int]:
    """Take messages in, with the watch beside, until so many different ones are committed."""
    source = JetStreamSource(url=nats.url, name="small", clock=SystemClock(), batch=8, window=16)
    watching = asyncio.create_task(watch_log(nats.url, source, every=0.1))
    stored: list[int] = []
    reading: Any = source.read(0)
    try:
        async with asyncio.timeout(60), aclosing(reading) as batches:
            async for batch in batches:
                stored += [int(payload[:8]) for payload in batch.payloads]
                await source.committed(batch)
                if len(set(stored)) >= wanted:
                    return stored
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    raise AssertionError("reading never ends")


async def test_far_more_than_the_quota_passes_through_a_log_that_is_read(small: Nats) -> None:
    devices = Devices(small)
    try:
        devices.send(0, 120)
        assert set(await store(small, 120)) == set(range(120))
        assert len(await devices.settle()) == 120
        assert await read_fill(small.url) < 1
    finally:
        devices.stop()


async def test_a_log_that_nobody_reads_refuses_at_its_quota_and_drops_nothing(small: Nats) -> None:
    devices = Devices(small)
    try:
        devices.send(0, 80)
        taken = await devices.settle()
        assert 30 < len(taken) < 64, "all that has room, and no more"
        assert await read_fill(small.url) > 0.9
        stored = await store(small, 80)
        assert taken <= set(stored)
        assert set(stored) == set(range(80)), "what was refused came again"
    finally:
        devices.stop()


async def test_what_is_not_committed_is_not_trimmed(small: Nats) -> None:
    devices = Devices(small)
    source = JetStreamSource(url=small.url, name="small", clock=SystemClock())
    source.position = 3
    watching = asyncio.create_task(watch_log(small.url, source, every=0.05))
    try:
        devices.send(0, 30)
        await devices.settle()
        client = await nats_py.connect(small.url)
        state = (await client.jetstream().stream_info("HUB")).state
        await client.close()
        assert (state.first_seq, state.last_seq) == (4, 30)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        devices.stop()


async def test_a_smaller_quota_keeps_what_the_log_holds() -> None:
    with open_folder() as path, DataFolder(path) as folder:
        for quota in (4 * QUOTA, QUOTA, QUOTA):
            server = Nats(folder, max_log_bytes=quota)
            await server.start()
            try:
                devices = Devices(server)
                if quota > QUOTA:
                    devices.send(0, 60)
                    assert len(await devices.settle()) == 60
                client = await nats_py.connect(server.url)
                assert (await client.jetstream().stream_info("HUB")).state.messages == 60
                await client.close()
                devices.stop()
            finally:
                server.stop()
