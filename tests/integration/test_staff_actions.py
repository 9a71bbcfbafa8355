import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from alerts.actions import StaffActions
from analytics.stages import build_stages
from core.clock import ManualClock
from core.db import Pool
from core.errors import ConflictError, NotFoundError
from core.model import Edge, Severity
from devices import KINDS
from tests.batches import Row, judge
from tests.desk import NOON, Desk, finding, later


@pytest.fixture
async def desk(pool: Pool) -> Desk:
    desk = Desk(pool, ManualClock(NOON))
    await desk.settle_city()
    return desk


@pytest.fixture
def staff(desk: Desk) -> StaffActions:
    return StaffActions(desk.pool, desk.clock, "webhook")


async def open_case(desk: Desk, **changes: Any) -> tuple[int, str]:
    """A stolen cover, filed and dispatched by the hub; return the device and the case."""
    cover = await desk.cover()
    await desk.find(finding(cover, **changes))
    await desk.hear(cover)
    await desk.work()
    (case_no,) = await desk.row("SELECT case_no FROM hub.case")
    return cover, str(case_no)


async def handle(staff: StaffActions, case_no: str) -> None:
    await staff.sign(case_no, actor="crew")
    await staff.feedback(case_no, actor="crew", note="cover laid again")


async def put_back(desk: Desk, cover: int, at: float = 60) -> None:
    await desk.find(finding(cover, edge=Edge.CLEAR, ts=later(at), received_at=later(at)))
    await desk.hear(cover, at)
    await desk.work()


async def test_whoever_is_second_is_told_who_was_first_and_when(
    desk: Desk, staff: StaffActions
) -> None:
    await open_case(desk)
    first = await staff.acknowledge(1, actor="wang", version=1)
    assert first.version == 2
    with pytest.raises(ConflictError, match="wang was first: acknowledged at 12:00:00") as refused:
        await staff.acknowledge(1, actor="li", version=1)
    assert (refused.value.by, refused.value.at) == ("wang", NOON)
    assert await desk.rows("SELECT actor, action, outcome FROM hub.audit ORDER BY audit_id") == [
        ("wang", "acknowledge", "done"),
        ("li", "acknowledge", "refused"),
    ]
    assert await desk.row("SELECT acked_by FROM hub.alarm") == ("wang",)


async def test_of_many_at_once_one_acknowledges(desk: Desk, staff: StaffActions) -> None:
    await open_case(desk)
    results = await asyncio.gather(
        *(staff.acknowledge(1, actor=f"seat-{n}", version=1) for n in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, ConflictError) for result in results) == 7
    assert (await desk.actions_of("alarm")).count("acknowledged") == 1


async def test_an_acknowledgement_is_taken_back_within_five_seconds(
    desk: Desk, staff: StaffActions
) -> None:
    await open_case(desk)
    await staff.acknowledge(1, actor="wang")
    desk.clock.advance(5)
    with pytest.raises(ConflictError, match="wang acknowledged it"):
        await staff.undo_acknowledge(1, actor="li")
    await staff.undo_acknowledge(1, actor="wang")
    assert await desk.row("SELECT ack_state, acked_by FROM hub.alarm") == ("unacked", None)
    await staff.acknowledge(1, actor="wang")
    desk.clock.advance(5.1)
    with pytest.raises(ConflictError, match="over 5 s ago"):
        await staff.undo_acknowledge(1, actor="wang")


async def test_a_case_closes_only_through_verification(desk: Desk, staff: StaffActions) -> None:
    cover, case_no = await open_case(desk)
    with pytest.raises(psycopg.errors.CheckViolation):
        await desk.run("UPDATE hub.case SET state = 'closed', closed_at = now()")
    with pytest.raises(ConflictError, match="no feedback yet"):
        await staff.verify(case_no, actor="insp", passed=True, note="looks fine")
    await handle(staff, case_no)
    with pytest.raises(ConflictError, match="MH-1 is still abnormal"):
        await staff.verify(case_no, actor="insp", passed=True, note="looks fine")
    await put_back(desk, cover)
    await staff.verify(case_no, actor="insp", passed=True, note="cover in place")
    assert await desk.row(
        "SELECT state, verify_result, verify_method, verified_at, inspector, close_reason,"
        " verify_evidence -> 0 ->> 'note' FROM hub.case"
    ) == ("closed", "passed", "sensor_and_human", NOON, "insp", "handled", "cover in place")
    assert await desk.row(
        "SELECT condition_state, clear_reason, reset_by, ack_state FROM hub.alarm"
    ) == ("cleared", "verified", "insp", "acked")
    assert await desk.row("SELECT state FROM hub.incident") == ("closed",)
    assert await desk.rows("SELECT message_type FROM hub.outbox ORDER BY seq") == [
        ("cn.cityhub.work_order.issued",),
        ("cn.cityhub.case.closed",),
    ]
    assert (await desk.actions_of("case"))[4:] == [
        "signed",
        "feedback_given",
        "verifying",
        "closed",
    ]
    assert await desk.actions_of("work_order") == ["signed", "done"]


async def test_a_next_breach_after_the_watch_is_a_new_occurrence_and_case(
    desk: Desk, staff: StaffActions
) -> None:
    cover, case_no = await open_case(desk)
    await handle(staff, case_no)
    await put_back(desk, cover)
    await staff.verify(case_no, actor="insp", passed=True, note="done")
    desk.clock.advance(72 * 3600)
    await desk.work()
    assert await desk.row("SELECT state, evaluated_at FROM hub.case") == (
        "evaluated",
        desk.clock.now(),
    )
    await desk.find(finding(cover, ts=later(120), first_ts=later(120), received_at=later(120)))
    await desk.work()
    assert await desk.rows(
        "SELECT occurrence_no, previous_alarm_id, condition_state FROM hub.alarm ORDER BY alarm_id"
    ) == [(1, None, "cleared"), (2, 1, "active")]
    assert await desk.row("SELECT count(*) FROM hub.case") == (2,)


async def test_failed_verification_is_rework_with_a_shorter_limit(
    desk: Desk, staff: StaffActions
) -> None:
    _, case_no = await open_case(desk)
    await handle(staff, case_no)
    await staff.verify(case_no, actor="insp", passed=False, note="still rocks")
    assert await desk.row(
        "SELECT state, rework_count, handle_due_2 - %s, handle_due_at - %s FROM hub.case",
        [NOON, NOON],
    ) == ("in_progress", 1, timedelta(hours=3), timedelta(hours=6))
    assert await desk.rows("SELECT order_no, state FROM hub.work_order ORDER BY order_no") == [
        (f"{case_no}-W1", "done"),
        (f"{case_no}-W2", "signed"),
    ]
    await staff.feedback(case_no, actor="crew", note="bolted down")
    assert await desk.row("SELECT state FROM hub.case") == ("feedback",)


async def test_a_person_verifies_where_the_sensor_is_silent(
    desk: Desk, staff: StaffActions
) -> None:
    _, case_no = await open_case(desk)
    await handle(staff, case_no)
    desk.clock.advance(4 * 3600)
    await staff.verify(case_no, actor="insp", passed=True, note="new cover, sensor stolen")
    assert await desk.row(
        "SELECT state, verify_method, verify_evidence -> 0 -> 'sensors' -> 0 -> 'silent'"
        " FROM hub.case"
    ) == ("closed", "human", True)
    assert await desk.row("SELECT condition_state, clear_reason FROM hub.alarm") == (
        "cleared",
        "verified",
    )


async def test_a_cover_still_open_alarms_again_after_a_silent_sensor_was_verified(
    desk: Desk, staff: StaffActions
) -> None:
    cover = await desk.cover(interval_s=1)
    stages = build_stages(KINDS["manhole_cover"], {})

    async def say(*seconds: float) -> None:
        rows = [Row(cover, later(at), {"tilt": 95}) for at in seconds]
        await desk.find(*judge(stages, KINDS["manhole_cover"], rows))
        await desk.hear(cover, seconds[-1])
        await desk.work()

    await say(0)
    (case_no,) = await desk.row("SELECT case_no FROM hub.case")
    desk.clock.advance(5)
    await handle(staff, str(case_no))
    await staff.verify(str(case_no), actor="insp", passed=True, note="sensor silent, looks fine")
    assert await desk.row("SELECT state, verify_method FROM hub.case") == ("closed", "human")
    desk.clock.advance(5)
    await say(10, 11, 12, 13)
    assert await desk.rows(
        "SELECT occurrence_no, condition_state, clear_reason FROM hub.alarm ORDER BY alarm_id"
    ) == [(1, "cleared", "verified"), (2, "active", None)]
    assert await desk.rows("SELECT state, recurrence_count FROM hub.case") == [("in_progress", 1)]


async def test_a_call_for_help_is_verified_by_a_person_alone(
    desk: Desk, staff: StaffActions
) -> None:
    badge = await desk.device("SW-1", "sanitation_worker", dept_code="SZ")
    await desk.find(finding(badge, rule_id="sos", edge=Edge.ONCE, metric="", kind="sos"))
    await desk.hear(badge)
    await desk.work()
    (case_no,) = await desk.row("SELECT case_no FROM hub.case")
    await handle(staff, case_no)
    await staff.verify(case_no, actor="insp", passed=True, note="worker is well")
    assert await desk.row("SELECT condition_state, reset_by FROM hub.alarm") == ("cleared", "insp")


async def test_a_case_whose_sensor_recovered_by_itself_is_verified_too(
    desk: Desk, staff: StaffActions
) -> None:
    cover, case_no = await open_case(desk)
    await put_back(desk, cover)
    await desk.hear(cover, 3600)
    await desk.work()
    await staff.verify(case_no, actor="insp", passed=True, note="a passer-by laid it back")
    assert await desk.row("SELECT state, close_reason FROM hub.case") == (
        "closed",
        "self_recovered",
    )
    assert await desk.row("SELECT state FROM hub.work_order") == ("cancelled",)


async def test_a_person_files_and_dispatches_an_orange_alarm(
    desk: Desk, staff: StaffActions
) -> None:
    cover = await desk.cover()
    await desk.find(finding(cover, rule_id="cover_shift", severity=Severity.ORANGE))
    await desk.work()
    filing = await staff.file(1, actor="wang", version=1)
    with pytest.raises(ConflictError, match=f"filed already as {filing.case_no}"):
        await staff.file(1, actor="li")
    assert await desk.row("SELECT state, owner_dept, handling_dept FROM hub.case") == (
        "filed",
        "SZ",
        None,
    )
    with pytest.raises(NotFoundError, match="no department XX"):
        await staff.dispatch(filing.case_no, actor="wang", dept="XX")
    await staff.dispatch(filing.case_no, actor="wang", dept="LD", version=filing.version)
    assert await desk.row(
        "SELECT state, handling_dept, routed_by, dispatcher, auto_dispatched FROM hub.case"
    ) == ("dispatched", "LD", "dispatcher", "wang", False)
    assert await desk.row("SELECT ack_state, acked_by FROM hub.alarm") == ("acked", "wang")
    assert await desk.row("SELECT dept_code FROM hub.work_order") == ("LD",)


async def test_neither_history_nor_a_device_fault_is_filed(desk: Desk, staff: StaffActions) -> None:
    cover = await desk.cover()
    await desk.find(finding(cover, received_at=later(7200)), finding(cover, rule_id="battery_low"))
    await desk.work()
    for alarm_id in (1, 2):
        with pytest.raises(ConflictError, match="no matter for a city case"):
            await staff.file(alarm_id, actor="wang")
    assert not await desk.rows("SELECT 1 FROM hub.case")


async def test_a_wrongly_dispatched_case_comes_back_and_goes_elsewhere(
    desk: Desk, staff: StaffActions
) -> None:
    _, case_no = await open_case(desk)
    with pytest.raises(ConflictError, match="needs a reason"):
        await staff.return_(case_no, actor="crew", reason=" ")
    await staff.return_(case_no, actor="crew", reason="not our cover")
    assert await desk.row("SELECT state, handling_dept, return_count FROM hub.case") == (
        "filed",
        None,
        1,
    )
    await staff.dispatch(case_no, actor="wang", dept="LD")
    assert await desk.rows("SELECT dept_code, state FROM hub.work_order ORDER BY order_no") == [
        ("SZ", "returned"),
        ("LD", "issued"),
    ]
    assert await desk.rows("SELECT key, message_type FROM hub.outbox ORDER BY seq") == [
        (f"{case_no}-1", "cn.cityhub.work_order.issued"),
        (f"{case_no}-2", "cn.cityhub.work_order.cancelled"),
        (f"{case_no}-3", "cn.cityhub.work_order.issued"),
    ]


async def test_a_latched_alarm_is_reset_by_a_person_with_a_reason_once_normal(
    desk: Desk, staff: StaffActions
) -> None:
    cover = await desk.cover()
    await desk.find(finding(cover, rule_id="cover_shift", severity=Severity.ORANGE))
    await desk.work()
    with pytest.raises(ConflictError, match="still abnormal"):
        await staff.reset_alarm(1, actor="wang", reason="false")
    await desk.find(
        finding(cover, rule_id="cover_shift", edge=Edge.CLEAR, ts=later(9), received_at=later(9))
    )
    await desk.hear(cover, 3600)
    await desk.work()
    with pytest.raises(ConflictError, match="needs a reason"):
        await staff.reset_alarm(1, actor="wang", reason="")
    await staff.reset_alarm(1, actor="wang", reason="lorry parked on it")
    assert await desk.row("SELECT reset_by, ack_state FROM hub.alarm") == ("wang", "acked")
    assert await desk.row("SELECT state FROM hub.incident") == ("closed",)
    with pytest.raises(ConflictError, match="wang has reset it already"):
        await staff.reset_alarm(1, actor="li", reason="again")


async def test_what_is_not_there_is_said_to_be_missing(desk: Desk, staff: StaffActions) -> None:
    with pytest.raises(NotFoundError, match="no alarm 7"):
        await staff.acknowledge(7, actor="wang")
    with pytest.raises(NotFoundError, match="no case FY-1"):
        await staff.sign("FY-1", actor="wang")
    with pytest.raises(NotFoundError, match="no message 5"):
        await staff.resend(5, actor="wang")


async def test_staff_and_engine_at_once_neither_lose_nor_lock_up(
    desk: Desk, staff: StaffActions
) -> None:
    covers = [await desk.cover(f"MH-{n}") for n in range(10)]
    await desk.find(*(finding(cover) for cover in covers))
    await desk.work()
    cases = [case_no for (case_no,) in await desk.rows("SELECT case_no FROM hub.case")]
    await desk.find(
        *(finding(cover, edge=Edge.CLEAR, ts=later(5), received_at=later(5)) for cover in covers)
    )
    await asyncio.gather(
        desk.work(),
        *(staff.acknowledge(n, actor="wang") for n in range(1, 11)),
        *(staff.sign(case_no, actor="crew") for case_no in cases),
    )
    assert await desk.row(
        "SELECT count(*) FILTER (WHERE condition_state = 'clearing' AND ack_state = 'acked')"
        " FROM hub.alarm"
    ) == (10,)
    assert await desk.row("SELECT count(*) FROM hub.case WHERE state = 'in_progress'") == (10,)
