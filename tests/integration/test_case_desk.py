"""Cases from people, and what the desk does beside the way of a case."""

from datetime import timedelta
from typing import Any

import pytest

from alerts.actions import StaffActions
from alerts.calendar_rows import load_calendar, store_calendar
from core.clock import ManualClock
from core.db import Pool
from core.errors import ConflictError, ForbiddenError
from core.model import Severity
from tests.desk import GRID, NOON, Desk, finding
from tests.serving import serving


@pytest.fixture
async def desk(pool: Pool) -> Desk:
    desk = Desk(pool, ManualClock(NOON))
    await desk.settle_city()
    await desk.run(
        "INSERT INTO hub.staff VALUES ('leader', 'shift_leader'), ('director', 'duty_director')"
    )
    return desk


@pytest.fixture
def staff(desk: Desk) -> StaffActions:
    return StaffActions(desk.pool, desk.clock, "webhook")


async def call(staff: StaffActions, **changes: Any) -> str:
    """Somebody calls 12345 about a cover at the place of the desk's own."""
    facts: dict[str, Any] = {
        "actor": "clerk",
        "source": "hotline",
        "category": "component",
        "class_code": "0102",
        "description": "东大街井盖缺失",
        "lon": 111.79,
        "lat": 37.2602,
        "grid_code": GRID,
        "report_no": "12345-1",
    }
    return (await staff.report(**facts | changes)).case_no


async def handled(desk: Desk, staff: StaffActions) -> str:
    case_no = await call(staff)
    await staff.accept(case_no, actor="clerk")
    await staff.file_case(case_no, actor="clerk")
    await staff.dispatch(case_no, actor="clerk", dept="SZ")
    await staff.sign(case_no, actor="crew")
    return case_no


async def lights(desk: Desk, case_no: str) -> dict[str, str]:
    rows = await desk.rows(
        "SELECT clock, CASE WHEN stopped_at IS NULL THEN light ELSE 'stopped' END"
        " FROM hub.case_clock WHERE case_no = %s",
        [case_no],
    )
    return dict(rows)


async def test_a_report_goes_its_way_to_a_verified_closing_with_its_clocks(
    desk: Desk, staff: StaffActions
) -> None:
    case_no = await handled(desk, staff)
    assert await lights(desk, case_no) == {
        "accept": "stopped",
        "file": "stopped",
        "dispatch": "stopped",
        "sign": "stopped",
        "handle": "green",
    }
    await staff.feedback(case_no, actor="crew", note="new cover")
    await desk.work()
    assert await desk.row("SELECT state, verify_result FROM hub.case") == (
        "verifying",
        "human_required",
    )
    await staff.verify(case_no, actor="insp", passed=True, note="in place")
    assert await desk.row("SELECT state, verify_method FROM hub.case") == ("closed", "human")
    assert set((await lights(desk, case_no)).values()) == {"stopped"}


async def test_a_number_that_comes_twice_is_one_case(desk: Desk, staff: StaffActions) -> None:
    case_no = await call(staff)
    with pytest.raises(ConflictError, match=f"12345-1 is known as {case_no}"):
        await call(staff)
    await call(staff, source="inspector")
    assert await desk.row("SELECT count(*) FROM hub.case") == (2,)


async def test_a_call_about_what_a_sensor_saw_is_proposed_for_merging_and_merged(
    desk: Desk, staff: StaffActions
) -> None:
    await desk.find(finding(await desk.cover()))
    await desk.work()
    (sensed,) = await desk.row("SELECT case_no FROM hub.case")
    called = await call(staff)  # 22 m to the north
    far = await call(staff, lat=37.2606, report_no="12345-2", class_code="0118")  # 67 m
    assert await desk.rows("SELECT case_no, into_no, round(metres) FROM hub.merge_proposal") == [
        (called, sensed, 22)
    ]
    await staff.merge(called, actor="clerk", into=sensed)
    assert await desk.rows("SELECT case_no, state, merged_into FROM hub.case ORDER BY 1") == [
        (sensed, "dispatched", None),
        (called, "merged", sensed),
        (far, "reported", None),
    ]
    assert await desk.row("SELECT decision FROM hub.merge_proposal") == ("merged",)
    with pytest.raises(ConflictError, match="a filed case goes only into a filed one"):
        await staff.merge(sensed, actor="clerk", into=far)


async def test_what_a_sensor_sees_after_a_call_is_proposed_as_well(
    desk: Desk, staff: StaffActions
) -> None:
    called = await call(staff)
    await desk.find(finding(await desk.cover()))
    await desk.work()
    (sensed,) = await desk.row("SELECT case_no FROM hub.case WHERE source = 'sensor'")
    assert await desk.rows("SELECT case_no, into_no FROM hub.merge_proposal") == [(called, sensed)]


async def test_a_case_that_takes_in_an_incident_is_verified_by_its_sensor(
    desk: Desk, staff: StaffActions
) -> None:
    await desk.find(finding(await desk.cover(), rule_id="cover_shift", severity=Severity.ORANGE))
    await desk.work()
    called = await call(staff)
    (incident_id,) = await desk.row("SELECT incident_id FROM hub.merge_proposal")
    await staff.join(called, actor="clerk", incident_id=incident_id)
    assert await desk.row("SELECT case_no FROM hub.alarm") == (called,)
    with pytest.raises(ConflictError, match="cannot take an incident"):
        await staff.join(called, actor="clerk", incident_id=incident_id)


async def test_a_check_before_filing_pauses_its_clock_and_returns_the_case(
    desk: Desk, staff: StaffActions
) -> None:
    case_no = await call(staff)
    await staff.accept(case_no, actor="clerk")
    await staff.request_check(case_no, actor="clerk", reason="位置不明")
    assert (await lights(desk, case_no))["file"] == "grey"
    desk.clock.advance(3600)
    await staff.confirm(case_no, actor="insp")
    (due, paused) = await desk.row(
        "SELECT due_at, paused_s FROM hub.case_clock WHERE clock = 'file'"
    )
    assert (due, paused) == (NOON + timedelta(minutes=90), 3600)
    await staff.file_case(case_no, actor="clerk")
    for refused in (staff.reject, staff.void):
        with pytest.raises(ConflictError):
            await refused(case_no, actor="clerk", reason="重复")
    other = await call(staff, report_no="12345-2")
    await staff.reject(other, actor="clerk", reason="非本辖区")
    assert set((await lights(desk, other)).values()) == {"stopped"}


async def test_an_extension_is_granted_by_another_and_moves_the_deadline(
    desk: Desk, staff: StaffActions
) -> None:
    case_no = await handled(desk, staff)
    (due,) = await desk.row("SELECT handle_due_at FROM hub.case")
    await staff.extend(case_no, actor="leader", hours=12, reason="等待配件")
    with pytest.raises(ConflictError, match="asked for already"):
        await staff.extend(case_no, actor="crew", hours=12, reason="等待配件")
    with pytest.raises(ForbiddenError, match="only a shift leader"):
        await staff.decide(case_no, actor="clerk", type="extension", approved=True)
    with pytest.raises(ForbiddenError, match="who asks does not decide"):
        await staff.decide(case_no, actor="leader", type="extension", approved=True)
    await staff.decide(case_no, actor="director", type="extension", approved=True)
    assert await desk.row("SELECT handle_due_at, extension_count FROM hub.case") == (
        due + timedelta(hours=12),
        1,
    )
    await staff.extend(case_no, actor="crew", hours=12, reason="再次延期")
    with pytest.raises(ForbiddenError, match="only a duty director"):
        await staff.decide(case_no, actor="leader", type="extension", approved=True)
    await staff.decide(case_no, actor="director", type="extension", approved=False)
    assert await desk.rows("SELECT decision FROM hub.side_track ORDER BY track_id") == [
        ("approved",),
        ("refused",),
    ]


async def test_a_suspended_case_stands_still_until_it_is_taken_up(
    desk: Desk, staff: StaffActions
) -> None:
    case_no = await handled(desk, staff)
    review = NOON + timedelta(days=90)
    await staff.suspend(case_no, actor="crew", review_at=review, reason="冬季停工")
    await staff.decide(case_no, actor="director", type="suspension", approved=True)
    assert await desk.row("SELECT suspended, review_at FROM hub.case") == (True, review)
    desk.clock.advance(40 * 86_400)
    await desk.work()
    assert (await lights(desk, case_no))["handle"] == "grey"
    await staff.resume(case_no, actor="leader", reason="开工")
    assert (await lights(desk, case_no))["handle"] == "green"
    assert await desk.row("SELECT suspended, urge_count FROM hub.case") == (False, 0)


async def test_an_overdue_case_is_urged_and_supervised_by_the_hub_in_events(
    desk: Desk, staff: StaffActions
) -> None:
    """A red cover has 6 hours on the clock."""
    await desk.find(finding(await desk.cover()))
    await desk.work()
    for hour in range(1, 20):
        desk.clock.advance(3600)
        assert desk.clock.now() == NOON + timedelta(hours=hour)
        await desk.work()
    told = await desk.rows(
        "SELECT action, to_state, detail ->> 'light', at - %s FROM hub.event_log"
        " WHERE object = 'case' AND detail ->> 'clock' = 'handle' ORDER BY event_id",
        [NOON],
    )
    hours = [(action, state, light, at / timedelta(hours=1)) for action, state, light, at in told]
    assert hours == [
        ("light_changed", "yellow", "yellow", 5),
        ("urged", "dispatched", "yellow", 5),
        ("light_changed", "red", "red", 6),
        ("urged", "dispatched", "red", 6),
        ("supervised", "1", "red", 12),
        ("supervised", "2", "red", 18),
    ]
    assert await desk.row("SELECT urge_count, supervise_level FROM hub.case") == (2, 2)


async def test_people_urge_seldom_and_supervise_by_their_role(
    desk: Desk, staff: StaffActions
) -> None:
    case_no = await handled(desk, staff)
    await staff.urge(case_no, actor="leader", reason="请尽快")
    with pytest.raises(ConflictError, match="less than 30 minutes ago"):
        await staff.urge(case_no, actor="leader", reason="请尽快")
    await staff.urge(case_no, actor="clerk", reason="市民再次来电")
    with pytest.raises(ForbiddenError, match="only a shift leader"):
        await staff.supervise(case_no, actor="clerk", level=1, reason="超期")
    with pytest.raises(ForbiddenError, match="only a duty director"):
        await staff.supervise(case_no, actor="leader", level=3, reason="超期")
    await staff.supervise(case_no, actor="director", level=3, reason="超期")
    assert await desk.row("SELECT urge_count, supervise_level FROM hub.case") == (2, 3)


async def test_a_calendar_is_stored_once_by_year_and_a_fix_is_a_new_version(desk: Desk) -> None:
    async with desk.pool.connection() as conn, conn.transaction():
        assert 2026 in await store_calendar(conn, NOON)
        assert await store_calendar(conn, NOON) == []
        calendar = await load_calendar(conn, NOON)
        assert calendar.version == "2026.1"
        await conn.execute("DELETE FROM hub.calendar_day WHERE day = '2026-10-10'")
        assert await store_calendar(conn, NOON) == [2026]
        assert (await load_calendar(conn, NOON)).version == "2026.2"


async def test_a_limit_of_a_class_in_working_hours_leaves_the_weekend_out(
    desk: Desk, staff: StaffActions
) -> None:
    """Standing water on roads: 4 working hours, as municipal lists have it; noon is a Saturday."""
    case_no = await call(staff, category="event", class_code="0111", report_no="12345-9")
    await staff.accept(case_no, actor="clerk")
    await staff.file_case(case_no, actor="clerk")
    await staff.dispatch(case_no, actor="clerk", dept="SZ")
    monday_noon = NOON + timedelta(days=2)
    assert await desk.row("SELECT handle_due_at, limit_unit FROM hub.case") == (
        monday_noon,
        "working_hours",
    )
    assert await desk.row("SELECT due_at, source FROM hub.case_clock WHERE clock = 'handle'") == (
        monday_noon,
        "municipal lists, to be checked",
    )


async def test_the_api_takes_in_reports_and_files_of_them_and_shows_a_case_with_its_clocks(
    pool: Pool, database: str, desk: Desk, staff: StaffActions
) -> None:
    file = (
        "source,category,class_code,description,lon,lat,report_no\n"
        "hotline,component,0102,井盖缺失,111.79,37.26,A1\n"
        "hotline,component,0102,井盖缺失,111.79,37.26,A1\n"
        "neighbour,component,0102,井盖缺失,111.79,37.26,A2\n"
    )
    async with serving(pool, database, actions=staff) as client:
        told = await client.post(
            "/api/v1/cases/import",
            content=file.encode("gb18030"),
            headers={"Content-Type": "text/csv"},
        )
        assert told.status_code == 200, told.text
        (made,) = told.json()["made"]
        assert made["line"] == 2
        assert [line["line"] for line in told.json()["refused"]] == [3, 4]
        unread = await client.post("/api/v1/cases/import", content=b"\xff\xff\xff")
        assert unread.status_code == 400, unread.text
        assert unread.json()["detail"] == "the file must be UTF-8 or GB 18030"
        body = {
            "source": "inspector",
            "category": "event",
            "class_code": "0111",
            "description": "道路积水",
        }
        filed = await client.post("/api/v1/cases", json=body)
        assert filed.status_code == 200, filed.text
        await client.post(f"/api/v1/cases/{made['case_no']}/accept")
        shown = (await client.get(f"/api/v1/cases/{made['case_no']}")).json()
    assert (shown["state"], shown["light"], shown["report_no"]) == ("accepted", "green", "A1")
    assert [clock["clock"] for clock in shown["clocks"]] == ["accept", "file"]
