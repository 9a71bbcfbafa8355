"""How an alarm becomes a case, and a case a work order that leaves the hub.

A red alarm of the city files by itself, and goes out by itself where routing names a department; a
dispatch by the hub does not acknowledge the alarm, since no person has taken note of it yet.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from alerts.alarm import Alarm, Condition
from alerts.attaching import attached, find_open_case
from alerts.case import Case, CaseState, Move, Order, dispatch, file, move
from alerts.case_rows import add_case, add_order, next_case_no, next_order_no
from alerts.clock_rows import handle_due, handle_limit, limit_seconds, run_clocks
from alerts.journal import Entry
from alerts.likeness import propose
from alerts.message import ISSUED, STEPS, Evidence, compose
from alerts.office import CENTRE, Office
from alerts.outbox import enqueue, is_heard
from alerts.routing import find_department
from core.db import Connection
from core.errors import ConflictError
from core.failpoint import passing
from core.model import Audience, Severity, Text
from devices.kind import AlarmRule


def files_itself(alarm: Alarm, rule: AlarmRule) -> bool:
    """Return whether an alarm becomes a case without anybody's word."""
    return (
        alarm.severity is Severity.RED
        and alarm.condition_state is Condition.ACTIVE
        and alarm.suppression == "none"
        and may_be_filed(alarm, rule)
    )


def may_be_filed(alarm: Alarm, rule: AlarmRule) -> bool:
    """Return whether it concerns the city at all, now, and has no case yet."""
    return (
        rule.audience is Audience.CITY
        and bool(rule.class_code)
        and not alarm.retroactive
        and alarm.case_no is None
    )


async def file_alarm(
    conn: Connection,
    evidence: Evidence,
    office: Office,
    now: datetime,
    *,
    actor: str,
    goes_on: bool,
) -> tuple[Case, list[Entry]]:
    """Make a case of an alarm: reported, accepted, filed, and dispatched where it goes on.

    The caller holds the alarm's lock, writes its ``case_no``, and appends the entries last.

    Args:
        conn: The transaction.
        evidence: The alarm and what is known around it.
        office: Who files.
        now: The hub's time.
        actor: Who acted.
        goes_on: Dispatch at once if routing names a department.

    Raises:
        ConflictError: The alarm can have no case, or has one.
    """
    alarm, facts, rule = evidence.alarm, evidence.facts, evidence.rule
    if alarm.case_no is not None:
        raise ConflictError(
            Text(f"已立案{alarm.case_no}", f"it is filed already as {alarm.case_no}")
        )
    if not may_be_filed(alarm, rule):
        raise ConflictError(
            Text("设备运维或历史告警不立城市案件", "this alarm is no matter for a city case")
        )
    route = await find_department(conn, facts, rule, now)
    known = await find_open_case(conn, alarm.incident_id, route.dept_code or CENTRE)
    if known is not None:
        return known, [attached(known, evidence, actor)]
    severity, code = alarm.severity, route.class_code or rule.class_code
    limit = await handle_limit(conn, rule.category, code, severity, now, rule=rule)
    case = Case(
        case_no=await next_case_no(conn, office, now),
        category=rule.category,
        class_code=code,
        component_code=facts.component_code,
        grid_code=route.grid_code or facts.grid_code,
        address=facts.called,
        lon=facts.lon,
        lat=facts.lat,
        description_zh=f"{rule.label.zh}：{alarm.explain_zh}",
        description_en=f"{rule.label.en}: {alarm.explain_en}",
        severity=severity,
        owner_dept=route.dept_code or CENTRE,
        routed_by=route.rule,
        reported_at=now,
        handle_limit_s=limit_seconds(limit),
        handle_amount=limit.amount,
        limit_unit=limit.unit,
        incident_id=alarm.incident_id,
    )
    moves = [Move("reported", "", case.state)]
    case, accepted = move(case, "accepted", accepted_at=now)
    due = await handle_due(conn, case, now)
    case, filed = file(case, now, due=due)
    moves += [accepted, filed]
    order = None
    if goes_on and route.dept_code:
        case, sent = dispatch(
            case, route.dept_code, route.rule, actor, now, automatic=True, due=due
        )
        moves.append(sent)
    await add_case(conn, case)
    await propose(conn, case, now)
    passing("alerts.after_case_row")
    steps = [step.action for step in moves]
    await tell_steps(conn, steps, case, None, evidence, office=office, now=now)
    evidence = replace(evidence, alarm=replace(alarm, case_no=case.case_no))
    if case.handling_dept is not None:
        order = await issue_order(conn, case, evidence, office, now)
    await run_clocks(conn, case, steps, now, rule)
    return case, [entry_of(case, step, evidence, actor, order) for step in moves]


async def issue_order(
    conn: Connection,
    case: Case,
    evidence: Evidence | None,
    office: Office,
    now: datetime,
    *,
    message_type: str = ISSUED,
    due_at: datetime | None = None,
    instruction: str = "",
) -> Order:
    """Add a main work order for the handling department and queue it for the city's platform."""
    minutes = evidence.rule.on_site_minutes if evidence else None
    order = Order(
        order_no=await next_order_no(conn, case.case_no),
        case_no=case.case_no,
        dept_code=case.handling_dept or CENTRE,
        issued_at=now,
        on_site_due_at=None if minutes is None else now + timedelta(minutes=minutes),
        due_at=due_at or case.handle_due_at,
        instruction=instruction or case.description_zh,
    )
    await add_order(conn, order)
    passing("alerts.after_order")
    await tell(conn, message_type, case, order, evidence, office=office, now=now)
    return order


async def tell(
    conn: Connection,
    message_type: str,
    case: Case,
    order: Order | None,
    evidence: Evidence | None,
    *,
    office: Office,
    now: datetime,
) -> None:
    """Queue a message about a case, for the platform and the receivers that take it."""
    name = await _department(conn, case.handling_dept)
    body = compose(message_type, case, order, evidence, name, office=office, at=now)
    await enqueue(conn, office.connector, case.case_no, message_type, body, at=now)


async def tell_steps(
    conn: Connection,
    steps: Sequence[str],
    case: Case,
    order: Order | None,
    evidence: Evidence | None,
    *,
    office: Office,
    now: datetime,
) -> None:
    """Queue what moves of a case there were, for the receivers that ask for them."""
    for step in steps:
        message_type = STEPS.get(step)
        past = step == "verifying" and case.state is not CaseState.VERIFYING  # judged at once
        if message_type is not None and not past and await is_heard(conn, message_type):
            await tell(conn, message_type, case, order, evidence, office=office, now=now)


def entry_of(
    case: Case, step: Move, evidence: Evidence | None, actor: str, order: Order | None = None
) -> Entry:
    """Return the line of the log for a move of a case, complete enough for the feed."""
    detail: dict[str, Any] = {
        "case_no": case.case_no,
        "severity": case.severity.name.lower(),
        "text": {"zh": case.description_zh, "en": case.description_en},
        "class_code": case.class_code,
        "component_code": case.component_code,
        "grid_code": case.grid_code,
        "address": case.address,
        "lon": case.lon,
        "lat": case.lat,
        "owner_dept": case.owner_dept,
        "handling_dept": case.handling_dept,
        "routed_by": case.routed_by,
        "auto_dispatched": case.auto_dispatched,
        "handle_due_at": case.handle_due_2 or case.handle_due_at,
        "incident_id": case.incident_id,
        "order_no": order.order_no if order else None,
        "version": case.version,
    }
    if evidence is not None:
        detail |= {
            "alarm_id": evidence.alarm.alarm_id,
            "rule_id": evidence.rule.rule_id,
            "device_id": evidence.facts.device_id,
            "device_name": evidence.facts.called,
            "value": evidence.alarm.value,
            "limit": evidence.alarm.threshold,
            "unit": evidence.alarm.unit,
        }
    return Entry(
        log="case",
        actor=actor,
        object="case",
        object_id=case.case_no,
        action=step.action,
        before=step.before,
        after=step.after,
        reason=step.reason,
        detail=detail,
    )


async def _department(conn: Connection, dept_code: str | None) -> Text | None:
    query = "SELECT name_zh, name_en FROM hub.department WHERE dept_code = %s"
    row = await (await conn.execute(query, [dept_code])).fetchone()
    return None if row is None else Text(*row)
