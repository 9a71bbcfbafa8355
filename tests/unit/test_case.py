from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.case import (
    FINAL,
    MOVES,
    OPEN,
    Case,
    CaseState,
    Order,
    OrderState,
    close,
    confirm,
    dispatch,
    file,
    move,
    move_order,
    rework,
)
from core.errors import ConflictError
from core.model import Severity

NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


def case(state: CaseState = CaseState.REPORTED, **changes: Any) -> Case:
    values: dict[str, Any] = {
        "case_no": "FY-20261121-000001",
        "category": "component",
        "class_code": "0102",
        "description_zh": "井盖开启",
        "description_en": "cover open",
        "severity": Severity.RED,
        "state": state,
        "address": "东大街",
        "reported_at": NOON,
        "handle_limit_s": 6 * 3600.0,
    }
    return Case(**values | changes)


def test_a_filed_case_is_left_only_through_verification() -> None:
    unfiled = {CaseState.REPORTED, CaseState.ACCEPTED, CaseState.VERIFY_REQUESTED}
    for action in ("rejected", "voided"):
        assert MOVES[action][0] == unfiled
    into_closed = [action for action, (_, target) in MOVES.items() if target is CaseState.CLOSED]
    assert into_closed == ["closed"]
    assert MOVES["closed"][0] == {CaseState.VERIFYING}


def test_from_the_end_nothing_leads_on() -> None:
    for sources, _ in MOVES.values():
        assert not sources & FINAL
    assert OPEN | FINAL | {CaseState.CLOSED} == set(CaseState)


def test_every_state_can_be_reached() -> None:
    assert {target for _, target in MOVES.values()} | {CaseState.REPORTED} == set(CaseState)


@pytest.mark.parametrize("action", MOVES)
@pytest.mark.parametrize("state", CaseState)
def test_a_move_goes_only_from_where_it_may(action: str, state: CaseState) -> None:
    sources, target = MOVES[action]
    if state in sources:
        moved, step = move(case(state), action)
        assert (moved.state, step.before, step.after) == (target, state, target)
    else:
        with pytest.raises(ConflictError):
            move(case(state), action)


def test_filing_needs_a_class_and_a_place() -> None:
    with pytest.raises(ConflictError, match="class"):
        file(case(CaseState.ACCEPTED, class_code=""), NOON)
    with pytest.raises(ConflictError, match="place"):
        file(case(CaseState.ACCEPTED, address=""), NOON)
    filed, _ = file(case(CaseState.ACCEPTED), NOON)
    assert filed.handle_due_at == NOON + timedelta(hours=6)


def test_a_check_returns_a_case_to_where_it_came_from() -> None:
    fresh, _ = move(case(), "verify_requested")
    assert confirm(fresh)[0].state is CaseState.REPORTED
    accepted, _ = move(case(), "accepted", accepted_at=NOON)
    asked, _ = move(accepted, "verify_requested")
    assert confirm(asked)[0].state is CaseState.ACCEPTED


def test_dispatch_needs_a_department_and_starts_the_clock() -> None:
    with pytest.raises(ConflictError, match="department"):
        dispatch(case(CaseState.FILED), "", "manual", "wang", NOON)
    later = NOON + timedelta(hours=1)
    sent, _ = dispatch(case(CaseState.FILED), "SZ", "component_owner", "wang", later)
    assert sent.handle_due_at == later + timedelta(hours=6)


def test_closing_carries_the_record_of_its_verification() -> None:
    closed, _ = close(case(CaseState.VERIFYING, feedback_at=NOON), "insp", NOON, "sensor_and_human")
    assert (closed.verify_result, closed.verified_at) == ("passed", NOON)
    assert closed.close_reason == "handled"


def test_rework_keeps_the_first_deadline_and_gets_half_the_limit() -> None:
    verifying = case(CaseState.VERIFYING, handling_dept="SZ", handle_due_at=NOON)
    again, _ = rework(verifying, "insp", "still rocks", NOON, "human")
    assert again.state is CaseState.IN_PROGRESS
    assert again.handle_due_at == NOON
    assert again.handle_due_2 == NOON + timedelta(hours=3)
    with pytest.raises(ConflictError, match="never dispatched"):
        rework(case(CaseState.VERIFYING), "insp", "", NOON, "human")


@pytest.mark.parametrize(
    ("state", "action", "allowed"),
    [
        (OrderState.ISSUED, "signed", True),
        (OrderState.SIGNED, "arrived", True),
        (OrderState.ON_SITE, "done", True),
        (OrderState.DONE, "done", False),
        (OrderState.SIGNED, "returned", False),
        (OrderState.RETURNED, "signed", False),
        (OrderState.CANCELLED, "signed", False),
    ],
)
def test_a_work_order_goes_its_way(state: OrderState, action: str, allowed: bool) -> None:
    order = Order(order_no="W1", case_no="C1", dept_code="SZ", state=state, issued_at=NOON)
    if allowed:
        assert move_order(order, action)[1].before == state
    else:
        with pytest.raises(ConflictError, match="work order W1"):
            move_order(order, action)
