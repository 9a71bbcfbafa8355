"""The worker: reading and committing side by side, whatever the database does meanwhile."""

import asyncio
import logging

import psycopg
import pytest

from core.clock import ManualClock, SystemClock
from core.errors import LeaseLostError
from core.metrics import FENCED, RECORDS, UNACKED_SECONDS
from core.settings import Ingest
from ingest.sources.memory import MemorySource
from ingest.worker import run_worker, split
from tests.intake import (
    NOON,
    NOON_MICROS,
    SECOND,
    Message,
    Stages,
    add_devices,
    count,
    cover,
    end_sessions,
    ledger,
    no_stages,
    query,
    raw_batch,
    running_worker,
    take,
)


def memory(**options: int) -> MemorySource:
    return MemorySource(name="test", clock=ManualClock(NOON), **options)


async def publish(source: MemorySource, *messages: Message) -> None:
    for topic, payload in messages:
        await source.publish(topic.encode(), payload)


async def until_drained(source: MemorySource) -> None:
    async with asyncio.timeout(30):
        await source.drained()


async def test_stores_what_comes_in_the_order_in_which_it_comes(database: str) -> None:
    add_devices(database, "MH-1", "MH-2")
    source, stages = memory(batch=7), Stages()
    clock = ManualClock(NOON)
    async with running_worker(database, source, clock, build_stages=stages):
        for i in range(1, 100):
            await publish(source, cover("MH-1", 200 - i), cover("MH-2", 200 - i))
        await until_drained(source)
    assert ledger(database) == (198, 198, 0, 0)
    for device in (1, 2):
        seen = [seq for number, seq in stages.watcher.seen if number == device]
        assert seen == sorted(seen, reverse=True)


async def test_6_an_outage_of_the_database_loses_nothing_and_steps_nothing_twice(
    database: str,
) -> None:
    add_devices(database, "MH-1")
    source, stages = memory(batch=5), Stages()
    async with running_worker(database, source, ManualClock(NOON), build_stages=stages):
        for i in range(60):
            await publish(source, cover("MH-1", i))
            if i % 15 == 0:
                await asyncio.to_thread(end_sessions, database)
        await until_drained(source)
    assert ledger(database) == (60, 60, 0, 0)
    assert len(stages.watcher.seen) == 60


async def test_at_most_three_batches_are_taken_off_the_wire(database: str) -> None:
    """While the database holds a commit back, memory stays bounded."""
    add_devices(database, "MH-1")
    source = memory(batch=10)
    with psycopg.connect(database) as lock:
        lock.execute("LOCK TABLE hub.reading_manhole_cover")
        async with running_worker(database, source, SystemClock()):
            await publish(source, *[cover("MH-1", i) for i in range(100)])
            await asyncio.sleep(0.5)
            assert source._read == 30
            (gauge,) = UNACKED_SECONDS.labels("test").collect()
            assert gauge.samples[0].value > 0
            lock.rollback()
            await until_drained(source)
    assert ledger(database) == (100, 100, 0, 0)


async def test_5_a_worker_that_was_replaced_says_so_and_ends(database: str) -> None:
    add_devices(database, "MH-1")
    source = memory()
    fenced = FENCED.labels("test")._value.get()
    task = asyncio.create_task(
        run_worker(
            url=database,
            source=source,
            build_stages=no_stages,
            settings=Ingest(),
            clock=ManualClock(NOON),
        )
    )
    await publish(source, cover("MH-1", 1))
    await until_drained(source)
    take(database, [cover("MH-1", 2)], after=1)  # the successor
    await publish(source, cover("MH-1", 3))
    with pytest.raises(LeaseLostError):
        await asyncio.wait_for(task, 10)
    assert FENCED.labels("test")._value.get() == fenced + 1
    assert query(database, "SELECT seq FROM hub.reading_manhole_cover ORDER BY seq") == [(1,), (2,)]


async def test_a_worker_on_a_log_steps_what_came_after_the_last_snapshot(database: str) -> None:
    add_devices(database, "MH-1")
    source, clock = memory(batch=4), ManualClock(NOON)
    stages = Stages()
    async with running_worker(database, source, clock, build_stages=stages):
        await publish(source, *[cover("MH-1", 50 - i) for i in range(2)])
        await until_drained(source)  # a snapshot is taken with the first batch
        await publish(source, *[cover("MH-1", 40 - i) for i in range(3)])
        await until_drained(source)
    before = stages.watcher.seen
    async with running_worker(database, source, clock, build_stages=stages):
        await publish(source, *[cover("MH-1", 30 - i) for i in range(3)])
        await until_drained(source)
    assert stages.watcher.seen[:5] == before
    assert [seq for _, seq in stages.watcher.seen] == [50, 49, 40, 39, 38, 30, 29, 28]
    assert ledger(database) == (8, 8, 0, 0)


async def test_a_device_added_while_the_worker_runs_is_known(database: str) -> None:
    source = memory()
    async with running_worker(database, source, ManualClock(NOON)):
        await publish(source, cover("MH-1", 1))
        await until_drained(source)
        add_devices(database, "MH-1")
        await publish(source, cover("MH-1", 2))
        await until_drained(source)
        for seq in range(3, 100):  # until the nudge has come
            await publish(source, cover("MH-1", seq))
            await until_drained(source)
            if count(database, "reading_manhole_cover"):
                break
            await asyncio.sleep(0.05)
    assert count(database, "reading_manhole_cover") > 0


async def test_records_are_counted_for_the_operators(database: str) -> None:
    def counted() -> dict[str, float]:
        names = ("stored", "duplicate", "quarantined")
        return {name: RECORDS.labels("test", name)._value.get() for name in names}

    add_devices(database, "MH-1")
    before, source = counted(), memory()
    async with running_worker(database, source, ManualClock(NOON)):
        await publish(source, cover("MH-1", 1), cover("MH-1", 1), ("hub/MH-1/telemetry", b"?"))
        await until_drained(source)
    grown = {name: value - before[name] for name, value in counted().items()}
    assert grown == {"stored": 1, "duplicate": 1, "quarantined": 1}


async def test_16_a_device_gone_mad_does_not_hold_the_others_up(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    add_devices(database, "MH-1", "MH-2")
    source = MemorySource(name="test", clock=SystemClock())
    caplog.set_level(logging.WARNING)
    now = SystemClock().micros()
    async with running_worker(database, source, SystemClock()):
        for i in range(10_000):
            await publish(source, cover("MH-1", i, ts=now - i))
        await publish(source, cover("MH-2", 1, ts=now))
        start = asyncio.get_running_loop().time()
        await until_drained(source)
        assert asyncio.get_running_loop().time() - start < 5
    assert count(database, "reading_manhole_cover") == 10_001


def test_a_batch_is_parted_where_the_database_stands() -> None:
    messages = [cover("MH-1", i) for i in range(4)]
    received = [NOON_MICROS + i * SECOND for i in range(4)]
    raw = raw_batch(messages, after=10, received_at=received)
    assert [(d.known, len(d.raw)) for d in split(raw, 10)] == [(False, 4)]
    assert [(d.known, len(d.raw)) for d in split(raw, 14)] == [(True, 4)]
    known, new = split(raw, 13)
    assert (known.known, known.raw.after, known.raw.position) == (True, 10, 13)
    assert (new.known, new.raw.after, new.raw.position) == (False, 13, 14)
    assert known.raw.payloads + new.raw.payloads == raw.payloads
    assert new.raw.received_at == received[3:]
