"""Roll-ups: whatever comes in whatever order, they say what the rows say."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.dirt import Span, gather
from analytics.rollup import roll_up, step
from core import failpoint
from core.clock import ManualClock
from core.db import Pool, open_pool
from core.errors import StoreUnavailableError
from core.failpoint import FailpointError
from core.model import from_micros
from core.rollups import Level
from core.tables import make_tables
from devices import KINDS
from tests.intake import (
    NOON,
    NOON_MICROS,
    SECOND,
    Message,
    add_devices,
    count,
    cover,
    open_pipeline,
    query,
    raw_batch,
    take,
)
from tests.rollups import assert_rolled_up, narrow

HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
LATER = NOON + timedelta(days=3)
MIDNIGHT = datetime(2026, 4, 30, 16, tzinfo=UTC)  # in Shanghai


def at(device: str, seq: int, ago: int, tilt: float = 1.0) -> Message:
    """Return a reading of so many microseconds before noon."""
    return cover(device, seq, ts=NOON_MICROS - ago, tilt=tilt)


async def test_a_bucket_has_what_its_rows_say(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1")
    take(
        database, [at("MH-1", i, (30 - i) * SECOND, tilt) for i, tilt in enumerate([3.0, 1.0, 2.0])]
    )
    await roll_up(pool, ManualClock(LATER))
    minute = NOON - timedelta(minutes=1)
    assert narrow(database, "1m", "tilt") == [(1, minute, 2.0, 1.0, 3.0, 2.0, 3)]
    hour = NOON - timedelta(hours=1)
    assert narrow(database, "1h", "tilt") == [(1, hour, 2.0, 1.0, 3.0, 2.0, 3)]
    assert narrow(database, "1d", "tilt") == [(1, MIDNIGHT, 2.0, 1.0, 3.0, 2.0, 3)]


async def test_a_late_row_updates_its_minute_hour_and_day(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1")
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch([at("MH-1", 5, SECOND)]))
        await roll_up(pool, ManualClock(LATER))
        pipeline.take(
            raw_batch([at("MH-1", 1, 2 * SECOND, 7.0), at("MH-1", 0, 3 * HOUR, 9.0)], after=1)
        )
    await roll_up(pool, ManualClock(LATER))
    assert [row[2:] for row in narrow(database, "1d", "tilt")] == [(17 / 3, 1.0, 9.0, 1.0, 3)]
    assert_rolled_up(database)


async def test_a_value_beyond_its_range_is_not_counted(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1")
    take(database, [at("MH-1", 1, 9 * SECOND), at("MH-1", 2, 8 * SECOND, 999.0)])
    await roll_up(pool, ManualClock(LATER))
    assert [row[2:] for row in narrow(database, "1h", "tilt")] == [(1.0, 1.0, 1.0, 1.0, 1)]
    assert [row[-1] for row in narrow(database, "1h", "batt")] == [2]


async def test_a_bucket_waits_until_it_is_over(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1")
    take(database, [at("MH-1", 1, 90 * SECOND), at("MH-1", 2, 10 * SECOND)])
    clock = ManualClock(NOON - timedelta(seconds=30))
    await roll_up(pool, clock)
    assert narrow(database, "1m", "tilt") == []  # both minutes were marked as one
    clock.advance(30)
    await roll_up(pool, clock)
    assert [len(narrow(database, level, "tilt")) for level in ("1m", "1h", "1d")] == [2, 1, 0]
    clock.advance(4 * 3600)
    await roll_up(pool, clock)
    assert len(narrow(database, "1d", "tilt")) == 1
    assert count(database, "rollup_dirty") == 0


async def test_the_last_row_of_each_device_is_at_hand(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1", "MH-2")
    take(
        database,
        [at("MH-1", 1, DAY, 1.0), at("MH-1", 2, 90 * SECOND, 2.0), at("MH-2", 1, DAY, 3.0)],
    )
    latest = "SELECT device_no, seq, tilt FROM hub.latest_manhole_cover ORDER BY device_no"
    assert query(database, latest) == [(1, 2, 2.0), (2, 1, 3.0)]  # before the job has seen any
    await roll_up(pool, ManualClock(LATER))
    assert count(database, "last_manhole_cover") == 2
    take(database, [at("MH-2", 2, 60 * SECOND, 4.0), at("MH-1", 0, 2 * DAY, 9.0)], source="other")
    assert query(database, latest) == [(1, 2, 2.0), (2, 2, 4.0)]
    await roll_up(pool, ManualClock(LATER))
    assert query(database, latest) == [(1, 2, 2.0), (2, 2, 4.0)]


@pytest.mark.parametrize("point", ["after_rows", "before_commit", "after_commit"])
async def test_a_job_that_dies_anywhere_leaves_the_rest_to_the_next(
    database: str, pool: Pool, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    add_devices(database, "MH-1")
    take(database, [at("MH-1", i, i * 7 * HOUR) for i in range(20)])
    for _ in range(3):
        monkeypatch.setattr(failpoint, "_points", failpoint._parse(f"rollup.{point}:error"))
        with pytest.raises(FailpointError):
            await roll_up(pool, ManualClock(LATER))
        monkeypatch.setattr(failpoint, "_points", {})
    await roll_up(pool, ManualClock(LATER))
    assert_rolled_up(database)
    assert count(database, "rollup_dirty") == 0


async def test_two_jobs_at_once_do_each_thing_once(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1")
    take(database, [at("MH-1", i, i * 7 * HOUR) for i in range(20)])
    async with pool.connection() as other:
        await other.execute("SELECT pg_advisory_lock(1129270356)")
        assert not await step(pool, ManualClock(LATER))
        await other.execute("SELECT pg_advisory_unlock(1129270356)")
    await roll_up(pool, ManualClock(LATER))
    assert_rolled_up(database)


async def test_a_row_that_commits_while_the_job_runs_is_not_forgotten(
    database: str, pool: Pool
) -> None:
    """Its mark is not seen by the job, so it stays for the next pass."""
    add_devices(database, "MH-1")
    take(database, [at("MH-1", 1, 9 * SECOND)])
    with psycopg.connect(database) as slow:  # a writer that takes its time to commit
        slow.execute(
            "INSERT INTO hub.reading_manhole_cover (ts, seq, device_no, tilt) VALUES (%s, 2, 1, 5)",
            [NOON - timedelta(seconds=5)],
        )
        minute = NOON - timedelta(minutes=1)
        slow.execute(
            "INSERT INTO hub.rollup_dirty (level, kind, first, last, devices)"
            " VALUES (0, 'manhole_cover', %s, %s, '{1}')",
            [minute, minute],
        )
        await roll_up(pool, ManualClock(LATER))
        assert [row[-1] for row in narrow(database, "1h", "tilt")] == [1]
    await roll_up(pool, ManualClock(LATER))
    assert_rolled_up(database)


async def test_the_job_waits_for_no_writer_and_no_writer_for_it(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1")
    take(database, [at("MH-1", 1, 9 * SECOND)])
    async with pool.connection() as job, job.transaction():
        await job.execute("DELETE FROM hub.rollup_dirty")
        await job.execute("SELECT * FROM hub.reading_manhole_cover")
        with psycopg.connect(database) as writer:
            writer.execute("SET lock_timeout = '100ms'")
            writer.execute(
                "INSERT INTO hub.reading_manhole_cover (ts, device_no) VALUES (%s, 1)", [NOON]
            )


async def test_readings_of_an_older_version_are_rolled_up_too(database: str, pool: Pool) -> None:
    add_devices(database, "MH-1", "MH-2")
    take(database, [at(f"MH-{1 + i % 2}", i, i * 7 * HOUR) for i in range(20)])
    with psycopg.connect(database) as conn:
        conn.execute("DELETE FROM hub.rollup_dirty")
        conn.execute("DELETE FROM hub.rollup_kind")
        make_tables(conn, [kind.table for kind in KINDS.values()])
    await roll_up(pool, ManualClock(LATER))
    assert_rolled_up(database)


async def test_an_outage_of_the_database_is_told_as_such(database: str) -> None:
    async with open_pool(database.rpartition("/")[0] + "/no_such_database", 1, name="test") as pool:
        with pytest.raises(StoreUnavailableError):
            await step(pool, ManualClock(NOON))


Reading = tuple[int, int, float]
readings = st.tuples(
    st.integers(1, 3),
    st.one_of(st.integers(0, 7200), st.integers(0, 400 * 86_400)),  # seconds before noon
    st.sampled_from([0.0, 1.5, 90.0, 500.0]),
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(readings, min_size=1, max_size=12), min_size=1, max_size=5))
async def test_any_order_of_arrival_gives_what_the_rows_say(
    database: str, pool: Pool, batches: list[list[Reading]]
) -> None:
    """Late, doubled, shuffled, out of range; the job runs between batches."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "TRUNCATE hub.reading_manhole_cover, hub.rollup_1m_manhole_cover, hub.rollup_dirty,"
            " hub.rollup_1h_manhole_cover, hub.rollup_1d_manhole_cover, hub.last_manhole_cover,"
            " hub.device_seen, hub.source_offset"
        )
        if not count(database, "device"):
            add_devices(database, "MH-1", "MH-2", "MH-3")
    clock, after = ManualClock(NOON + timedelta(seconds=1)), 0
    with open_pipeline(database, clock=clock) as pipeline:
        for number, batch in enumerate(batches):
            messages = [
                at(f"MH-{device}", hash((device, ago)) % 1000, ago * SECOND, tilt)
                for device, ago, tilt in batch
            ]
            pipeline.take(raw_batch(messages, after=after, received_at=NOON_MICROS))
            after += len(messages)
            if number % 2 == 0:
                await roll_up(pool, clock)
    await roll_up(pool, ManualClock(LATER))
    assert_rolled_up(database)
    newest = query(
        database,
        "SELECT DISTINCT ON (device_no) device_no, ts, seq FROM hub.reading_manhole_cover"
        " ORDER BY device_no, ts DESC, seq DESC",
    )
    last = "SELECT device_no, ts, seq FROM hub.last_manhole_cover ORDER BY 1"
    assert query(database, last) == newest


ORIGIN = datetime(1999, 12, 31, 16, tzinfo=UTC)


def test_a_thousand_marks_of_an_hour_become_one_span() -> None:
    minute = timedelta(minutes=1)
    marks = [
        Span(NOON + i % 60 * minute, NOON + (i % 60 + 1) * minute, frozenset({i % 9}))
        for i in range(1000)
    ]
    hour = Span(NOON, NOON + timedelta(hours=1), frozenset(range(9)))
    assert gather(marks, Level.MINUTE, ORIGIN) == [hour]


def test_a_year_of_one_device_becomes_a_span_a_day() -> None:
    hour = timedelta(hours=1)
    marks = [Span(NOON - i * hour, NOON - (i - 1) * hour, frozenset({1})) for i in range(24 * 365)]
    spans = gather(marks, Level.MINUTE, ORIGIN)
    assert len(spans) == 365
    assert spans == sorted(spans, key=lambda span: span.first, reverse=True)


def test_a_day_of_all_devices_is_computed_an_hour_at_a_time() -> None:
    day = Span(MIDNIGHT, MIDNIGHT + timedelta(days=1), None)
    assert len(gather([day], Level.MINUTE, ORIGIN)) == 24


def test_the_first_bucket_after_a_time_begins_no_earlier() -> None:
    assert Level.DAY.ceil(MIDNIGHT, ORIGIN) == MIDNIGHT
    assert Level.DAY.ceil(from_micros(NOON_MICROS), ORIGIN) == MIDNIGHT + timedelta(days=1)
