"""Gauges of a river in the database: a drift that neighbours prove, and where a rise comes from."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from analytics.rivers import compare
from core.batch import Finding
from core.clock import ManualClock
from core.db import Pool
from tests.batches import told

NOW = datetime(2026, 6, 3, 0, 20, tzinfo=UTC)
GAUGES = ("WG-1", "WG-2", "WG-3")


@pytest.fixture
async def river(pool: Pool) -> Pool:
    """A rain gauge, and three gauges that follow one another."""
    async with pool.connection() as conn:
        await conn.execute("INSERT INTO hub.device (device_id, kind) VALUES ('RG-1', 'rain_gauge')")
        for gauge in GAUGES:
            await conn.execute(
                "INSERT INTO hub.device (device_id, kind) VALUES (%s, 'water_gauge')", [gauge]
            )
        for child, parent in (("WG-1", "RG-1"), ("WG-2", "WG-1"), ("WG-3", "WG-2")):
            await conn.execute(
                "INSERT INTO hub.topology_edge (child, parent, kind) VALUES (%s, %s, 'hydrology')",
                [child, parent],
            )
        for table in ("rollup_1h_water_gauge", "reading_water_gauge", "reading_rain_gauge"):
            await conn.execute(
                f"CREATE TABLE hub.{table}_of_june PARTITION OF hub.{table}"
                " FOR VALUES FROM ('2026-06-01') TO ('2026-08-01')"
            )
    return pool


async def hour(pool: Pool, at: datetime, levels: tuple[float, ...]) -> None:
    async with pool.connection() as conn:
        for gauge, level in zip(GAUGES, levels, strict=True):
            await conn.execute(
                "INSERT INTO hub.rollup_1h_water_gauge (at, device_no, level_avg)"
                " SELECT %s, device_no, %s FROM hub.device WHERE device_id = %s",
                [at, level, gauge],
            )


async def run(pool: Pool, hours: int, creep: float) -> list[Finding]:
    """Let the river breathe for some hours; the middle gauge creeps away after ten days."""
    clock, chance = ManualClock(NOW), np.random.default_rng(4)
    found: list[Finding] = []
    for n in range(hours):
        wave = 0.2 * np.sin(n / 7) + 0.1 * np.sin(n / 31)
        noise = 0.003 * chance.standard_normal(3)
        off = creep * min(max(n - 240, 0) / 50, 1)
        levels = (2 + wave + noise[0], 1.5 + 0.9 * wave + noise[1] + off, 1 + 0.8 * wave + noise[2])
        await hour(pool, NOW.replace(minute=0) + timedelta(hours=n - 1), levels)
        found += await compare(pool, clock) or []
        clock.advance(3600)
    return found


async def test_a_drift_that_both_neighbours_prove_is_told_once(river: Pool) -> None:
    found = await run(river, 300, 0.3)
    assert told(found) == [("drift", "open")]
    (finding,) = found
    async with river.connection() as conn:
        row = await (
            await conn.execute("SELECT device_no FROM hub.device WHERE device_id = 'WG-2'")
        ).fetchone()
    assert row is not None
    assert finding.device_no == row[0]
    assert "相邻站" in finding.explain.zh
    assert "二者之一" not in finding.explain.zh


async def test_gauges_that_follow_one_another_are_left_alone(river: Pool) -> None:
    assert await run(river, 300, 0.0) == []


async def rise(pool: Pool, gauge: str, clock: ManualClock) -> None:
    async with pool.connection() as conn:
        await conn.execute(
            "INSERT INTO hub.finding (device_no, rule_id, detector, kind, metric, edge, ts,"
            " first_ts, received_at, severity, value, expected, explain_zh, explain_en)"
            " SELECT device_no, 'rise_rate', 'gauge', 'rise', 'level', 'open', %(now)s, %(now)s,"
            " %(now)s, 3, 2.6, 2.4, '涨', 'up' FROM hub.device WHERE device_id = %(gauge)s",
            {"now": clock.now(), "gauge": gauge},
        )


async def reading(pool: Pool, device: str, at: datetime, metric: str, x: float) -> None:
    table = "reading_rain_gauge" if metric == "rain" else "reading_water_gauge"
    async with pool.connection() as conn:
        await conn.execute(
            f"INSERT INTO hub.{table} (device_no, ts, seq, quality, {metric})"
            " SELECT device_no, %s, 0, 0, %s FROM hub.device WHERE device_id = %s",
            [at, x, device],
        )


async def test_a_rise_after_rain_says_where_it_comes_from(river: Pool) -> None:
    clock = ManualClock(NOW)
    await reading(river, "RG-1", NOW - timedelta(hours=1), "rain", 24.5)
    await rise(river, "WG-1", clock)
    (finding,) = await compare(river, clock) or []
    assert finding.flags == ("explained",)
    assert finding.explain.zh == "上涨来自上游：RG-1 降雨 24.5 mm"
    assert await compare(river, clock) == []


async def test_a_rise_that_nothing_upstream_explains_is_suspect_after_a_while(river: Pool) -> None:
    clock = ManualClock(NOW)
    await rise(river, "WG-2", clock)
    for minutes in range(3):
        at = NOW + timedelta(minutes=10 * minutes - 10)
        await reading(river, "RG-1", at, "rain", 0.0)
        await reading(river, "WG-1", at, "level", 2.0)
    assert await compare(river, clock) == []
    clock.advance(1000)
    (finding,) = await compare(river, clock) or []
    assert finding.flags == ("suspect",)
    assert "存疑" in finding.explain.zh


async def test_a_rise_below_a_station_that_is_not_heard_is_not_doubted(river: Pool) -> None:
    clock = ManualClock(NOW)
    await rise(river, "WG-2", clock)
    clock.advance(2000)
    assert await compare(river, clock) == []
