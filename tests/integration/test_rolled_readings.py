"""What the API says by bucket: the same figures whether from roll-ups, from rows, or from both."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from analytics.retention import drop_old
from analytics.rollup import roll_up
from api.reads.readings import Bucket, Span
from api.reads.rolled import Reach, raw_parts, rolled_readings
from api.store import look
from core.clock import ManualClock
from core.db import Pool
from core.rollups import Level
from tests.intake import (
    COVER,
    NOON,
    NOON_MICROS,
    SECOND,
    add_devices,
    cover,
    open_pipeline,
    raw_batch,
)

ZONE = ZoneInfo("Asia/Shanghai")
ORIGIN = datetime(1999, 12, 31, 16, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def ask(
    pool: Pool, bucket: Bucket, start: datetime, end: datetime, zone: ZoneInfo = ZONE
) -> list[dict[str, Any]]:
    async with look(pool) as looking:
        span = Span(1, COVER, ["tilt", "batt"], start, end, newest_first=False)
        return await rolled_readings(looking, span, bucket, zone)


def rounded(items: list[dict[str, Any]]) -> list[Any]:
    """Return them with averages that may differ in the order of summation only."""
    return [
        (
            item["at"],
            {n: {**f, "avg": f["avg"] and round(f["avg"], 9)} for n, f in item["metrics"].items()},
        )
        for item in items
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_roll_ups_and_rows_give_the_same_figures(
    database: str, pool: Pool, seed: int
) -> None:
    """Late rows, doubles and values out of range come while the job is at different points."""
    chance = random.Random(seed)
    add_devices(database, "MH-1", "MH-2")
    clock = ManualClock(NOON + timedelta(seconds=1))
    after = 0
    with open_pipeline(database, clock=clock) as pipeline:
        for number in range(8):
            messages = []
            for _ in range(60):
                ago = int(chance.expovariate(1 / 20_000)) * SECOND
                tilt = chance.choice([1.0, 2.5, 90.0, 999.0])
                device = chance.choice(["MH-1", "MH-1", "MH-2"])
                messages.append(cover(device, ago % 997, ts=NOON_MICROS - ago, tilt=tilt))
            messages += messages[:5]
            pipeline.take(raw_batch(messages, after=after, received_at=NOON_MICROS))
            after += len(messages)
            if number < 7 and chance.random() < 0.6:
                await roll_up(pool, clock)
    ends = [
        (NOON - 30 * HOUR, NOON + HOUR),
        (NOON - timedelta(hours=29, minutes=17, seconds=3), NOON - timedelta(minutes=1, seconds=7)),
    ]
    buckets: list[Bucket] = ["1m", "1h", "1d"]
    mixed = [rounded(await ask(pool, b, *span)) for b in buckets for span in ends]
    await roll_up(pool, ManualClock(NOON + timedelta(days=2)))
    rolled = [rounded(await ask(pool, b, *span)) for b in buckets for span in ends]
    with psycopg.connect(database) as conn:
        conn.execute("DELETE FROM hub.rollup_kind")
    raw = [rounded(await ask(pool, b, *span)) for b in buckets for span in ends]
    assert all(raw)
    assert mixed == raw
    assert rolled == raw


async def test_buckets_of_another_zone_come_from_the_rows(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1")
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch([cover("MH-1", 1)]))
    await roll_up(pool, ManualClock(NOON + timedelta(days=2)))
    days = await ask(pool, "1d", NOON - 24 * HOUR, NOON + 24 * HOUR, ZoneInfo("Asia/Kathmandu"))
    assert [day["at"] for day in days] == [datetime(2026, 4, 30, 18, 15, tzinfo=UTC)]


async def test_what_is_no_longer_there_as_rows_is_there_as_roll_ups(
    database: str, pool: Pool
) -> None:
    add_devices(database, "MH-1")
    with open_pipeline(database) as pipeline:
        pipeline.take(
            raw_batch([cover("MH-1", i, ts=NOON_MICROS - i * 86_400 * SECOND) for i in range(9)])
        )
    clock = ManualClock(NOON + timedelta(days=2))
    await roll_up(pool, clock)
    before = rounded(await ask(pool, "1h", NOON - 240 * HOUR, NOON + HOUR))
    await drop_old(pool, clock, {COVER.name: {"readings": timedelta(days=5)}})
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM hub.reading_manhole_cover").fetchone() == (4,)
    assert rounded(await ask(pool, "1h", NOON - 240 * HOUR, NOON + HOUR)) == before
    cut = NOON - timedelta(days=7, minutes=30)  # in the midst of an hour without rows of its own
    assert len(await ask(pool, "1d", cut, NOON + HOUR)) == 8


def test_a_question_that_cuts_buckets_looks_at_the_rows_of_both_ends() -> None:
    early = datetime(2000, 1, 1, tzinfo=UTC)
    reach = Reach(Level.HOUR, ORIGIN, early, early)
    half = timedelta(minutes=30)
    assert raw_parts((NOON - half, NOON + half), [], reach) == [(NOON - half, NOON + half)]
    assert raw_parts((NOON - 5 * HOUR, NOON), [], reach) == []
    late = [(NOON - 3 * HOUR, NOON - 3 * HOUR + timedelta(minutes=1))]
    assert raw_parts((NOON - 5 * HOUR, NOON), late, reach) == [(NOON - 3 * HOUR, NOON - 2 * HOUR)]


def test_many_stretches_are_read_as_one() -> None:
    early = datetime(2000, 1, 1, tzinfo=UTC)
    reach = Reach(Level.HOUR, ORIGIN, early, early)
    late = [(NOON - i * HOUR, NOON - i * HOUR + timedelta(minutes=1)) for i in range(2, 40, 2)]
    assert len(raw_parts((NOON - 50 * HOUR, NOON), late, reach)) == 1
