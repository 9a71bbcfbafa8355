import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from analytics.periods import Periods
from analytics.silence import TRY_LOCK, run_sweep, sweep
from core.batch import Finding
from core.clock import ManualClock
from core.db import Pool, transaction
from tests.batches import told

START = datetime(2026, 6, 1, 8, tzinfo=UTC)
ADD = """
INSERT INTO hub.device (device_id, kind, gateway, feeder, interval_s, state)
VALUES (%s, %s, %s, %s, %s, %s) RETURNING device_no
"""
HEAR = """
INSERT INTO hub.device_seen (device_no, last_contact_at)
SELECT device_no, %s FROM hub.device WHERE device_id = ANY(%s)
ON CONFLICT (device_no) DO UPDATE SET last_contact_at = excluded.last_contact_at
"""


async def add(
    pool: Pool,
    *device_ids: str,
    kind: str = "street_lamp",
    gateway: str | None = None,
    feeder: str | None = None,
    interval: float | None = None,
    state: str = "active",
) -> None:
    async with pool.connection() as conn:
        for device_id in device_ids:
            await conn.execute(ADD, [device_id, kind, gateway, feeder, interval, state])


async def hear(pool: Pool, clock: ManualClock, *device_ids: str) -> None:
    async with pool.connection() as conn:
        await conn.execute(HEAR, [clock.now(), list(device_ids)])


async def passes(pool: Pool, clock: ManualClock, minutes: int, *heard: str) -> list[Finding]:
    """Sweep twice a minute, while these devices go on."""
    found: list[Finding] = []
    for _ in range(2 * minutes):
        clock.advance(30)
        if heard:
            await hear(pool, clock, *heard)
        found += await sweep(pool, clock) or []
    return found


async def stored(pool: Pool) -> list[tuple[str, str, str]]:
    async with pool.connection() as conn:
        rows = await conn.execute(
            "SELECT device_id, rule_id, edge FROM hub.finding JOIN hub.device USING (device_no)"
            " ORDER BY finding_id"
        )
        return await rows.fetchall()


async def test_a_silent_lamp_is_told_once_and_again_when_it_is_heard(pool: Pool) -> None:
    clock = ManualClock(START)
    await add(pool, "SL-1", "SL-2")
    await hear(pool, clock, "SL-1", "SL-2")
    found = await passes(pool, clock, 60, "SL-2")
    assert told(found) == [("offline", "open")]
    assert found[0].explain.en == "nothing heard for 46 min; expected at least every 15 min"
    assert found[0].explain.zh == "已 46 分钟未收到任何消息（应至少每 15 分钟一次）"
    assert found[0].limit == 2700
    await hear(pool, clock, "SL-1")
    assert told(await passes(pool, clock, 1, "SL-2")) == [("offline", "clear")]
    assert await stored(pool) == [("SL-1", "offline", "open"), ("SL-1", "offline", "clear")]


async def test_a_silent_gateway_is_one_finding_on_its_own_row(pool: Pool) -> None:
    clock = ManualClock(START)
    lamps = [f"SL-{n}" for n in range(10)]
    await add(pool, "GW-1", kind="gateway")
    await add(pool, *lamps, gateway="GW-1")
    await add(pool, "SL-99")
    await hear(pool, clock, *lamps, "SL-99")
    found = await passes(pool, clock, 120, "SL-99")
    assert told(found) == [("gateway_offline", "open")]
    assert found[0].detail == {
        "feature": "silence_together",
        "neighbour_count": 10,
        "devices": lamps,
        "carried": 10,
    }
    assert found[0].explain.zh == "网关下 10 台设备中有 10 台同时失联"
    assert told(await passes(pool, clock, 1, "SL-99", *lamps)) == [("gateway_offline", "clear")]
    assert await stored(pool) == [
        ("GW-1", "gateway_offline", "open"),
        ("GW-1", "gateway_offline", "clear"),
    ]


async def test_a_device_with_an_interval_of_its_own_keeps_it_busy_or_idle(pool: Pool) -> None:
    clock = ManualClock(START)
    await add(pool, "SL-1", interval=60)  # the kind's lamps may be quiet for 15 minutes by day
    await add(pool, "SL-2")
    await hear(pool, clock, "SL-1", "SL-2")
    assert told(await passes(pool, clock, 4, "SL-2")) == [("offline", "open")]


async def test_a_dark_feeder_is_one_finding_and_not_sixty(pool: Pool) -> None:
    clock = ManualClock(START)
    lamps = [f"SL-{n:02}" for n in range(60)]
    await add(pool, "FD-7", kind="feeder")
    await add(pool, "GW-1", kind="gateway")
    await add(pool, *lamps, gateway="GW-1", feeder="FD-7")
    await add(pool, *[f"SL-{n}" for n in range(100, 200)], gateway="GW-1")
    others = [f"SL-{n}" for n in range(100, 200)]
    await hear(pool, clock, *lamps, *others)
    found = await passes(pool, clock, 120, *others)
    assert told(found) == [("feeder_down", "open")]
    assert found[0].explain.zh == "回路上 60 台设备中有 60 台同时失联，疑似失电"
    assert told(await passes(pool, clock, 1, *lamps, *others)) == [("feeder_down", "clear")]


async def test_who_sleeps_was_never_heard_or_is_in_maintenance_is_not_judged(pool: Pool) -> None:
    clock = ManualClock(START)
    await add(pool, "SW-1", kind="sanitation_worker")
    await add(pool, "SL-1", state="maintenance")
    await add(pool, "SL-2", "SL-3")
    await hear(pool, clock, "SW-1", "SL-1", "SL-3")
    assert await passes(pool, clock, 120, "SL-3") == []


async def test_a_restart_announces_nothing_twice_and_an_outage_nobody(pool: Pool) -> None:
    clock = ManualClock(START)
    await add(pool, "SL-1", "SL-2", "SL-3")
    await hear(pool, clock, "SL-1", "SL-2", "SL-3")
    assert len(await passes(pool, clock, 60, "SL-2", "SL-3")) == 1
    clock.advance(6 * 3600)  # nobody sweeps: the hub is down
    assert await passes(pool, clock, 44, "SL-2") == []
    assert told(await passes(pool, clock, 5, "SL-2")) == [("offline", "open")]


async def test_in_the_grace_nobody_is_announced(pool: Pool) -> None:
    clock = ManualClock(START)
    await add(pool, "SL-1", "SL-2")
    await hear(pool, clock, "SL-1", "SL-2")
    later = clock.micros() + 3 * 3600 * 1_000_000
    for _ in range(100):
        clock.advance(30)
        await hear(pool, clock, "SL-2")
        assert await sweep(pool, clock, judged_from=later) == []


async def test_one_sweep_at_a_time(pool: Pool) -> None:
    clock = ManualClock(START)
    async with transaction(pool) as conn:
        await conn.execute(TRY_LOCK)
        assert await sweep(pool, clock) is None
    assert await sweep(pool, clock) == []


async def test_a_damaged_memory_starts_anew(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock(START)
    await sweep(pool, clock)
    async with pool.connection() as conn:
        await conn.execute("UPDATE hub.detector_state SET state = '\\xc1'")
    assert await sweep(pool, clock) == []
    assert "memory of silent devices is lost" in caplog.text


async def test_the_role_sweeps_for_ever_and_wakes_whoever_waits(pool: Pool) -> None:
    clock = ManualClock(START)
    await add(pool, "SL-1", "SL-2", interval=1)
    await hear(pool, clock, "SL-1", "SL-2")
    await sweep(pool, clock)
    async with pool.connection() as listener:
        await listener.execute("LISTEN hub_finding")
        role = asyncio.create_task(run_sweep(pool=pool, clock=clock, every=0.01, grace=0))
        try:
            for _ in range(100):
                clock.advance(timedelta(minutes=1).total_seconds())
                await hear(pool, clock, "SL-2")
                if [notice async for notice in listener.notifies(timeout=0.05, stop_after=1)]:
                    break
        finally:
            role.cancel()
            await asyncio.gather(role, return_exceptions=True)
    assert ("SL-1", "offline", "open") in await stored(pool)


async def test_a_silent_operators_network_is_one_finding_whatever_its_gateways(pool: Pool) -> None:
    clock = ManualClock(START)
    await add(pool, "NW-1", kind="network")
    lost = [f"MH-{n:02}" for n in range(20)]
    await add(pool, *lost, *[f"MH-{n}" for n in range(60, 90)], kind="manhole_cover", interval=300)
    await add(pool, "SL-1", interval=60)
    async with pool.connection() as conn:
        await conn.execute("UPDATE hub.device SET network = 'NW-1' WHERE kind = 'manhole_cover'")
    others = [f"MH-{n}" for n in range(60, 90)]
    await hear(pool, clock, *lost, *others, "SL-1")
    found = await passes(pool, clock, 40, *others, "SL-1")
    assert told(found) == [("network_down", "open")]
    assert found[0].detail["carried"] == 50
    assert told(await passes(pool, clock, 1, *lost, *others, "SL-1")) == [("network_down", "clear")]


async def test_a_silent_grid_cell_is_one_finding_on_a_row_made_for_it(pool: Pool) -> None:
    clock = ManualClock(START)
    lamps, others = [f"SL-{n}" for n in range(8)], [f"SL-{n}" for n in range(100, 140)]
    await add(pool, *lamps, *others)
    async with pool.connection() as conn:
        await conn.execute(
            "INSERT INTO hub.grid_cell (grid_code, name) VALUES ('141182001001001', '文峰 001')"
        )
        await conn.execute(
            "UPDATE hub.device SET grid_code = '141182001001001' WHERE device_id = ANY(%s)", [lamps]
        )
    await hear(pool, clock, *lamps, *others)
    found = await passes(pool, clock, 100, *others)
    assert told(found) == [("cell_down", "open")]
    assert await stored(pool) == [("CELL-141182001001001", "cell_down", "open")]
    assert told(await passes(pool, clock, 1, *lamps, *others)) == [("cell_down", "clear")]


async def test_four_silent_devices_of_a_cell_speak_for_themselves(pool: Pool) -> None:
    clock = ManualClock(START)
    lamps, others = [f"SL-{n}" for n in range(4)], [f"SL-{n}" for n in range(100, 140)]
    await add(pool, *lamps, *others)
    async with pool.connection() as conn:
        await conn.execute("INSERT INTO hub.grid_cell (grid_code) VALUES ('141182001001001')")
        await conn.execute(
            "UPDATE hub.device SET grid_code = '141182001001001' WHERE device_id = ANY(%s)", [lamps]
        )
    await hear(pool, clock, *lamps, *others)
    assert told(await passes(pool, clock, 100, *others)) == [("offline", "open")] * 4


async def test_a_device_that_reports_rarely_is_lost_by_its_own_period(pool: Pool) -> None:
    clock, periods = ManualClock(START), Periods.empty()
    await add(pool, "MH-1", kind="manhole_cover", interval=60)
    found: list[Finding] = []
    for _ in range(30):  # told to report every hour, which nobody wrote down
        clock.advance(3600)
        await hear(pool, clock, "MH-1")
        await sweep(pool, clock, periods=periods)
    for _ in range(230):
        clock.advance(50)
        found += await sweep(pool, clock, periods=periods) or []
    assert [(f.rule_id, f.expected) for f in found] == [("offline", 3600)]
    assert (found[0].ts - found[0].first_ts) / 1e6 > 3 * 3600
