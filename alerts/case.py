"""A case (案件) and its work orders (任务单), as plain functions: no I/O, no clock, no chance.

A case goes 上报 → 受理 → 立案 → 派遣 → 处置 → 反馈 → 核查 → 结案. :data:`MOVES` holds every move
there is; what is not in it is refused. Before filing a case may end rejected or void; once filed,
only verification closes it, and the database checks that too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from core.errors import ConflictError
from core.model import Severity, Text

REWORK_SHARE: Final = 0.5
"""Share of the limit of handling that a rework gets; ours."""
WATCH: Final = timedelta(hours=72)
"""So long after closing a case is watched for recurrence (复发); ours."""


class CaseState(StrEnum):
    """Where a case stands (环节)."""

    REPORTED = "reported"
    VERIFY_REQUESTED = "verify_requested"
    ACCEPTED = "accepted"
    FILED = "filed"
    REJECTED = "rejected"
    VOID = "void"
    MERGED = "merged"
    DISPATCHED = "dispatched"
    IN_PROGRESS = "in_progress"
    FEEDBACK = "feedback"
    VERIFYING = "verifying"
    CLOSED = "closed"
    EVALUATED = "evaluated"


class OrderState(StrEnum):
    """Where a work order stands."""

    ISSUED = "issued"
    SIGNED = "signed"
    ON_SITE = "on_site"
    DONE = "done"
    RETURNED = "returned"
    CANCELLED = "cancelled"


_S = CaseState
_UNFILED: Final = frozenset({_S.REPORTED, _S.ACCEPTED, _S.VERIFY_REQUESTED})
FINAL: Final = frozenset({_S.REJECTED, _S.VOID, _S.MERGED, _S.EVALUATED})
"""From here nothing leads on."""
OPEN: Final = frozenset(_S) - FINAL - {_S.CLOSED}
"""Still somebody's work."""

MOVES: Final[Mapping[str, tuple[frozenset[CaseState], CaseState]]] = {
    "verify_requested": (frozenset({_S.REPORTED, _S.ACCEPTED}), _S.VERIFY_REQUESTED),
    "accepted": (frozenset({_S.REPORTED, _S.VERIFY_REQUESTED}), _S.ACCEPTED),
    "filed": (frozenset({_S.ACCEPTED}), _S.FILED),
    "rejected": (_UNFILED, _S.REJECTED),
    "voided": (_UNFILED, _S.VOID),
    "merged": (OPEN, _S.MERGED),
    "dispatched": (frozenset({_S.FILED}), _S.DISPATCHED),
    "returned": (frozenset({_S.DISPATCHED}), _S.FILED),
    "signed": (frozenset({_S.DISPATCHED}), _S.IN_PROGRESS),
    "feedback_given": (frozenset({_S.IN_PROGRESS}), _S.FEEDBACK),
    "verifying": (frozenset({_S.FEEDBACK}), _S.VERIFYING),
    "self_recovered": (frozenset({_S.FILED, _S.DISPATCHED, _S.IN_PROGRESS}), _S.VERIFYING),
    "closed": (frozenset({_S.VERIFYING}), _S.CLOSED),
    "rework": (frozenset({_S.VERIFYING}), _S.IN_PROGRESS),
    "recurred": (frozenset({_S.CLOSED}), _S.IN_PROGRESS),
    "evaluated": (frozenset({_S.CLOSED}), _S.EVALUATED),
}
"""Every move of a case by its name in the log: where from, where to."""

ORDER_MOVES: Final[Mapping[str, tuple[frozenset[OrderState], OrderState]]] = {
    "signed": (frozenset({OrderState.ISSUED}), OrderState.SIGNED),
    "arrived": (frozenset({OrderState.SIGNED}), OrderState.ON_SITE),
    "done": (frozenset({OrderState.SIGNED, OrderState.ON_SITE}), OrderState.DONE),
    "returned": (frozenset({OrderState.ISSUED}), OrderState.RETURNED),
    "cancelled": (
        frozenset({OrderState.ISSUED, OrderState.SIGNED, OrderState.ON_SITE}),
        OrderState.CANCELLED,
    ),
}
"""Every move of a work order."""

STATE_TEXT: Final[Mapping[CaseState, Text]] = {
    _S.REPORTED: Text("已上报", "reported"),
    _S.VERIFY_REQUESTED: Text("待核实", "waiting to be checked"),
    _S.ACCEPTED: Text("已受理", "accepted"),
    _S.FILED: Text("已立案", "filed"),
    _S.REJECTED: Text("不予立案", "rejected"),
    _S.VOID: Text("作废", "void"),
    _S.MERGED: Text("并案", "merged"),
    _S.DISPATCHED: Text("已派遣", "dispatched"),
    _S.IN_PROGRESS: Text("处置中", "in progress"),
    _S.FEEDBACK: Text("已反馈", "fed back"),
    _S.VERIFYING: Text("核查中", "being verified"),
    _S.CLOSED: Text("结案", "closed"),
    _S.EVALUATED: Text("已评价", "evaluated"),
}
"""What the command centre calls each state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case; each attribute is the column of ``hub.case`` of the same name.

    ``look_at`` is when the hub looks at it again by itself: at its sensors after feedback, and at
    the end of the watch after closing.
    """

    case_no: str
    source: str = "sensor"
    category: str
    class_code: str
    component_code: str | None = None
    grid_code: str | None = None
    address: str = ""
    lon: float | None = None
    lat: float | None = None
    description_zh: str
    description_en: str
    severity: Severity
    state: CaseState = CaseState.REPORTED
    owner_dept: str | None = None
    handling_dept: str | None = None
    routed_by: str = ""
    dispatcher: str | None = None
    handler: str | None = None
    inspector: str | None = None
    reported_at: datetime
    accepted_at: datetime | None = None
    filed_at: datetime | None = None
    dispatched_at: datetime | None = None
    signed_at: datetime | None = None
    feedback_at: datetime | None = None
    verified_at: datetime | None = None
    closed_at: datetime | None = None
    first_closed_at: datetime | None = None
    handle_limit_s: float
    handle_amount: float | None = None
    limit_unit: str = "urgent_hours"
    calendar_version: str = ""
    handle_due_at: datetime | None = None
    handle_due_2: datetime | None = None
    paused_s: float = 0.0
    extension_count: int = 0
    urge_count: int = 0
    supervise_level: int = 0
    suspended: bool = False
    review_at: datetime | None = None
    return_count: int = 0
    rework_count: int = 0
    recurrence_count: int = 0
    verify_method: str | None = None
    verify_result: str | None = None
    close_reason: str | None = None
    merged_into: str | None = None
    reporter: str = ""
    report_no: str | None = None
    evaluated_at: datetime | None = None
    look_at: datetime | None = None
    incident_id: int | None = None
    auto_dispatched: bool = False
    version: int = 1

    @property
    def has_place(self) -> bool:
        """Whether somebody could find it."""
        return bool(self.component_code or self.grid_code or self.address or self.lon is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A work order; each attribute is the column of ``hub.work_order`` of the same name."""

    order_no: str
    case_no: str
    dept_code: str
    role: str = "main"
    handler: str | None = None
    state: OrderState = OrderState.ISSUED
    issued_at: datetime
    signed_at: datetime | None = None
    on_site_at: datetime | None = None
    done_at: datetime | None = None
    on_site_due_at: datetime | None = None
    due_at: datetime | None = None
    instruction: str = ""
    feedback: str | None = None
    return_reason: str | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Move:
    """A step of a case or order, for the log."""

    action: str
    before: str
    after: str
    reason: str | None = None


def move(case: Case, action: str, *, reason: str | None = None, **facts: Any) -> tuple[Case, Move]:
    """Return the case one move on.

    Args:
        case: The case as it stands.
        action: A key of :data:`MOVES`, but for those with a guard below.
        reason: Why.
        facts: Attributes that change with it.

    Raises:
        ConflictError: There is no such move from where the case stands.
    """
    sources, target = MOVES[action]
    if case.state not in sources:
        now = STATE_TEXT[case.state]
        raise ConflictError(
            Text(
                f"案件{case.case_no}{now.zh}, 不能{STATE_TEXT[target].zh}",
                f"case {case.case_no} is {now.en}: it cannot become {STATE_TEXT[target].en}",
            )
        )
    return replace(case, state=target, **facts), Move(action, case.state, target, reason)


def confirm(case: Case) -> tuple[Case, Move]:
    """Return a case that was checked to where it came from (核实).

    Raises:
        ConflictError: Nobody asked for a check.
    """
    if case.accepted_at is not None or case.state is not CaseState.VERIFY_REQUESTED:
        return move(case, "accepted")
    back = replace(case, state=CaseState.REPORTED)
    return back, Move("confirmed", CaseState.VERIFY_REQUESTED, CaseState.REPORTED)


def file(case: Case, now: datetime, *, due: datetime | None = None) -> tuple[Case, Move]:
    """File it (立案): from here only verification closes it.

    Args:
        case: The case.
        now: The hub's time.
        due: When it must be handled; None: after its limit on the clock.

    Raises:
        ConflictError: It was not accepted, or lacks class or place.
    """
    if not case.class_code:
        raise ConflictError(Text("缺少大类小类, 不能立案", "a case needs its class to be filed"))
    if not case.has_place:
        raise ConflictError(Text("缺少位置, 不能立案", "a case needs a place to be filed"))
    due = due or now + timedelta(seconds=case.handle_limit_s)
    return move(case, "filed", filed_at=now, handle_due_at=due)


def merge(case: Case, survivor: Case) -> tuple[Case, Move]:
    """Merge it into another open case (并案), whose clocks stand.

    A filed case goes only into a filed one: so it, too, ends with a verified case.

    Raises:
        ConflictError: One is over, both are one, or a filed case would end unverified.
    """
    if survivor.case_no == case.case_no or survivor.state not in OPEN:
        raise ConflictError(
            Text(
                f"案件{survivor.case_no}不能作为并案主案",
                f"nothing can be merged into case {survivor.case_no}",
            )
        )
    if case.filed_at is not None and survivor.filed_at is None:
        raise ConflictError(
            Text(
                f"已立案案件只能并入已立案案件, {survivor.case_no}尚未立案",
                f"a filed case goes only into a filed one, and {survivor.case_no} is not",
            )
        )
    return move(case, "merged", reason=survivor.case_no, merged_into=survivor.case_no, look_at=None)


def dispatch(
    case: Case,
    dept: str,
    routed_by: str,
    actor: str,
    now: datetime,
    *,
    automatic: bool = False,
    due: datetime | None = None,
) -> tuple[Case, Move]:
    """Send it to a department (派遣); its limit of handling runs from here.

    Raises:
        ConflictError: It is not filed, or nobody is named.
    """
    if not dept:
        raise ConflictError(Text("未确定处置单位", "no department is named"))
    return move(
        case,
        "dispatched",
        reason=routed_by or None,
        handling_dept=dept,
        routed_by=routed_by,
        dispatcher=actor,
        dispatched_at=now,
        handle_due_at=due or now + timedelta(seconds=case.handle_limit_s),
        auto_dispatched=automatic,
    )


def close(case: Case, actor: str, now: datetime, method: str) -> tuple[Case, Move]:
    """Close a verified case (结案).

    Raises:
        ConflictError: It is not being verified.
    """
    return move(
        case,
        "closed",
        reason=method,
        inspector=actor,
        verified_at=now,
        verify_method=method,
        verify_result="passed",
        closed_at=now,
        first_closed_at=case.first_closed_at or now,
        look_at=now + WATCH,
        close_reason="self_recovered" if case.feedback_at is None else "handled",
    )


def rework(
    case: Case,
    actor: str,
    note: str,
    now: datetime,
    method: str,
    *,
    due: datetime | None = None,
) -> tuple[Case, Move]:
    """Send a case that failed verification back to its handler (返工).

    The first deadline stays for the statistics; the work gets a shorter one of its own.

    Raises:
        ConflictError: It is not being verified, or nobody ever had it to handle.
    """
    if case.handling_dept is None:
        raise ConflictError(Text("尚未派遣, 不能返工", "it was never dispatched: nothing to redo"))
    return move(
        case,
        "rework",
        reason=note or None,
        inspector=actor,
        verify_method=method,
        verify_result="failed",
        rework_count=case.rework_count + 1,
        look_at=None,
        handle_due_2=due or now + timedelta(seconds=case.handle_limit_s * REWORK_SHARE),
    )


def feed_back(case: Case, note: str, now: datetime) -> tuple[Case, Move]:
    """Report the work done (反馈); the hub looks at the sensors from now on.

    Raises:
        ConflictError: Nobody has it to handle.
    """
    return move(
        case, "feedback_given", reason=note, feedback_at=now, look_at=now, verify_result=None
    )


def recur(
    case: Case, reason: str, now: datetime, *, due: datetime | None = None
) -> tuple[Case, Move]:
    """Reopen a closed case whose trouble is back within the watch (复发); its first closing stays.

    Raises:
        ConflictError: It is not closed, nobody ever had it to handle, or the watch is over.
    """
    if case.handling_dept is None or case.closed_at is None or now >= case.closed_at + WATCH:
        raise ConflictError(Text("不在复发观察期内", "it is watched for recurrence no more"))
    return move(
        case,
        "recurred",
        reason=reason,
        recurrence_count=case.recurrence_count + 1,
        look_at=None,
        closed_at=None,
        verified_at=None,
        verify_result=None,
        feedback_at=None,
        handle_due_2=due or now + timedelta(seconds=case.handle_limit_s * REWORK_SHARE),
    )


def evaluate(case: Case, now: datetime) -> tuple[Case, Move]:
    """Let a closed case rest for good once its watch is over (评价).

    Raises:
        ConflictError: It is not closed, or still watched.
    """
    if case.closed_at is None or now < case.closed_at + WATCH:
        raise ConflictError(Text("复发观察期未结束", "it is still watched for recurrence"))
    return move(case, "evaluated", evaluated_at=now, look_at=None)


def move_order(order: Order, action: str, **facts: Any) -> tuple[Order, Move]:
    """Return the work order one move on.

    Raises:
        ConflictError: There is no such move from where it stands.
    """
    sources, target = ORDER_MOVES[action]
    if order.state not in sources:
        raise ConflictError(
            Text(
                f"任务单{order.order_no}状态为{order.state}, 不能{target}",
                f"work order {order.order_no} is {order.state}: it cannot become {target}",
            )
        )
    reason = facts.get("return_reason")
    return replace(order, state=target, **facts), Move(action, order.state, target, reason)
