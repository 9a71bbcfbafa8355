"""Lamps compared with their own hour and with their circuit, in the database."""

from datetime import UTC, datetime, timedelta

import pytest

from analytics.likeness import compare_all
from core.batch import Finding
from core.clock import ManualClock
from core.db import Pool
from tests.batches import told

NOW = datetime(2026, 6, 9, 14, 20, tzinfo=UTC)  # 22:20 in the city
LAMPS = [f"SL-{n:02}" for n in range(12)]


@pytest.fixture
async def street(pool: Pool) -> Pool:
    """Twelve lamps on a feeder, a week of whose hours is known: 120 W at this one."""
    async with pool.connection() as conn:
        await conn.execute("INSERT INTO hub.device (device_id, kind) VALUES ('FD-1', 'feeder')")
        for lamp in LAMPS:
            await conn.execute(
                "INSERT INTO hub.device (device_id, kind, feeder) VALUES (%s, 'street_lamp', %s)",
                [lamp, "FD-1"],
            )
        for day in range(1, 8):
            at = NOW.replace(minute=0) - timedelta(days=day)
            start = f"hub.rollup_1h_street_lamp_{at:%Y%m}"
            await conn.execute(
                f"CREATE TABLE IF NOT EXISTS {start} PARTITION OF hub.rollup_1h_street_lamp"
                " FOR VALUES FROM ('2026-06-01') TO ('2026-07-01')"
            )
            await conn.execute(
                "INSERT INTO hub.rollup_1h_street_lamp"
                " (at, device_no, power_avg, power_min, power_max, power_count)"
                " SELECT %s, device_no, 119 + %s, 118, 122, 12 FROM hub.device"
                " WHERE kind = 'street_lamp'",
                [at, day % 3],
            )
    return pool


async def burn(pool: Pool, clock: ManualClock, watts: dict[str, float]) -> None:
    async with pool.connection() as conn:
        for lamp in LAMPS:
            await conn.execute(
                "INSERT INTO hub.last_street_lamp (ts, device_no, power, quality)"
                " SELECT %s, device_no, %s, 0 FROM hub.device WHERE device_id = %s"
                " ON CONFLICT (device_no) DO UPDATE SET ts = excluded.ts, power = excluded.power",
                [clock.now(), watts.get(lamp, 120.0), lamp],
            )


async def minutes(
    pool: Pool, clock: ManualClock, count: int, watts: dict[str, float]
) -> list[Finding]:
    found: list[Finding] = []
    for _ in range(count):
        clock.advance(60)
        await burn(pool, clock, watts)
        found += await compare_all(pool, clock) or []
    return found


async def test_a_healthy_street_is_quiet(street: Pool) -> None:
    assert await minutes(street, ManualClock(NOW), 15, {"SL-03": 118, "SL-04": 123}) == []


async def test_a_lamp_nobody_switched_on_is_told_beside_its_burning_neighbours(
    street: Pool,
) -> None:
    clock = ManualClock(NOW)
    found = await minutes(street, clock, 15, {"SL-03": 0.8})
    assert told(found) == [("lamp_unlike", "open")]
    (finding,) = found
    assert finding.detail["neighbour_median"] == 120
    assert finding.detail["neighbour_count"] == 12
    assert finding.expected == pytest.approx(120, abs=1)
    assert "120 W" in finding.explain.zh
    assert finding.detail["z"] < -6
    assert told(await minutes(street, clock, 15, {})) == [("lamp_unlike", "clear")]


async def test_a_dark_circuit_is_one_finding_on_its_feeder(street: Pool) -> None:
    clock = ManualClock(NOW)
    found = await minutes(street, clock, 15, dict.fromkeys(LAMPS[1:], 0.8))
    assert told(found) == [("feeder_down", "open")]
    async with street.connection() as conn:
        row = await (
            await conn.execute(
                "SELECT device_id FROM hub.finding JOIN hub.device USING (device_no)"
            )
        ).fetchall()
    assert row == [("FD-1",)]
    assert told(await minutes(street, clock, 15, {})) == [("feeder_down", "clear")]


async def test_a_lamp_that_always_differs_is_not_told(street: Pool) -> None:
    async with street.connection() as conn:  # a lamp of 60 W on a street of 120 W
        await conn.execute(
            "UPDATE hub.rollup_1h_street_lamp SET power_avg = 60, power_min = 59, power_max = 61"
            " WHERE device_no = (SELECT device_no FROM hub.device WHERE device_id = 'SL-03')"
        )
    assert await minutes(street, ManualClock(NOW), 15, {"SL-03": 60}) == []


async def test_the_hour_of_dusk_says_nothing(street: Pool) -> None:
    async with street.connection() as conn:
        await conn.execute("UPDATE hub.rollup_1h_street_lamp SET power_min = 0.8")
    assert await minutes(street, ManualClock(NOW), 15, {"SL-03": 0.8}) == []


async def test_a_short_glimpse_is_forgotten(street: Pool) -> None:
    clock = ManualClock(NOW)
    assert await minutes(street, clock, 5, {"SL-03": 0.8}) == []
    assert await minutes(street, clock, 15, {}) == []
