"""Cases (案件), their work orders (任务单) and what was sent to the city's platform."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from api.paging import cut_page
from api.shapes import Instant, Shape, Words, case_state_label, severity_label
from api.store import TENANT, Look, Row

OPEN_STATES: Final = (
    "reported", "verify_requested", "accepted", "filed", "dispatched", "in_progress", "feedback",
    "verifying",
)  # fmt: skip

_SHOWN: Final = """
SELECT c.*, coalesce(g.name, '') AS grid_name,
       coalesce(d.name_zh, '') AS dept_zh,
       coalesce(nullif(d.name_en, ''), d.name_zh, '') AS dept_en,
       CASE WHEN c.suspended THEN 'grey' ELSE (
            SELECT k.light FROM hub.case_clock k
             WHERE k.case_no = c.case_no AND k.stopped_at IS NULL
             ORDER BY array_position('{deep_red,red,yellow,green,grey}', k.light), k.due_at LIMIT 1)
        END AS light,
       (SELECT coalesce(array_agg(a.alarm_id ORDER BY a.alarm_id), '{}') FROM hub.alarm a
         WHERE a.case_no = c.case_no) AS alarm_ids
  FROM hub.case c
  LEFT JOIN hub.grid_cell g ON g.grid_code = c.grid_code
  LEFT JOIN hub.department d ON d.dept_code = coalesce(c.handling_dept, c.owner_dept)
"""
_LIST: Final = (
    _SHOWN
    + """
 WHERE c.tenant_id = %(tenant)s
   AND (%(states)s::text[] IS NULL OR c.state = ANY (%(states)s))
   AND (%(severity)s::int2[] IS NULL OR c.severity = ANY (%(severity)s))
   AND (%(dept)s::text IS NULL OR c.handling_dept = %(dept)s)
   AND (%(grid)s::text IS NULL OR c.grid_code = %(grid)s)
   AND (%(at)s::timestamptz IS NULL OR (c.reported_at, c.case_no) < (%(at)s, %(case_no)s))
 ORDER BY c.reported_at DESC, c.case_no DESC
 LIMIT %(limit)s
"""
)
_ONE: Final = _SHOWN + " WHERE c.case_no = %s AND c.tenant_id = %s"
_SOME: Final = _SHOWN + " WHERE c.case_no = ANY (%s::text[]) AND c.tenant_id = %s"
_ORDERS: Final = """
SELECT o.*, coalesce(d.name_zh, o.dept_code) AS dept_zh,
       coalesce(nullif(d.name_en, ''), d.name_zh, o.dept_code) AS dept_en
  FROM hub.work_order o LEFT JOIN hub.department d USING (dept_code)
 WHERE o.case_no = %s
 ORDER BY o.issued_at, o.order_no
"""
_DELIVERIES: Final = "SELECT * FROM hub.outbox WHERE case_no = %s ORDER BY connector, seq"
_CLOCKS: Final = """
SELECT * FROM hub.case_clock WHERE case_no = %s ORDER BY started_at, clock, round
"""
_TRACKS: Final = "SELECT * FROM hub.side_track WHERE case_no = %s ORDER BY track_id"
_PROPOSALS: Final = """
SELECT * FROM hub.merge_proposal WHERE case_no = %s OR into_no = %s ORDER BY proposal_id
"""
_OUTBOX: Final = """
SELECT * FROM hub.outbox
 WHERE tenant_id = %(tenant)s
   AND (%(state)s::text IS NULL OR state = %(state)s)
   AND (%(before)s::int8 IS NULL OR outbox_id < %(before)s)
 ORDER BY outbox_id DESC
 LIMIT %(limit)s
"""
_COUNTS: Final = "SELECT state, count(*) AS n FROM hub.case WHERE tenant_id = %s GROUP BY state"


class Case(Shape):
    """A case in the city-management sense."""

    case_no: str
    version: int
    """Send it as ``If-Match`` with an action."""
    state: str
    state_label: Words
    source: str
    category: str
    class_code: str
    component_code: str | None
    grid_code: str | None
    grid_name: str
    address: str
    lon: float | None
    """WGS-84 degrees."""
    lat: float | None
    description: Words
    severity: int
    severity_label: Words
    owner_dept: str | None
    handling_dept: str | None
    dept_label: Words
    """Name of the handling department, else of the owner."""
    routed_by: str
    dispatcher: str | None
    handler: str | None
    inspector: str | None
    reported_at: Instant
    accepted_at: Instant | None
    filed_at: Instant | None
    dispatched_at: Instant | None
    signed_at: Instant | None
    feedback_at: Instant | None
    verified_at: Instant | None
    closed_at: Instant | None
    handle_due_at: Instant | None
    handle_due_2: Instant | None
    """Deadline of a rework; the first stays for the statistics."""
    first_closed_at: Instant | None
    evaluated_at: Instant | None
    light: str | None
    """``green``, ``yellow``, ``red``, ``deep_red``, or ``grey`` where all stands still."""
    handle_amount: float | None
    limit_unit: str
    """``urgent_hours`` 紧急工作时, ``working_hours`` 工作时 or ``working_days`` 工作日."""
    extension_count: int
    urge_count: int
    supervise_level: int
    suspended: bool
    review_at: Instant | None
    merged_into: str | None
    reporter: str
    report_no: str | None
    return_count: int
    rework_count: int
    recurrence_count: int
    verify_method: str | None
    verify_result: str | None
    close_reason: str | None
    external_no: str | None
    incident_id: int | None
    alarm_ids: list[int]
    auto_dispatched: bool


class WorkOrder(Shape):
    """What a department was told to do."""

    order_no: str
    role: str
    """``main`` or ``assist``."""
    dept_code: str
    dept_label: Words
    handler: str | None
    state: str
    issued_at: Instant
    signed_at: Instant | None
    on_site_at: Instant | None
    done_at: Instant | None
    on_site_due_at: Instant | None
    due_at: Instant | None
    instruction: str
    feedback: str | None
    return_reason: str | None


class Clock(Shape):
    """A clock of a case."""

    clock: str
    round: int
    started_at: Instant
    amount: float
    unit: str
    source: str
    """Where its limit comes from."""
    calendar_version: str
    yellow_at: Instant
    due_at: Instant
    stopped_at: Instant | None
    paused_at: Instant | None
    paused_s: float
    light: str


class SideTrack(Shape):
    """An extension or a suspension that was asked for."""

    track_id: int
    type: str
    requested_by: str
    requested_at: Instant
    reason: str
    hours: float | None
    review_at: Instant | None
    approver: str | None
    approved_at: Instant | None
    decision: str | None
    new_due_at: Instant | None


class Proposal(Shape):
    """What a case may be the same as, for a clerk to decide."""

    case_no: str
    into_no: str | None
    incident_id: int | None
    metres: float
    proposed_at: Instant
    decision: str | None


class Delivery(Shape):
    """One message to the city's platform, in the outbox."""

    outbox_id: int
    case_no: str
    connector: str
    seq: int
    key: str
    """Idempotency key, the same at every try."""
    message_type: str
    state: str
    """``queued``, ``sending``, ``delivered`` or ``dead``."""
    attempts: int
    created_at: Instant
    due_at: Instant
    delivered_at: Instant | None
    external_id: str | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases are asked for; None: any."""

    states: list[str] | None = None
    severity: list[int] | None = None
    dept: str | None = None
    grid: str | None = None


async def list_cases(
    look: Look, wanted: CaseFilter, *, after: tuple[datetime, str] | None, limit: int
) -> tuple[list[Row], str | None]:
    """Return a page of cases, newest first, and the token of the next page."""
    at, case_no = after or (None, None)
    params = {
        **asdict(wanted),
        "tenant": TENANT,
        "at": at,
        "case_no": case_no,
        "limit": limit + 1,
    }
    page, token = cut_page(
        await look.rows(_LIST, params), limit, lambda row: [row["reported_at"], row["case_no"]]
    )
    return [show_case(row) for row in page], token


async def cases_by_no(look: Look, numbers: Sequence[str]) -> list[Row]:
    """Return some cases, in no order; those that do not exist are left out."""
    return [show_case(row) for row in await look.rows(_SOME, [list(numbers), TENANT])]


async def read_case(look: Look, case_no: str) -> Row | None:
    """Return one case with its work orders and deliveries."""
    row = await look.row(_ONE, [case_no, TENANT])
    if row is None:
        return None
    return {
        **show_case(row),
        "work_orders": [
            {**order, "dept_label": Words(zh=order["dept_zh"], en=order["dept_en"])}
            for order in await look.rows(_ORDERS, [case_no])
        ],
        "deliveries": await look.rows(_DELIVERIES, [case_no]),
        "clocks": await look.rows(_CLOCKS, [case_no]),
        "side_tracks": await look.rows(_TRACKS, [case_no]),
        "proposals": await look.rows(_PROPOSALS, [case_no, case_no]),
    }


async def list_outbox(
    look: Look, *, state: str | None, before: int | None, limit: int
) -> tuple[list[Row], str | None]:
    """Return a page of deliveries, newest first, and the token of the next page."""
    params = {"tenant": TENANT, "state": state, "before": before, "limit": limit + 1}
    rows, token = cut_page(await look.rows(_OUTBOX, params), limit, lambda row: [row["outbox_id"]])
    return list(rows), token


async def count_cases(look: Look) -> dict[str, int]:
    """Return how many cases are in each state that has any."""
    return {row["state"]: row["n"] for row in await look.rows(_COUNTS, [TENANT])}


def show_case(row: Row) -> dict[str, Any]:
    """Add the words to a case's row."""
    return {
        **row,
        "state_label": Words.of(case_state_label(row["state"])),
        "severity_label": Words.of(severity_label(row["severity"])),
        "description": Words(zh=row["description_zh"], en=row["description_en"]),
        "dept_label": Words(zh=row["dept_zh"], en=row["dept_en"]),
    }
