"""Closing by the sensor's own word (传感器核查), through the engine, the database and its clock."""

import hashlib
from datetime import timedelta

import msgspec
import psycopg
import pytest

from alerts.actions import StaffActions
from alerts.case import WATCH
from core.clock import ManualClock
from core.db import Pool
from core.model import Edge, Severity, to_micros
from core.tables import make_days
from devices import KINDS
from tests.desk import NOON, Desk, finding, later


@pytest.fixture
async def desk(pool: Pool, database: str) -> Desk:
    desk = Desk(pool, ManualClock(NOON))
    await desk.settle_city()
    with psycopg.connect(database, autocommit=True) as conn:
        for kind in ("manhole_cover", "street_lamp"):
            make_days(conn, KINDS[kind].table, [NOON.date()])
    return desk


@pytest.fixture
def staff(desk: Desk) -> StaffActions:
    return StaffActions(desk.pool, desk.clock, "webhook")


async def read_cover(desk: Desk, cover: int, tilt: float, seconds: float) -> None:
    """A reading of a cover so long after noon, heard when the hub's clock says."""
    at = NOON + timedelta(seconds=seconds)
    await desk.run(
        "INSERT INTO hub.reading_manhole_cover (ts, seq, device_no, tilt, quality)"
        " VALUES (%s, %s, %s, %s, 0)",
        [at, int(seconds), cover, tilt],
    )
    await desk.hear(cover, seconds)


async def read_lamp(desk: Desk, lamp: int, on: int, power: float, seconds: float) -> None:
    at = NOON + timedelta(seconds=seconds)
    await desk.run(
        'INSERT INTO hub.reading_street_lamp (ts, seq, device_no, "on", power, quality)'
        " VALUES (%s, %s, %s, %s, %s, 0)",
        [at, int(seconds), lamp, on, power],
    )
    await desk.hear(lamp, seconds)


def to(desk: Desk, seconds: float) -> None:
    """Set the hub's clock so long after noon."""
    desk.clock.advance((NOON + timedelta(seconds=seconds) - desk.clock.now()).total_seconds())


async def stolen(desk: Desk, staff: StaffActions) -> tuple[int, str]:
    cover = await desk.cover()
    await read_cover(desk, cover, 95, 0)
    await desk.find(finding(cover))
    await desk.work()
    (case_no,) = await desk.row("SELECT case_no FROM hub.case")
    await staff.sign(case_no, actor="crew")
    to(desk, 600)
    return cover, str(case_no)


async def lamp_out(desk: Desk, staff: StaffActions) -> tuple[int, str]:
    """A lamp found dark, filed by hand and dispatched; its hold is 3 x 300 s."""
    lamp = await desk.device("SL-1", "street_lamp", dept_code="LD")
    await read_lamp(desk, lamp, 1, 0, 0)
    await desk.find(
        finding(
            lamp,
            rule_id="lamp_out",
            kind="out",
            metric="power",
            value=0.0,
            limit=60.0,
            unit="W",
            severity=Severity.YELLOW,
            first_ts=later(-700),
        )
    )
    await desk.work()
    (alarm_id,) = await desk.row("SELECT alarm_id FROM hub.alarm")
    filed = await staff.file(alarm_id, actor="seat")
    case_no = filed.case_no
    await staff.dispatch(case_no, actor="seat", dept="LD")
    await staff.sign(case_no, actor="crew")
    to(desk, 600)
    return lamp, case_no


async def clear(desk: Desk, device: int, seconds: float, rule: str = "cover_open") -> None:
    kind = {"cover_open": "open", "lamp_out": "out"}[rule]
    at = later(seconds)
    await desk.find(
        finding(device, rule_id=rule, kind=kind, edge=Edge.CLEAR, ts=at, received_at=at)
    )


async def test_a_cover_put_back_is_passed_by_its_sensor_and_closed_by_a_person(
    desk: Desk, staff: StaffActions
) -> None:
    cover, case_no = await stolen(desk, staff)
    await staff.feedback(case_no, actor="crew", note="cover laid again")
    await desk.work()
    assert await desk.row("SELECT state, verify_result FROM hub.case") == ("verifying", None)
    await read_cover(desk, cover, 0.8, 640)
    await clear(desk, cover, 640)
    to(desk, 645)
    await desk.work()
    assert await desk.row("SELECT state, verify_result FROM hub.case") == (
        "verifying",
        "sensor_passed",
    )
    await staff.verify(case_no, actor="insp", passed=True, note="in place")
    assert await desk.row("SELECT state, verify_method FROM hub.case") == (
        "closed",
        "sensor_and_human",
    )


async def test_a_cover_badly_fixed_is_reworked_by_itself_with_the_curve(
    desk: Desk, staff: StaffActions
) -> None:
    cover, case_no = await stolen(desk, staff)
    await staff.feedback(case_no, actor="crew", note="cover laid again")
    await read_cover(desk, cover, 94, 640)
    await desk.find(finding(cover, edge=Edge.UPDATE, ts=later(640), received_at=later(640)))
    to(desk, 645)
    await desk.work()
    assert await desk.row(
        "SELECT state, verify_result, rework_count, inspector, look_at FROM hub.case"
    ) == ("in_progress", "failed", 1, "hub", None)
    (record,) = await desk.row("SELECT verify_evidence -> -1 FROM hub.case")
    curve = record["sensors"][0]["curve"]
    assert curve["metric"] == "tilt"
    assert [value for _, value, _ in curve["points"]] == [95.0, 94.0]
    told = record.pop("sha256")
    assert told == hashlib.sha256(msgspec.json.encode(record, order="sorted")).hexdigest()
    assert (await desk.rows("SELECT state, instruction FROM hub.work_order ORDER BY order_no"))[
        -1
    ] == ("signed", "传感器核查不通过：MH-1号仍异常，曲线见核查记录")
    assert (await desk.rows("SELECT message_type FROM hub.outbox ORDER BY seq"))[-1] == (
        "cn.cityhub.work_order.rework",
    )


async def test_a_sensor_that_stays_silent_leaves_it_to_a_person(
    desk: Desk, staff: StaffActions
) -> None:
    _, case_no = await stolen(desk, staff)
    await staff.feedback(case_no, actor="crew", note="cover laid again")
    to(desk, 600 + 3 * 3600 - 1)
    await desk.work()
    assert await desk.row("SELECT verify_result FROM hub.case") == (None,)
    to(desk, 600 + 3 * 3600)
    await desk.work()
    assert await desk.row("SELECT state, verify_result FROM hub.case") == (
        "verifying",
        "human_required",
    )
    (note,) = await desk.row("SELECT verify_evidence -> 0 ->> 'note' FROM hub.case")
    assert note == "传感器失联：MH-1号，须人工核查"
    await staff.verify(case_no, actor="insp", passed=True, note="in place")
    assert await desk.row("SELECT state, verify_method FROM hub.case") == ("closed", "human")


async def test_a_lamp_is_closed_by_its_sensor_alone_once_it_burnt_long_enough(
    desk: Desk, staff: StaffActions
) -> None:
    lamp, case_no = await lamp_out(desk, staff)
    await staff.feedback(case_no, actor="crew", note="new lamp")
    await clear(desk, lamp, 700, "lamp_out")
    for seconds in (700, 1000, 1300):
        await read_lamp(desk, lamp, 1, 120, seconds)
    to(desk, 1599)
    await desk.work()
    assert await desk.row("SELECT state FROM hub.case") == ("verifying",)
    await read_lamp(desk, lamp, 1, 120, 1600)
    to(desk, 1605)
    await desk.work()
    assert await desk.row("SELECT state, verify_method, inspector, close_reason FROM hub.case") == (
        "closed",
        "sensor",
        "hub",
        "handled",
    )
    (says,) = await desk.row(
        "SELECT verify_evidence -> 0 -> 'sensors' -> 0 ->> 'says' FROM hub.case"
    )
    assert says == "passed"


async def test_a_lamp_mended_by_day_is_waited_for_until_it_is_lit(
    desk: Desk, staff: StaffActions
) -> None:
    lamp, case_no = await lamp_out(desk, staff)
    await staff.feedback(case_no, actor="crew", note="new lamp")
    for seconds in range(900, 7 * 3600, 900):
        await read_lamp(desk, lamp, 0, 0, seconds)
    to(desk, 7 * 3600 - 100)
    await desk.work()
    assert await desk.row("SELECT state, verify_result FROM hub.case") == (
        "verifying",
        "not_observable",
    )
    dusk = 7 * 3600
    await clear(desk, lamp, dusk, "lamp_out")
    for step in range(4):
        await read_lamp(desk, lamp, 1, 120, dusk + step * 300)
    to(desk, dusk + 900)
    await desk.work()
    assert await desk.row("SELECT state, verify_method FROM hub.case") == ("closed", "sensor")


async def test_trouble_that_is_back_within_the_watch_reopens_the_case(
    desk: Desk, staff: StaffActions
) -> None:
    cover, case_no = await stolen(desk, staff)
    await staff.feedback(case_no, actor="crew", note="cover laid again")
    await read_cover(desk, cover, 0.8, 640)
    await clear(desk, cover, 640)
    to(desk, 645)
    await desk.work()
    await staff.verify(case_no, actor="insp", passed=True, note="in place")
    (closed,) = await desk.row("SELECT closed_at FROM hub.case")
    day = 24 * 3600
    to(desk, day)
    await desk.hear(cover, day)
    at = to_micros(NOON + timedelta(seconds=day))
    await desk.find(
        finding(
            cover,
            rule_id="cover_shift",
            kind="shift",
            severity=Severity.ORANGE,
            ts=at,
            first_ts=at,
            received_at=at,
        )
    )
    await desk.work()
    assert await desk.row(
        "SELECT state, recurrence_count, first_closed_at, closed_at, verify_result FROM hub.case"
    ) == ("in_progress", 1, closed, None, None)
    assert await desk.rows("SELECT case_no FROM hub.alarm ORDER BY alarm_id") == [
        (case_no,),
        (case_no,),
    ]
    assert (await desk.actions_of("case"))[-1] == "recurred"
    assert await desk.row("SELECT count(*), max(state) FROM hub.work_order") == (2, "signed")


async def test_a_case_is_evaluated_once_its_watch_is_over(desk: Desk, staff: StaffActions) -> None:
    cover, case_no = await stolen(desk, staff)
    await staff.feedback(case_no, actor="crew", note="cover laid again")
    await read_cover(desk, cover, 0.8, 640)
    await clear(desk, cover, 640)
    to(desk, 645)
    await desk.work()
    await staff.verify(case_no, actor="insp", passed=True, note="in place")
    desk.clock.advance(WATCH.total_seconds() - 1)
    await desk.work()
    assert await desk.row("SELECT state FROM hub.case") == ("closed",)
    desk.clock.advance(1)
    await desk.work()
    assert await desk.row("SELECT state, evaluated_at FROM hub.case") == (
        "evaluated",
        desk.clock.now(),
    )
