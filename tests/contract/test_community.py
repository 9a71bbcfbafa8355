"""TimescaleDB's community edition: columnstore, continuous aggregates, the same names."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from analytics.retention import Keep, drop_old
from analytics.rollup import roll_up
from core.clock import ManualClock
from core.db import Connection, Pool
from core.migrate import migrate
from core.tables import Edition, make_tables, read_edition
from devices import KINDS
from tests.intake import COVER, NOON, add_devices, count, query
from tests.pglite import open_community
from tests.rollups import assert_rolled_up, narrow

HOUR: Final = timedelta(hours=1)
CLOCK: Final = ManualClock(NOON + timedelta(days=2))
_INSERT: Final = """
INSERT INTO hub.reading_manhole_cover (ts, seq, device_no, tilt, quality)
SELECT ts, seq, device_no, tilt, 0
  FROM unnest(%s::timestamptz[], %s::int8[], %s::int4[], %s::real[]) AS u (ts, seq, device_no, tilt)
    ON CONFLICT DO NOTHING
"""
_MARK: Final = """
INSERT INTO hub.rollup_dirty (level, kind, first, last, devices)
SELECT 0, 'manhole_cover', date_trunc('minute', ts), date_trunc('minute', ts), ARRAY[device_no]
  FROM unnest(%s::timestamptz[], %s::int4[]) AS u (ts, device_no)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with open_community() as url:
        migrate(url)
        with psycopg.connect(url) as conn:
            make_tables(conn, [COVER.table, KINDS["street_lamp"].table])
        add_devices(url, "MH-1", "MH-2")
        yield url


@pytest.fixture
def community(server: str) -> str:
    """The URL of the only database there is, without readings."""
    tables = ["reading", "rollup_1m", "rollup_1h", "rollup_1d"]
    drop = "SELECT drop_chunks(%s::regclass, older_than => '2100-01-01'::timestamptz)"
    with psycopg.connect(server, autocommit=True) as conn:
        for table in tables:
            conn.execute(drop, [f"hub.{table}_manhole_cover"])
        conn.execute("TRUNCATE hub.rollup_dirty, hub.last_manhole_cover")
        conn.execute("UPDATE hub.rollup_kind SET raw_from = 'epoch', minute_from = 'epoch'")
    return server


@pytest.fixture
async def pool(community: str) -> AsyncIterator[Pool]:
    """A pool of one connection, which prepares nothing: all clients share one session."""
    options = {"autocommit": True, "prepare_threshold": None}
    async with AsyncConnectionPool[Connection](
        community, min_size=1, max_size=1, kwargs=options, open=False
    ) as pool:
        yield pool


def store(url: str, rows: list[tuple[datetime, int, int, float]]) -> None:
    """Store readings and mark what they touch, as the writer does."""
    ts, seq, device_no, tilt = (list(column) for column in zip(*rows, strict=True))
    with psycopg.connect(url) as conn:
        conn.execute(_INSERT, [ts, seq, device_no, tilt])
        conn.execute(_MARK, [ts, device_no])


def hourly(number: int, device_no: int = 1) -> list[tuple[datetime, int, int, float]]:
    return [(NOON - i * HOUR, i, device_no, float(i % 90)) for i in range(number)]


def chunks(url: str) -> list[tuple[Any, ...]]:
    """Return whether each chunk of readings lies in the columnstore, oldest first."""
    return query(
        url,
        "SELECT is_compressed FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'reading_manhole_cover' ORDER BY range_start",
    )


def columnstore_job(url: str) -> int:
    """Return the policy's number."""
    ((job,),) = query(
        url,
        "SELECT job_id FROM timescaledb_information.jobs"
        " WHERE hypertable_name = 'reading_manhole_cover' AND proc_name = 'policy_compression'",
    )
    return int(job)


def test_it_is_known_for_what_it_is(community: str) -> None:
    with psycopg.connect(community) as conn:
        assert read_edition(conn) is Edition.TIMESCALE_COMMUNITY


def test_the_views_have_the_names_and_columns_of_plain_postgresql(
    community: str, database: str
) -> None:
    columns = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'hub' AND table_name IN"
        " ('reading', 'rollup_1m', 'rollup_1h', 'rollup_1d', 'latest_manhole_cover')"
        " ORDER BY table_name, ordinal_position"
    )
    assert query(community, columns) == query(database, columns)
    assert len(query(community, columns)) > 30


async def test_roll_ups_are_continuous_aggregates_that_late_rows_update(
    community: str, pool: Pool
) -> None:
    aggregates = "SELECT view_name FROM timescaledb_information.continuous_aggregates ORDER BY 1"
    assert ("rollup_1h_manhole_cover",) in query(community, aggregates)
    store(community, hourly(100))
    await roll_up(pool, CLOCK)
    assert_rolled_up(community)
    store(community, [(NOON - 50 * HOUR + timedelta(minutes=1), 999, 1, 7.5), *hourly(30, 2)])
    await roll_up(pool, CLOCK)
    assert_rolled_up(community)
    assert count(community, "rollup_dirty") == 0
    assert query(community, "SELECT count(*) FROM hub.last_manhole_cover") == [(2,)]


async def test_the_policy_puts_old_chunks_into_the_columnstore(community: str, pool: Pool) -> None:
    store(community, [(NOON - i * HOUR / 300, i, 1, 1.0) for i in range(6000)])
    size = "SELECT hypertable_size('hub.reading_manhole_cover')"
    ((before,),) = query(community, size)
    with psycopg.connect(community, autocommit=True) as conn:
        conn.execute(f"CALL run_job({columnstore_job(community)})".encode())
    assert all(compressed for (compressed,) in chunks(community))
    assert query(community, size)[0][0] < before / 2
    await roll_up(pool, CLOCK)
    assert_rolled_up(community)


async def test_a_late_row_goes_into_the_columnstore_and_a_duplicate_does_not(
    community: str, pool: Pool
) -> None:
    store(community, hourly(48))
    with psycopg.connect(community, autocommit=True) as conn:
        conn.execute(f"CALL run_job({columnstore_job(community)})".encode())
    await roll_up(pool, CLOCK)
    store(community, [(NOON - 30 * HOUR + timedelta(minutes=1), 999, 1, 7.5), *hourly(48)])
    assert count(community, "reading_manhole_cover") == 49
    await roll_up(pool, CLOCK)
    assert_rolled_up(community)


async def test_old_chunks_go_and_their_roll_ups_stay(community: str, pool: Pool) -> None:
    store(community, [(NOON - i * 24 * HOUR, i, 1, float(i)) for i in range(40)])
    keep: dict[str, Keep] = {
        "manhole_cover": {"readings": timedelta(days=12), "minutes": timedelta(days=5)}
    }
    assert await drop_old(pool, CLOCK, keep) == []  # not rolled up yet
    await roll_up(pool, CLOCK)
    days = narrow(community, "1d", "tilt")
    assert await drop_old(pool, CLOCK, keep)
    assert count(community, "reading_manhole_cover") == 11
    assert len(narrow(community, "1m", "tilt")) < 40
    late = NOON - 30 * 24 * HOUR + timedelta(seconds=1)
    store(community, [(late, 999, 1, 50.0)])
    store(community, [(NOON - 13 * HOUR, 998, 1, 60.0)])
    await roll_up(pool, CLOCK)
    after = narrow(community, "1d", "tilt")
    assert after[:-2] == days[:-2]
    assert after != days
    assert len(after) == 40
