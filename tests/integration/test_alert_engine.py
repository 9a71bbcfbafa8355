import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial

import psycopg
import pytest

from alerts.actions import StaffActions
from alerts.engine import Known, pass_time, run_engine, step
from alerts.office import Office
from core.clock import ManualClock
from core.db import Pool, open_pool
from core.model import Edge, Severity, Text
from devices.rulebook import Rulebook
from devices.rules import find_rule
from tests.desk import COVER, GRID, NOON, Desk, finding, later

CHAIN = """
SELECT count(*) FILTER (WHERE prev_hash <> before OR hash <> again),
       count(*) FILTER (WHERE action NOT IN ('announced', 'announced_together', 'flood_begun'))
  FROM (
    SELECT action, prev_hash, hash, lag(hash, 1, '\\x'::bytea) OVER (ORDER BY event_id) AS before,
           hub.event_hash(prev_hash, event_id, log, tenant_id, at, actor, object, object_id, action,
                          from_state, to_state, reason, detail) AS again
      FROM hub.event_log) AS e
"""
ENGINE = """
import asyncio, sys
from alerts.engine import step
from core.clock import SystemClock
from core.db import open_pool

async def main() -> None:
    async with open_pool(sys.argv[1], 2, name="engine") as pool:
        while await step(pool, SystemClock(), "webhook"):
            pass

asyncio.run(main())
"""


def run_engine_once(database: str, failpoint: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", ENGINE, database],
        env=os.environ | {"CITYHUB_FAILPOINT": failpoint},
        check=False,
        timeout=60,
    )
    return done.returncode


@pytest.fixture
async def desk(pool: Pool) -> Desk:
    desk = Desk(pool, ManualClock(NOON))
    await desk.settle_city()
    return desk


async def test_an_open_cover_becomes_one_alarm_one_case_one_order_and_one_message(
    desk: Desk,
) -> None:
    cover = await desk.cover()
    await desk.find(finding(cover))
    await desk.work()
    await desk.work()
    alarm = await desk.row(
        "SELECT severity, condition_state, ack_state, latched, component_code, grid_code, value,"
        " threshold, unit, explain_zh, occurrence_no, audience, case_no FROM hub.alarm"
    )
    assert alarm[:4] == (4, "active", "unacked", True)
    assert alarm[4:9] == (COVER, GRID, 95.0, 90.0, "deg")
    assert alarm[9:12] == ("倾角95°, 超过90°", 1, "city")
    case = await desk.row(
        "SELECT case_no, state, owner_dept, handling_dept, routed_by, auto_dispatched, class_code,"
        " handle_due_at - dispatched_at, reported_at, accepted_at, filed_at FROM hub.case"
    )
    assert case[0] == alarm[12] == "FY-20261121-000001"
    assert case[1:7] == ("dispatched", "SZ", "SZ", "component_owner", True, "0102")
    assert case[7] == timedelta(hours=6)
    assert case[8:] == (NOON, NOON, NOON)
    order = await desk.row(
        "SELECT dept_code, state, on_site_due_at - issued_at, due_at - issued_at"
        " FROM hub.work_order"
    )
    assert order == ("SZ", "issued", timedelta(minutes=30), timedelta(hours=6))
    key, kind, state, data = await desk.row(
        "SELECT key, message_type, state, payload -> 'data' FROM hub.outbox"
    )
    assert (key, kind, state) == (f"{case[0]}-1", "cn.cityhub.work_order.issued", "queued")
    assert data["alarm"]["value"] == 95.0
    assert data["department"]["name"] == {"zh": "市政所", "en": "Public works"}
    assert data["component"]["code"] == COVER
    assert await desk.actions_of("alarm") == ["raised"]
    assert await desk.actions_of("case") == ["reported", "accepted", "filed", "dispatched"]
    assert await desk.row("SELECT state, member_count FROM hub.incident") == ("open", 1)


async def test_the_feed_needs_no_join(desk: Desk) -> None:
    await desk.find(finding(await desk.cover()))
    await desk.work()
    (detail,) = await desk.row("SELECT detail FROM hub.alarm_event WHERE object = 'alarm'")
    assert detail["device_id"] == "MH-1"
    assert detail["severity"] == "red"
    assert detail["label"]["en"] == "Cover open or gone"
    assert detail["text"] == {"zh": "倾角95°, 超过90°", "en": "tilt 95°, over 90°"}
    assert (detail["lon"], detail["lat"], detail["unit"]) == (111.79, 37.26, "deg")
    assert detail["loud"] is True


async def test_an_orange_alarm_files_nothing_by_itself(desk: Desk) -> None:
    cover = await desk.cover()
    await desk.find(finding(cover, rule_id="cover_shift", severity=Severity.ORANGE))
    await desk.work()
    assert await desk.rows("SELECT 1 FROM hub.alarm")
    assert not await desk.rows("SELECT 1 FROM hub.case")


async def test_an_alarm_that_grows_red_files(desk: Desk) -> None:
    cover = await desk.cover()
    orange = finding(cover, rule_id="cover_flooded", severity=Severity.ORANGE)
    await desk.find(orange)
    await desk.work()
    await desk.find(
        finding(
            cover,
            rule_id="cover_flooded",
            edge=Edge.UPDATE,
            ts=later(60),
            received_at=later(60),
        )
    )
    await desk.work()
    assert await desk.actions_of("alarm") == ["raised", "severity_raised"]
    assert len(await desk.rows("SELECT 1 FROM hub.case")) == 1


async def test_a_device_fault_is_no_city_case(desk: Desk) -> None:
    cover = await desk.cover()
    await desk.find(finding(cover, rule_id="battery_low", severity=Severity.RED))
    await desk.work()
    assert await desk.row("SELECT audience, case_no FROM hub.alarm") == ("maintenance", None)


async def test_a_case_nobody_owns_waits_in_the_centres_queue(desk: Desk) -> None:
    await desk.find(finding(await desk.device("MH-9")))
    await desk.work()
    assert await desk.row(
        "SELECT state, owner_dept, handling_dept, routed_by, handle_due_at IS NOT NULL"
        " FROM hub.case"
    ) == ("filed", "centre", None, "manual", True)
    assert not await desk.rows("SELECT 1 FROM hub.outbox")


async def test_without_a_platform_cases_stay_on_the_desk(desk: Desk) -> None:
    desk.connector = None
    await desk.find(finding(await desk.cover()))
    await desk.work()
    assert await desk.row("SELECT state FROM hub.case") == ("dispatched",)
    assert not await desk.rows("SELECT 1 FROM hub.outbox")


async def test_a_second_breach_updates_the_same_alarm(desk: Desk) -> None:
    cover = await desk.cover()
    again = finding(cover, edge=Edge.UPDATE, ts=later(60), received_at=later(60), value=140.0)
    await desk.find(finding(cover), again)
    await desk.work()
    assert await desk.row("SELECT repeat_count, value, version FROM hub.alarm") == (1, 140.0, 1)
    assert len(await desk.rows("SELECT 1 FROM hub.case")) == 1


async def test_a_cover_put_back_clears_after_its_delay_and_stays_latched(desk: Desk) -> None:
    cover = await desk.cover()
    await desk.find(
        finding(cover), finding(cover, edge=Edge.CLEAR, ts=later(60), received_at=later(60))
    )
    await desk.hear(cover, 60)
    await desk.work()
    state = "SELECT condition_state, cleared_at, reset_at FROM hub.alarm"
    assert await desk.row(state) == ("clearing", None, None)
    await desk.hear(cover, 659)
    await desk.work()
    assert (await desk.row(state))[0] == "clearing"
    await desk.hear(cover, 3660)
    await desk.work()
    assert await desk.row(state) == ("cleared", NOON + timedelta(seconds=660), None)
    assert await desk.row("SELECT state FROM hub.incident") == ("open",)
    assert await desk.actions_of("alarm") == ["raised", "clearing", "cleared"]


async def test_the_alarm_of_a_silent_device_never_clears_and_says_so(desk: Desk) -> None:
    cover = await desk.cover()
    await desk.find(
        finding(cover),
        finding(cover, edge=Edge.CLEAR, ts=later(60), received_at=later(60)),
        finding(cover, rule_id="offline", detector="silence", kind="lost", metric=""),
    )
    desk.clock.advance(7 * 86_400)
    await desk.work()
    assert await desk.row(
        "SELECT condition_state, data_stale FROM hub.alarm WHERE rule_id = 'cover_open'"
    ) == ("clearing", True)


async def test_unread_findings_hold_time_back(desk: Desk) -> None:
    cover = await desk.cover()
    clear = finding(cover, edge=Edge.CLEAR, ts=later(60), received_at=later(60))
    await desk.find(finding(cover), clear)
    await desk.work()
    await desk.hear(cover, 3600)
    await desk.find(finding(cover, ts=later(120), first_ts=later(120), received_at=later(120)))
    # as if the finding had been committed after the engine looked for findings
    await pass_time(desk.pool, desk.clock, Office(), Known())
    assert await desk.row("SELECT condition_state FROM hub.alarm") == ("clearing",)
    await desk.work()
    assert (await desk.row("SELECT condition_state, chatter_count FROM hub.alarm")) == ("active", 1)


async def test_a_breach_matures_by_the_devices_own_clock(desk: Desk) -> None:
    feeder = await desk.device("F-1", "feeder", grid_code=GRID)
    await desk.find(
        finding(feeder, rule_id="feeder_down", severity=Severity.ORANGE, kind="down", metric="")
    )
    await desk.work()
    assert not await desk.rows("SELECT 1 FROM hub.alarm")
    assert len(await desk.rows("SELECT 1 FROM hub.alarm_pending")) == 1
    desk.clock.advance(60)
    await desk.work()
    assert await desk.row("SELECT kind, started_at, raised_at FROM hub.alarm") == (
        "down",
        NOON,
        NOON + timedelta(seconds=60),
    )
    assert not await desk.rows("SELECT 1 FROM hub.alarm_pending")


async def test_a_breach_that_falls_back_is_a_near_miss(desk: Desk) -> None:
    feeder = await desk.device("F-1", "feeder")
    down = finding(feeder, rule_id="feeder_down", severity=Severity.ORANGE)
    clear = finding(feeder, rule_id="feeder_down", edge=Edge.CLEAR, ts=later(10))
    await desk.find(down, clear)
    await desk.work()
    for table in ("alarm", "alarm_pending", "event_log"):
        assert not await desk.rows(f"SELECT 1 FROM hub.{table}")


async def test_a_breach_long_past_writes_history_and_never_sounds(desk: Desk) -> None:
    cover = await desk.cover()
    await desk.find(finding(cover, received_at=later(3600)))
    await desk.work()
    assert await desk.row(
        "SELECT retroactive, condition_state, ack_state, latched, case_no, notified_at"
        " FROM hub.alarm"
    ) == (True, "cleared", "acked", False, None, None)
    (detail,) = await desk.row("SELECT detail FROM hub.alarm_event WHERE action = 'recorded'")
    assert detail["loud"] is False


async def test_a_device_under_maintenance_sounds_and_files_nothing(desk: Desk) -> None:
    await desk.find(finding(await desk.cover(state="maintenance")))
    await desk.work()
    assert await desk.row("SELECT suppression, case_no, notified_at FROM hub.alarm") == (
        "out_of_service",
        None,
        None,
    )


async def test_a_finding_on_a_retired_device_is_logged_not_raised(desk: Desk) -> None:
    await desk.find(finding(await desk.cover(state="retired")))
    await desk.find(finding(424242))
    await desk.work()
    assert not await desk.rows("SELECT 1 FROM hub.alarm")
    assert await desk.rows("SELECT action, reason FROM hub.event_log ORDER BY event_id") == [
        ("finding_ignored", "device_retired"),
        ("finding_ignored", "device_unknown"),
    ]


async def test_a_worker_in_need_is_shown_where_the_badge_last_was(desk: Desk) -> None:
    badge = await desk.device("SW-1", "sanitation_worker", lon=111.7, lat=37.2, dept_code="SZ")
    await desk.run(
        "CREATE TABLE IF NOT EXISTS hub.reading_sanitation_worker_20261121"
        " PARTITION OF hub.reading_sanitation_worker"
        " FOR VALUES FROM ('2026-11-21') TO ('2026-11-22')"
    )
    await desk.run(
        "INSERT INTO hub.reading_sanitation_worker (ts, seq, device_no, lon, lat) VALUES"
        " (%s, 1, %s, 111.75, 37.25)",
        [NOON - timedelta(seconds=30), badge],
    )
    await desk.find(finding(badge, rule_id="sos", edge=Edge.ONCE, metric="", kind="sos"))
    await desk.work()
    assert await desk.row("SELECT lon, lat FROM hub.alarm") == (111.75, 37.25)
    assert await desk.row("SELECT lon, lat, category FROM hub.case") == (111.75, 37.25, "event")


async def test_a_finding_the_database_refuses_blocks_no_other(desk: Desk) -> None:
    cover, other = await desk.cover(), await desk.cover("MH-2")
    await desk.run("ALTER TABLE hub.alarm ADD CONSTRAINT poison CHECK (explain_en <> 'poison')")
    await desk.find(
        finding(cover, explain=Text("毒", "poison")),
        finding(other),
    )
    await desk.work()
    assert await desk.row("SELECT device_no FROM hub.alarm") == (other,)
    assert await desk.rows("SELECT 1 FROM hub.event_log WHERE action = 'finding_ignored'")


async def test_the_chain_of_events_is_whole_and_cannot_be_changed(desk: Desk) -> None:
    covers = [await desk.cover(f"MH-{n}") for n in range(20)]
    await desk.find(*(finding(cover) for cover in covers))
    await desk.work()
    assert await desk.row(CHAIN) == (0, 100)
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        await desk.run("UPDATE hub.event_log SET actor = 'nobody'")
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        await desk.run("DELETE FROM hub.alarm_event")


async def test_row_34_event_ids_become_visible_in_order(desk: Desk) -> None:
    append = (
        "SELECT hub.append_event('alarm', 1::int2, now(), 'test', 'system', %s, 'noted',"
        " NULL, NULL, NULL, '{}')"
    )
    seen: list[int] = []

    async def write(name: str, wait: float) -> None:
        async with desk.pool.connection() as conn, conn.transaction():
            await conn.execute(append, [name])
            await conn.execute("SELECT pg_sleep(%s)", [wait])

    async def watch() -> None:
        while len(seen) < 12:
            cursor = max(seen, default=0)
            rows = await desk.rows(
                "SELECT event_id FROM hub.event_log WHERE event_id > %s ORDER BY event_id", [cursor]
            )
            seen.extend(event_id for (event_id,) in rows)
            await asyncio.sleep(0.002)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(watch())
        for n in range(12):
            # the first writers are the slowest: without the lock the last would be seen first
            group.create_task(write(str(n), 0.05 if n < 3 else 0.0))
    rows = await desk.rows("SELECT event_id FROM hub.event_log ORDER BY event_id")
    assert seen == [event_id for (event_id,) in rows]
    assert await desk.row(CHAIN) == (0, 12)


async def test_two_engines_at_once_raise_everything_once(desk: Desk, database: str) -> None:
    covers = [await desk.cover(f"MH-{n}") for n in range(60)]
    async with open_pool(database, 2, name="second") as second:
        for start in range(0, 60, 10):
            await desk.find(*(finding(cover) for cover in covers[start : start + 10]))
            await asyncio.gather(
                step(desk.pool, desk.clock, "webhook"), step(second, desk.clock, "webhook")
            )
    for table in ("alarm", "case", "work_order", "outbox", "incident"):
        assert await desk.row(f"SELECT count(*) FROM hub.{table}") == (60,)
    assert await desk.row(CHAIN) == (0, 300)


async def test_two_engines_count_a_repetition_once(desk: Desk, database: str) -> None:
    cover = await desk.cover()
    await desk.find(finding(cover))
    await desk.work()
    await desk.find(finding(cover, edge=Edge.UPDATE, ts=later(60), received_at=later(60)))
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    async with open_pool(database, 2, name="second") as second:
        async with desk.pool.connection() as held, held.transaction():
            await held.execute("SELECT 1 FROM hub.alarm FOR UPDATE")
            steps = [
                asyncio.create_task(step(pool, desk.clock, None)) for pool in (desk.pool, second)
            ]
            await _until(desk, waiting, (2,))
        await asyncio.gather(*steps)
    assert await desk.row("SELECT repeat_count FROM hub.alarm") == (1,)


async def test_an_occurrence_may_end_and_the_next_begin_in_one_batch(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shipped = find_rule("manhole_cover", "cover_settling")
    assert shipped is not None
    rule = replace(shipped, off_delay_s=0)
    monkeypatch.setattr(Rulebook, "rule", lambda *_: rule)
    settling = partial(finding, await desk.cover(), rule_id="cover_settling")
    await desk.find(settling())
    await desk.work()
    await StaffActions(desk.pool, desk.clock, None).acknowledge(1, actor="wang")
    await desk.find(
        settling(edge=Edge.CLEAR, ts=later(60), received_at=later(60)),
        settling(ts=later(61), first_ts=later(61), received_at=later(61)),
    )
    await desk.work()
    assert await desk.rows(
        "SELECT occurrence_no, condition_state, previous_alarm_id FROM hub.alarm ORDER BY alarm_id"
    ) == [(1, "cleared", None), (2, "active", 1)]
    assert await desk.rows("SELECT state FROM hub.incident ORDER BY incident_id") == [
        ("closed",),
        ("open",),
    ]
    assert "one by one" not in caplog.text


async def test_a_second_engine_waits_until_the_first_is_gone(desk: Desk, database: str) -> None:
    first = asyncio.create_task(
        run_engine(pool=desk.pool, url=database, clock=desk.clock, connector=None)
    )
    holders = (
        "SELECT count(*) FILTER (WHERE granted), count(*) FILTER (WHERE NOT granted)"
        " FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND application_name = 'cityhub alerts lock'"
        " AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    await _until(desk, holders, (1, 0))
    second = asyncio.create_task(
        run_engine(pool=desk.pool, url=database, clock=desk.clock, connector=None)
    )
    await _until(desk, holders, (1, 1))
    first.cancel()
    await _until(desk, holders, (1, 0))
    await desk.find(finding(await desk.cover()))
    await desk.run("SELECT pg_notify('hub_finding', '')")
    await _until(desk, "SELECT count(*) FROM hub.alarm", (1,))
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


async def _until(desk: Desk, query: str, wanted: tuple[int, ...]) -> None:
    async with asyncio.timeout(10):
        while await desk.row(query) != wanted:
            await asyncio.sleep(0.02)


async def test_an_outage_of_the_database_only_makes_alarms_late(desk: Desk, database: str) -> None:
    engine = asyncio.create_task(
        run_engine(pool=desk.pool, url=database, clock=desk.clock, connector=None)
    )
    await _until(desk, "SELECT count(*) FROM hub.cursor", (1,))
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        admin.execute("SELECT 1")
    async with open_pool(database, 1, name="after") as pool:
        after = Desk(pool, desk.clock)
        await after.find(finding(await after.cover()))
        await _until(after, "SELECT count(*) FROM hub.alarm", (1,))
    engine.cancel()
    await asyncio.gather(engine, return_exceptions=True)


@pytest.mark.tier_p
@pytest.mark.parametrize(
    "point",
    [
        "alerts.after_alarm:kill@3",
        "alerts.after_case:kill@2",
        "alerts.before_events:kill",
        "alerts.before_commit:kill",
        "alerts.after_commit:kill",
    ],
)
async def test_killing_the_engine_anywhere_repeats_nothing_and_skips_nothing(
    desk: Desk, database: str, point: str
) -> None:
    covers = [await desk.cover(f"MH-{n}") for n in range(8)]
    findings = [finding(cover) for cover in covers]
    await desk.find(*findings, *findings)  # a batch that came twice
    for n, failpoint in enumerate([point, ""]):
        assert run_engine_once(database, failpoint) == (-signal.SIGKILL if n == 0 else 0)
    for table in ("alarm", "case", "work_order", "outbox", "incident"):
        assert await desk.row(f"SELECT count(*) FROM hub.{table}") == (8,)
    for action in ("raised", "reported", "accepted", "filed", "dispatched"):
        assert await desk.row(
            "SELECT count(DISTINCT object_id), count(*) FROM hub.event_log WHERE action = %s",
            [action],
        ) == (8, 8)
    assert await desk.row(CHAIN) == (0, 40)
    assert await desk.row(
        "SELECT position = (SELECT max(finding_id) FROM hub.finding) FROM hub.cursor"
    ) == (True,)
