"""Shelves, windows, the ladder, flapping, silence and restarts, over the real tables."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from alerts import vigil
from alerts.actions import StaffActions
from core.clock import ManualClock
from core.db import Pool
from core.errors import ConflictError, ForbiddenError
from core.model import Edge, Severity
from tests.desk import COVER, GRID, NOON, Desk, finding, later


@pytest.fixture
async def desk(pool: Pool) -> Desk:
    desk = Desk(pool, ManualClock(NOON))
    await desk.settle_city()
    await desk.run("INSERT INTO hub.staff VALUES ('chen', 'shift_leader')")
    return desk


@pytest.fixture
def staff(desk: Desk) -> StaffActions:
    return StaffActions(desk.pool, desk.clock, None)


async def shift_a_cover(desk: Desk, device_id: str = "MH-1") -> int:
    """An orange alarm, raised."""
    cover = await desk.cover(device_id)
    await desk.find(finding(cover, rule_id="cover_shift", severity=Severity.ORANGE))
    await desk.work()
    return cover


async def loud(desk: Desk) -> list[str]:
    rows = await desk.rows(
        "SELECT action FROM hub.event_log WHERE (detail ->> 'loud')::boolean"
        " AND object <> 'incident' ORDER BY event_id"
    )
    return [action for (action,) in rows]


async def test_a_shelf_keeps_quiet_until_its_time_and_then_tells_anew(
    desk: Desk, staff: StaffActions
) -> None:
    await shift_a_cover(desk)
    await staff.acknowledge(1, actor="wang")
    await staff.shelve(1, actor="wang", reason="works", minutes=60)
    assert await desk.row(
        "SELECT suppression, suppressed_by, suppress_reason, suppress_until FROM hub.alarm"
    ) == ("shelved", "shelf", "works", NOON + timedelta(hours=1))
    desk.clock.advance(3_599)
    await desk.work()
    assert await loud(desk) == ["raised"]
    desk.clock.advance(2)
    await desk.work()
    assert await loud(desk) == ["raised", "unshelved"]
    assert await desk.row("SELECT suppression, ack_state FROM hub.alarm") == ("none", "unacked")
    assert not await desk.rows("SELECT 1 FROM hub.shelf")


async def test_a_shelf_covers_the_next_occurrence_but_nothing_graver(
    desk: Desk, staff: StaffActions
) -> None:
    cover = await shift_a_cover(desk)
    await staff.acknowledge(1, actor="wang")
    await staff.shelve(1, actor="wang", reason="works", minutes=120)
    again = {"rule_id": "cover_shift", "severity": Severity.ORANGE}
    times = {"ts": later(60), "received_at": later(60)}
    await desk.find(finding(cover, edge=Edge.CLEAR, **again, **times))
    await desk.hear(cover, 3_000)
    await desk.work()
    times = {"ts": later(3_100), "first_ts": later(3_100), "received_at": later(3_100)}
    await desk.find(finding(cover, **again, **times))
    await desk.work()
    rows = await desk.rows("SELECT suppression, condition_state FROM hub.alarm ORDER BY 1")
    assert set(rows) <= {("shelved", "cleared"), ("shelved", "active")}
    assert await loud(desk) == ["raised"]
    graver = {"ts": later(3_200), "first_ts": later(3_200), "received_at": later(3_200)}
    red = finding(cover, rule_id="cover_shift", edge=Edge.UPDATE, severity=Severity.RED, **graver)
    await desk.find(red)
    await desk.work()
    assert await loud(desk) == ["raised", "severity_raised"]
    assert not await desk.rows("SELECT 1 FROM hub.shelf")


async def test_only_the_shift_leader_shelves_red_and_for_half_an_hour(
    desk: Desk, staff: StaffActions
) -> None:
    await desk.find(finding(await desk.cover()))
    await desk.work()
    with pytest.raises(ForbiddenError, match="shift leader"):
        await staff.shelve(1, actor="wang", reason="works", minutes=10)
    with pytest.raises(ForbiddenError, match="at most 30 minutes"):
        await staff.shelve(1, actor="chen", reason="works", minutes=31)
    with pytest.raises(ForbiddenError, match="until it is over"):
        await staff.shelve(1, actor="chen", reason="works", minutes=30, once=True)
    await staff.shelve(1, actor="chen", reason="works", minutes=30)
    with pytest.raises(ConflictError, match="shelved already"):
        await staff.shelve(1, actor="chen", reason="works", minutes=30)
    rows = await desk.rows("SELECT outcome FROM hub.audit WHERE action = 'shelve' ORDER BY 1")
    assert [outcome for (outcome,) in rows] == ["done", "refused", "refused", "refused", "refused"]


async def test_a_window_is_silent_and_ends_with_a_census_of_what_goes_on(
    desk: Desk, staff: StaffActions
) -> None:
    await desk.cover("MH-0")
    opened = await staff.open_window(
        actor="wang",
        scope="grid",
        targets=[GRID],
        reason="road works",
        ends_at=NOON + timedelta(hours=2),
    )
    assert opened.window_id == 1
    await desk.work()
    covers = [await shift_a_cover(desk, f"MH-{n}") for n in range(1, 7)]
    assert await loud(desk) == []
    for cover in covers[:4]:
        ended = finding(
            cover, rule_id="cover_shift", edge=Edge.CLEAR, ts=later(600), received_at=later(600)
        )
        await desk.find(ended)
        await desk.hear(cover, 5_000)
    await desk.work()
    desk.clock.advance(7_201)
    await desk.work()
    assert await loud(desk) == ["window_ended", "in_service", "in_service"]
    (detail,) = await desk.row("SELECT detail FROM hub.event_log WHERE action = 'window_ended'")
    assert detail["census"]["going_on"] == 2
    held = await desk.row(
        "SELECT count(*) FROM hub.alarm WHERE suppression = 'none' AND ack_state = 'unacked'"
        " AND notified_at IS NOT NULL"
    )
    assert held == (2,)


@pytest.mark.parametrize(
    ("scope", "target"),
    [("device", "MH-1"), ("group", "MH-1"), ("road", "东大街"), ("grid", GRID), ("feeder", "F-7")],
)
async def test_a_window_covers_what_its_scope_names(
    desk: Desk, staff: StaffActions, scope: str, target: str
) -> None:
    await desk.run('UPDATE hub.component SET attributes = \'{"road": "东大街"}\'')
    await desk.run(
        "INSERT INTO hub.device (device_id, kind, component_code, feeder)"
        f" VALUES ('MH-1', 'manhole_cover', '{COVER}', 'F-7'),"
        " ('MH-2', 'manhole_cover', NULL, NULL)"
    )
    await staff.open_window(
        actor="wang", scope=scope, targets=[target], reason="works",
        ends_at=NOON + timedelta(hours=1),
    )  # fmt: skip
    await desk.work()
    await desk.find(*(finding(n, rule_id="cover_shift") for n in (1, 2)))
    await desk.work()
    rows = await desk.rows("SELECT device_no, suppression FROM hub.alarm ORDER BY 1")
    assert rows == [(1, "out_of_service"), (2, "none")]


async def test_a_window_needs_a_reason_an_end_and_a_device(desk: Desk, staff: StaffActions) -> None:
    await desk.cover()
    wanted: dict[str, Any] = {"actor": "wang", "scope": "device", "targets": ["MH-1"]}
    wanted["reason"] = "works"
    with pytest.raises(ConflictError, match="end or a work order"):
        await staff.open_window(**wanted)
    with pytest.raises(ConflictError, match="within 30 days"):
        await staff.open_window(**wanted, ends_at=NOON + timedelta(days=31))
    with pytest.raises(ConflictError, match="no device in that scope"):
        await staff.open_window(**wanted | {"targets": ["MH-9"]}, ends_at=NOON + timedelta(days=1))


async def test_a_window_for_a_work_order_ends_with_the_work(
    desk: Desk, staff: StaffActions
) -> None:
    cover = await desk.cover()
    await desk.find(finding(cover))
    await desk.work()
    case_no, order_no = await desk.row("SELECT case_no, order_no FROM hub.work_order")
    await staff.open_window(
        actor="wang", scope="device", targets=["MH-1"], reason="works", order_no=order_no
    )
    await desk.work()
    assert await desk.row("SELECT suppression FROM hub.alarm") == ("out_of_service",)
    await staff.sign(case_no, actor="crew")
    await staff.feedback(case_no, actor="crew", note="done")
    await desk.work()
    assert await desk.row("SELECT state FROM hub.maintenance_window") == ("ended",)
    assert await desk.row("SELECT suppression FROM hub.alarm") == ("none",)


async def test_nobody_takes_note_so_the_ladder_names_who_is_on_duty(desk: Desk) -> None:
    await desk.run(
        "INSERT INTO hub.roster (role, person, contact, starts_at, ends_at) VALUES"
        " ('shift_leader', '陈', '138', NULL, NULL),"
        " ('duty_director', '李', '', %s, NULL), ('duty_director', '早', '', NULL, %s)",
        [NOON, NOON],
    )
    await desk.find(finding(await desk.cover()))
    await desk.work()
    for seconds in (119, 1, 180, 300, 5_000):
        desk.clock.advance(seconds)
        await desk.work()
    rows = await desk.rows(
        "SELECT at - %s, detail ->> 'role', detail -> 'people' FROM hub.event_log"
        " WHERE action = 'escalated' ORDER BY event_id",
        [NOON],
    )
    assert rows == [
        (timedelta(seconds=120), "seat", []),
        (timedelta(seconds=300), "shift_leader", [{"person": "陈", "contact": "138"}]),
        (timedelta(seconds=600), "duty_director", [{"person": "李", "contact": ""}]),
    ]


async def test_whoever_takes_note_ends_the_ladder_and_who_takes_it_back_resumes_it(
    desk: Desk, staff: StaffActions
) -> None:
    await desk.find(finding(await desk.cover()))
    await desk.work()
    await staff.acknowledge(1, actor="wang")
    await desk.work()
    await staff.undo_acknowledge(1, actor="wang")
    await desk.work()
    desk.clock.advance(120)
    await desk.work()
    await staff.acknowledge(1, actor="wang")
    desk.clock.advance(9_000)
    await desk.work()
    assert (await desk.actions_of()).count("escalated") == 1


async def test_an_alarm_that_comes_and_goes_is_one_quiet_alarm_and_a_finding_for_maintainers(
    desk: Desk,
) -> None:
    cover = await desk.cover()
    for n in range(200):
        edge = Edge.OPEN if n % 2 == 0 else Edge.CLEAR
        at = later(n * 5)
        await desk.find(
            finding(
                cover,
                rule_id="cover_shift",
                severity=Severity.ORANGE,
                edge=edge,
                ts=at,
                first_ts=at,
                received_at=at,
            )
        )
    await desk.work()
    assert await loud(desk) == ["raised", "raised"]
    rows = await desk.rows("SELECT rule_id, flapping, audience FROM hub.alarm ORDER BY 1")
    assert rows == [("cover_shift", True, "city"), ("flapping", False, "maintenance")]
    await desk.hear(cover, 995 + 600)
    await desk.work()
    assert (await desk.actions_of())[-2:] == ["steady", "cleared"]


async def test_after_a_day_an_alarm_is_stale(desk: Desk, staff: StaffActions) -> None:
    await shift_a_cover(desk)
    await staff.acknowledge(1, actor="wang")
    desk.clock.advance(86_400)
    await desk.work()
    assert await desk.row("SELECT stale FROM hub.alarm") == (True,)
    assert await loud(desk) == ["raised"]


async def test_a_retired_device_and_a_rule_switched_off_end_their_alarms_in_silence(
    desk: Desk,
) -> None:
    first = await shift_a_cover(desk)
    await shift_a_cover(desk, "MH-2")
    await desk.run("UPDATE hub.device SET state = 'retired' WHERE device_no = %s", [first])
    await desk.work()
    await desk.run(
        "INSERT INTO hub.alarm_rule (kind, rule_id, scope, version, body, valid_from, author,"
        " reason) VALUES ('manhole_cover', 'cover_shift', 'kind', 2, '{\"enabled\": false}', %s,"
        " 'wang', 'noisy')",
        [NOON],
    )
    await desk.work()
    rows = await desk.rows("SELECT condition_state, clear_reason FROM hub.alarm ORDER BY alarm_id")
    assert rows == [("cleared", "device_retired"), ("cleared", "rule_retired")]
    assert await loud(desk) == ["raised", "raised"]


async def test_the_alarm_of_a_silent_device_stays_and_says_so(desk: Desk) -> None:
    cover = await shift_a_cover(desk)
    offline = {"rule_id": "offline", "severity": Severity.BLUE, "kind": "lost"}
    await desk.find(finding(cover, **offline))
    await desk.work()
    desk.clock.advance(90_000)
    await desk.work()
    row = "SELECT condition_state, data_stale FROM hub.alarm WHERE rule_id = 'cover_shift'"
    assert await desk.row(row) == ("active", True)
    at = {"ts": later(90_100), "received_at": later(90_100)}
    await desk.find(finding(cover, edge=Edge.CLEAR, **offline, **at))
    await desk.work()
    assert await desk.row(row) == ("active", False)


async def test_what_the_hub_was_away_makes_no_device_late(desk: Desk) -> None:
    await vigil.begin(desk.pool, desk.clock)
    await desk.work()
    cover, late = await desk.cover(), await desk.cover("MH-2")
    desk.clock.advance(1_300)  # the hub dies, and is back after twenty minutes
    await vigil.begin(desk.pool, desk.clock)
    backlog = {"ts": later(60), "first_ts": later(60), "received_at": later(1_310)}
    before = {"ts": later(-3_600), "first_ts": later(-3_600), "received_at": later(1_310)}
    await desk.find(finding(cover, **backlog), finding(late, **before))
    await desk.work()
    rows = await desk.rows("SELECT device_no, retroactive FROM hub.alarm ORDER BY 1")
    assert rows == [(cover, False), (late, True)]


async def test_after_a_restart_what_fell_due_is_told_once_and_no_ladder_storms(desk: Desk) -> None:
    await vigil.begin(desk.pool, desk.clock)
    heard, silent = (
        await desk.device("SL-1", "street_lamp"),
        await desk.device("SL-2", "street_lamp"),
    )
    for lamp in (heard, silent):
        await desk.run("UPDATE hub.device SET interval_s = 60 WHERE device_no = %s", [lamp])
        await desk.hear(lamp)
    for n in range(5):
        await desk.find(finding(await desk.cover(f"MH-{n}")))
    await desk.work()
    desk.clock.advance(1_200)
    await vigil.begin(desk.pool, desk.clock)
    await desk.work()
    await desk.hear(heard, 1_210)
    for _ in range(19):
        desk.clock.advance(100)
        await desk.work()
    (detail,) = await desk.row("SELECT detail FROM hub.event_log WHERE action = 'restart_census'")
    assert (detail["heard"], detail["silent"], detail["silent_devices"]) == (1, 1, ["SL-2"])
    assert detail["overdue"]["alarm_count"] == 5
    times = await desk.rows("SELECT min(at) FROM hub.event_log WHERE action = 'escalated'")
    census = await desk.row("SELECT at FROM hub.event_log WHERE action = 'restart_census'")
    assert times[0][0] is None or times[0][0] >= census[0] + timedelta(seconds=100)


async def test_a_short_absence_begins_no_grace(desk: Desk) -> None:
    await vigil.begin(desk.pool, desk.clock)
    desk.clock.advance(30)
    await vigil.begin(desk.pool, desk.clock)
    assert await desk.row("SELECT grace_since FROM hub.vigil") == (None,)
    assert not await desk.rows("SELECT 1 FROM hub.outage")


async def test_work_under_way_nearby_is_noted_on_the_alarm(desk: Desk) -> None:
    await desk.find(finding(await desk.cover()))
    await desk.work()
    near = await desk.device("MH-2", lon=111.79, lat=37.2602)
    far = await desk.device("MH-3", lon=111.79, lat=37.2604)
    for number in (near, far):
        await desk.find(finding(number, rule_id="cover_shift", severity=Severity.ORANGE))
    await desk.work()
    (order_no,) = await desk.row("SELECT order_no FROM hub.work_order")
    rows = await desk.rows("SELECT detail FROM hub.alarm ORDER BY alarm_id")
    assert rows == [({},), ({"work_nearby": [order_no]},), ({},)]


async def test_case_numbers_have_no_gap_and_begin_anew_with_the_citys_year(desk: Desk) -> None:
    for n in range(2):
        await desk.find(finding(await desk.cover(f"MH-{n}")))
    await desk.work()
    clock = ManualClock(NOON.replace(month=12, day=31, hour=16))  # midnight in the city
    other = Desk(desk.pool, clock)
    at = {"ts": later(3_500_000), "first_ts": later(3_500_000), "received_at": later(3_500_000)}
    await other.find(finding(await other.cover("MH-9"), **at))
    await other.work()
    rows = await desk.rows("SELECT case_no FROM hub.case ORDER BY reported_at, case_no")
    assert [case_no for (case_no,) in rows] == [
        "FY-20261121-000001", "FY-20261121-000002", "FY-20270101-000001",
    ]  # fmt: skip


async def test_the_log_refuses_changes_and_names_the_first_broken_link(desk: Desk) -> None:
    await shift_a_cover(desk)
    await shift_a_cover(desk, "MH-2")
    broken = "SELECT * FROM hub.broken_link(1::int2)"
    assert not await desk.rows(broken)
    for query in ("UPDATE hub.event_log SET actor = 'x'", "DELETE FROM hub.event_log"):
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            await desk.run(query)
    meddle = "SET session_replication_role = replica; {}; RESET session_replication_role"
    ids = [number for (number,) in await desk.rows("SELECT event_id FROM hub.event_log ORDER BY 1")]
    await desk.run(meddle.format(f"DELETE FROM hub.event_log WHERE event_id = {ids[-1]}"))
    assert await desk.row(broken) == (ids[-1], "missing_after")
    await desk.run(meddle.format(f"UPDATE hub.event_log SET actor = 'x' WHERE event_id = {ids[0]}"))
    assert await desk.row(broken) == (ids[0], "changed")


async def test_an_ingest_role_that_dies_while_the_engine_lives_is_the_hubs_outage_too(
    desk: Desk,
) -> None:
    await vigil.begin(desk.pool, desk.clock)
    said = (
        "INSERT INTO hub.role_status VALUES ('ingest', 'h:1', clock_timestamp() - interval '1 h',"
        " clock_timestamp() - interval '{}', '{{}}')"
        " ON CONFLICT (role, process) DO UPDATE SET at = excluded.at"
    )
    await desk.run(said.format("700 s"))
    await desk.work()
    began, ended = await desk.row("SELECT began_at - %s, ended_at FROM hub.outage", [NOON])
    assert abs(began.total_seconds() + 700) < 5
    assert ended is None
    await desk.run(said.format("1 s"))
    await desk.work()
    assert await desk.row("SELECT ended_at FROM hub.outage") == (NOON,)
