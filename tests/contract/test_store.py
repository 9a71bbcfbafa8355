"""What every storage edition must do: plain PostgreSQL with day partitions, and TimescaleDB."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from analytics.retention import What, drop_old
from analytics.rollup import roll_up
from core.clock import ManualClock
from core.db import open_pool
from core.migrate import migrate
from core.model import from_micros
from core.tables import make_tables, read_edition
from devices import KINDS
from tests.intake import (
    COVER,
    NOON,
    NOON_MICROS,
    SECOND,
    add_devices,
    count,
    cover,
    ledger,
    open_pipeline,
    query,
    raw_batch,
    take,
    telemetry,
    values_of,
)
from tests.rollups import assert_rolled_up

DAY = 86_400 * SECOND


@pytest.fixture(params=["plain", "timescaledb"])
def edition(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated database of its own, of each edition in turn."""
    if request.param == "plain":
        yield request.getfixturevalue("database")
        return
    server = request.getfixturevalue("timescaledb")
    name = f"cityhub_test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = make_conninfo(server, dbname=name)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    migrate(url)
    with psycopg.connect(url) as conn:
        assert read_edition(conn).hypertables
        make_tables(conn, [kind.table for kind in KINDS.values()])
    yield url
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_stores_each_value_where_it_belongs(edition: str) -> None:
    add_devices(edition, "MH-1")
    numbers = {metric.name: metric.rest for metric in COVER.metrics}
    body = ",".join(f'"{name}":{value}' for name, value in numbers.items())
    take(
        edition, [telemetry("MH-1", b'{"t":%d,"seq":7,%s}' % (NOON_MICROS // 1000, body.encode()))]
    )
    (row,) = values_of(edition, ", ".join(["ts", "seq", *numbers, "quality", "extra"]))
    assert row == (from_micros(NOON_MICROS), 7, *numbers.values(), 0, None)


def test_what_is_not_measured_is_null(edition: str) -> None:
    add_devices(edition, "MH-1")
    take(edition, [telemetry("MH-1", b'{"seq":1,"tilt":null,"batt":3.5}')])
    assert values_of(edition, "tilt, gap, batt") == [(None, None, 3.5)]


def test_keeps_extra_beside_its_own_row(edition: str) -> None:
    add_devices(edition, "MH-1")
    t = NOON_MICROS // 1000
    payloads = [b'{"t":%d,"tilt":%d%s}' % (t + i, i, b',"fog":%d' % i * (i % 2)) for i in range(6)]
    take(edition, [telemetry("MH-1", payload) for payload in payloads])
    assert values_of(edition, "tilt, extra") == [
        (0, None),
        (1, {"fog": 1}),
        (2, None),
        (3, {"fog": 3}),
        (4, None),
        (5, {"fog": 5}),
    ]


def test_counts_what_is_there_already_as_duplicate(edition: str) -> None:
    add_devices(edition, "MH-1")
    first, again = [cover("MH-1", i) for i in range(3)], [cover("MH-1", i) for i in range(1, 5)]
    with open_pipeline(edition) as pipeline:
        pipeline.take(raw_batch(first))
        pipeline.take(raw_batch(again, after=3))
        pipeline.take(raw_batch([cover("MH-1", 9)], after=7))
    assert count(edition, "reading_manhole_cover") == 6
    assert ledger(edition) == (8, 6, 2, 0)


def test_two_copies_in_one_batch_are_one_row(edition: str) -> None:
    add_devices(edition, "MH-1")
    take(edition, [cover("MH-1", 1), cover("MH-1", 1)])
    assert ledger(edition) == (2, 1, 1, 0)


def test_a_record_without_counter_is_known_by_its_content(edition: str) -> None:
    add_devices(edition, "MH-1")
    t = NOON_MICROS // 1000
    payloads = [b'{"t":%d,"tilt":%d}' % (t, tilt) for tilt in (1, 2, 1)]
    take(edition, [telemetry("MH-1", payload) for payload in payloads])
    assert sorted(values_of(edition, "tilt")) == [(1,), (2,)]
    assert ledger(edition) == (3, 2, 1, 0)


def test_a_batch_may_span_400_days_and_two_writers(edition: str) -> None:
    add_devices(edition, "MH-1", "MH-2")
    failed: list[BaseException] = []

    def write(device: str) -> None:
        try:
            messages = [cover(device, i, ts=NOON_MICROS - i * DAY) for i in range(400)]
            take(edition, messages, source=device.lower().replace("-", "_"), new_days=400)
        except BaseException as error:  # noqa: BLE001 - told by the assertion below
            failed.append(error)

    threads = [threading.Thread(target=write, args=[device]) for device in ("MH-1", "MH-2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert query(
        edition, "SELECT device_no, count(*) FROM hub.reading_manhole_cover GROUP BY 1 ORDER BY 1"
    ) == [(1, 400), (2, 400)]


def test_the_narrow_view_shows_what_was_measured(edition: str) -> None:
    add_devices(edition, "MH-1")
    take(edition, [cover("MH-1", 1, tilt=2.5)])
    rows = query(edition, "SELECT metric, value FROM hub.reading ORDER BY metric")
    assert [name for name, _ in rows] == ["batt", "tilt"]
    assert np.allclose([value for _, value in rows], [3.6, 2.5])


def test_a_refused_row_leaves_its_neighbours_alone(edition: str) -> None:
    """The database is taught to refuse one row, as a constraint of a site might."""
    add_devices(edition, "MH-1")
    with psycopg.connect(edition) as conn:
        conn.execute("ALTER TABLE hub.reading_manhole_cover ADD CONSTRAINT ours CHECK (tilt <> 66)")
    take(edition, [cover("MH-1", i, tilt=66.0 if i == 5 else 1.0) for i in range(20)])
    assert count(edition, "reading_manhole_cover") == 19
    assert ledger(edition) == (20, 19, 0, 1)
    assert query(edition, "SELECT stage, code, device_no FROM hub.quarantine") == [
        ("store", "store_rejected", 1)
    ]


async def test_a_year_that_comes_late_is_rolled_up_on_every_edition(edition: str) -> None:
    add_devices(edition, "MH-1", "MH-2")
    live = [cover("MH-1", 9_000 + i) for i in range(5)]
    late = [cover("MH-2", i, ts=NOON_MICROS - i * 4 * DAY, tilt=float(i % 90)) for i in range(100)]
    later = ManualClock(NOON + timedelta(days=2))
    async with open_pool(edition, 2, name="test") as pool:
        with open_pipeline(edition) as pipeline:
            pipeline.take(raw_batch(live))
            await roll_up(pool, later)
            pipeline.take(raw_batch(late, after=5))
            pipeline.take(raw_batch(late[:50], after=105))  # again
        await roll_up(pool, later)
    assert_rolled_up(edition)
    assert count(edition, "rollup_dirty") == 0
    assert query(edition, "SELECT count(*) FROM hub.latest_manhole_cover") == [(2,)]


async def test_retention_drops_what_is_old_on_every_edition(edition: str) -> None:
    add_devices(edition, "MH-1")
    take(edition, [cover("MH-1", i, ts=NOON_MICROS - i * DAY) for i in range(40)])
    later = ManualClock(NOON + timedelta(days=2))
    keep: dict[What, timedelta | None] = {
        "readings": timedelta(days=12),
        "minutes": timedelta(days=5),
    }
    async with open_pool(edition, 2, name="test") as pool:
        assert await drop_old(pool, later, {COVER.name: keep}) == []  # not rolled up yet
        await roll_up(pool, later)
        assert await drop_old(pool, later, {COVER.name: keep})
        assert count(edition, "reading_manhole_cover") == 11
        counts = "SELECT count(*) FROM hub.rollup_{} WHERE metric = 'tilt'"
        assert query(edition, counts.format("1m")) == [(4,)]
        assert query(edition, counts.format("1d")) == [(40,)]
        with open_pipeline(edition, source="late") as pipeline:
            pipeline.take(raw_batch([cover("MH-1", 99, ts=NOON_MICROS - 30 * DAY + SECOND)]))
        await roll_up(pool, later)
    assert query(edition, counts.format("1d")) == [(40,)]
    assert count(edition, "rollup_dirty") == 0
