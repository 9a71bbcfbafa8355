"""What is past its time is dropped, and nothing that a roll-up still needs."""

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from analytics.retention import drop_old, keep_of
from analytics.rollup import LOCK, roll_up
from core.clock import ManualClock
from core.db import Pool
from core.errors import ConfigError
from core.settings import Storage, load_settings
from tests.intake import (
    COVER,
    NOON,
    NOON_MICROS,
    SECOND,
    add_devices,
    count,
    cover,
    open_pipeline,
    query,
    raw_batch,
    take,
)
from tests.rollups import narrow

DAY = 86_400 * SECOND
CLOCK = ManualClock(NOON + timedelta(days=2))


def days(number: int) -> list[tuple[str, bytes]]:
    """Return a reading a day, so many days back."""
    return [cover("MH-1", i, ts=NOON_MICROS - i * DAY, tilt=float(i % 100)) for i in range(number)]


def keep(**spans: int) -> dict[str, Any]:
    return {COVER.name: {what: timedelta(days=n) for what, n in spans.items()}}


async def test_old_readings_go_and_their_roll_ups_stay(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1")
    take(database, days(40))
    await roll_up(pool, CLOCK)
    dropped = await drop_old(pool, CLOCK, keep(readings=12))
    assert len(dropped) == 29
    assert count(database, "reading_manhole_cover") == 11
    assert [len(narrow(database, level, "tilt")) for level in ("1m", "1h", "1d")] == [40, 40, 40]


async def test_nothing_goes_that_is_not_rolled_up_yet(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1")
    take(database, days(40))
    assert await drop_old(pool, CLOCK, keep(readings=12, minutes=5, hours=20)) == []
    assert count(database, "reading_manhole_cover") == 40


async def test_each_level_has_a_time_of_its_own(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1")
    take(database, days(400), new_days=400)
    await roll_up(pool, CLOCK)
    await drop_old(pool, CLOCK, keep(readings=100, minutes=30, hours=200))
    assert count(database, "reading_manhole_cover") == 99
    minutes, hours, whole = (len(narrow(database, n, "tilt")) for n in ("1m", "1h", "1d"))
    assert minutes == 29
    assert 198 <= hours < 230  # whole months
    assert whole == 400
    assert await drop_old(pool, CLOCK, keep(readings=100, minutes=30, hours=200)) == []


async def test_a_late_row_finds_its_hour_where_the_minutes_are_gone(
    database: str, pool: Pool
) -> None:
    add_devices(database, "MH-1")
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch(days(60)))
        await roll_up(pool, CLOCK)
        await drop_old(pool, CLOCK, keep(minutes=10))
        late = cover("MH-1", 999, ts=NOON_MICROS - 40 * DAY + 60 * SECOND, tilt=100.0)
        pipeline.take(raw_batch([late], after=60))
    await roll_up(pool, CLOCK)
    hour = NOON - timedelta(days=40)
    assert [row[2:] for row in narrow(database, "1h", "tilt") if row[1] == hour] == [
        (70.0, 40.0, 100.0, 100.0, 2)
    ]
    assert len(narrow(database, "1m", "tilt")) == 9


async def test_a_row_that_comes_after_its_day_was_dropped_changes_no_roll_up(
    database: str, pool: Pool
) -> None:
    """What is left of such a day would give a bucket of one row."""
    add_devices(database, "MH-1")
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch(days(60)))
        await roll_up(pool, CLOCK)
        before = {level: narrow(database, level, "tilt") for level in ("1m", "1h", "1d")}
        await drop_old(pool, CLOCK, keep(readings=10))
        late = cover("MH-1", 999, ts=NOON_MICROS - 40 * DAY + 60 * SECOND, tilt=100.0)
        pipeline.take(raw_batch([late], after=60))
    await roll_up(pool, CLOCK)
    assert {level: narrow(database, level, "tilt") for level in before} == before
    assert count(database, "rollup_dirty") == 0
    await drop_old(pool, CLOCK, keep(readings=10))
    assert count(database, "reading_manhole_cover") == 9


async def test_a_table_in_use_is_dropped_with_the_next_pass(database: str, pool: Pool) -> None:
    """A writer never queues behind retention for longer than a tenth of a second."""
    add_devices(database, "MH-1")
    take(database, days(20))
    await roll_up(pool, CLOCK)
    with psycopg.connect(database) as reader:
        reader.execute("SELECT count(*) FROM hub.reading_manhole_cover")
        assert await drop_old(pool, CLOCK, keep(readings=12)) == []
    assert len(await drop_old(pool, CLOCK, keep(readings=12))) == 9


async def test_retention_waits_for_a_step_of_the_roll_up_job(database: str, pool: Pool) -> None:
    """No bucket is computed of readings that vanish meanwhile, and no day waits another hour."""
    add_devices(database, "MH-1")
    take(database, days(20))
    await roll_up(pool, CLOCK)
    async with pool.connection() as job:
        await job.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        dropping = asyncio.create_task(drop_old(pool, CLOCK, keep(readings=12)))
        done, _ = await asyncio.wait([dropping], timeout=0.3)
        await job.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    assert not done
    assert len(await dropping) == 9


async def test_a_writer_that_knew_a_dropped_day_makes_it_anew(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1")
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch(days(20)))
        await roll_up(pool, CLOCK)
        await drop_old(pool, CLOCK, keep(readings=12))
        pipeline.take(raw_batch([cover("MH-1", 77, ts=NOON_MICROS - 15 * DAY)], after=20))
    assert count(database, "reading_manhole_cover") == 12
    assert query(database, "SELECT count(*) FROM hub.quarantine") == [(0,)]


def test_a_kind_may_be_kept_for_another_time_than_the_others() -> None:
    storage = Storage(keep_of_kinds=("sanitation_worker.readings=90",))
    kept = keep_of(storage.days_kept)
    assert kept["sanitation_worker"]["readings"] == timedelta(days=90)
    assert kept["manhole_cover"]["readings"] == timedelta(days=400)
    assert kept["manhole_cover"]["days"] is None


@pytest.mark.parametrize(
    "storage",
    [
        {"keep_hours": 30},
        {"keep_readings": 0},
        {"keep_of_kinds": ["manhole_cover.readings=9999"]},
        {"keep_of_kinds": ["manhole_cover.weeks=9"]},
    ],
)
def test_what_is_made_of_something_may_not_go_before_it(storage: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="storage"):
        load_settings(None, {}, storage=storage)
