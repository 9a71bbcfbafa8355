"""Alarms (告警) as the screens show them: with device, place, words and display state."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from api.paging import cut_page
from api.shapes import (
    Instant,
    Shape,
    Words,
    alarm_state,
    kind_label,
    rule_label,
    rule_metrics,
    severity_label,
    state_label,
)
from api.store import TENANT, Look, Row

_SHOWN: Final = """
SELECT a.*, d.device_id, d.name AS device_name, d.kind AS device_kind,
       coalesce(g.name, '') AS grid_name
  FROM hub.alarm a
  JOIN hub.device d USING (device_no)
  LEFT JOIN hub.grid_cell g ON g.grid_code = a.grid_code
"""
_LIST: Final = (
    _SHOWN
    + """
 WHERE a.tenant_id = %(tenant)s
   AND (%(state)s = 'all'
        OR %(state)s = 'open' AND (a.condition_state <> 'cleared'
                                   OR a.latched AND a.reset_at IS NULL)
        OR %(state)s = 'unacked' AND a.ack_state = 'unacked' AND NOT a.retroactive
        OR %(state)s = 'cleared' AND a.condition_state = 'cleared')
   AND (%(severity)s::int2[] IS NULL OR a.severity = ANY (%(severity)s))
   AND (%(audience)s::text IS NULL OR a.audience = %(audience)s)
   AND (%(device)s::text IS NULL OR d.device_id = %(device)s)
   AND (%(grid)s::text IS NULL OR a.grid_code = %(grid)s)
   AND (%(rule)s::text IS NULL OR a.rule_id = %(rule)s)
   AND (%(before)s::int8 IS NULL OR a.alarm_id < %(before)s)
"""
)
_NEWEST: Final = _LIST + " ORDER BY a.alarm_id DESC LIMIT %(limit)s"
_WORST: Final = (
    _LIST + " ORDER BY a.ack_state DESC, a.severity DESC, a.alarm_id DESC LIMIT %(limit)s"
)  # 'unacked' sorts after 'acked'
_ONE: Final = _SHOWN + " WHERE a.alarm_id = %(alarm_id)s AND a.tenant_id = %(tenant)s"
_OF_CASE: Final = (
    _SHOWN + " WHERE a.case_no = %(case_no)s AND a.tenant_id = %(tenant)s ORDER BY a.alarm_id"
)
_SOME: Final = _SHOWN + " WHERE a.alarm_id = ANY (%(ids)s::bigint[]) AND a.tenant_id = %(tenant)s"
_OF_INCIDENT: Final = (
    _SHOWN
    + " WHERE a.incident_id = %(incident_id)s AND a.tenant_id = %(tenant)s"
    + " ORDER BY a.alarm_id LIMIT 1000"
)
_COUNTS: Final = """
SELECT severity, count(*) AS open, count(*) FILTER (WHERE ack_state = 'unacked') AS unacked
  FROM hub.alarm
 WHERE tenant_id = %s AND (condition_state <> 'cleared' OR latched AND reset_at IS NULL)
 GROUP BY severity
"""


class Alarm(Shape):
    """One occurrence of a rule on a device."""

    alarm_id: int
    version: int
    """Send it as ``If-Match`` with an action."""
    state: str
    """The four axes in one word: UNACK, ACKED, RTNUN, LATCHED, SHELVED, SUPPRESSED, OOS, NORM."""
    state_label: Words
    condition_state: str
    ack_state: str
    suppression: str
    suppressed_by: str | None
    """``shelf``, ``window:7``, ``device`` (in the registry), or an incident."""
    suppress_until: Instant | None
    suppress_reason: str | None
    latched: bool
    severity: int
    """4 red, 3 orange, 2 yellow, 1 blue."""
    severity_label: Words
    severity_peak: int
    audience: str
    """``city``, ``maintenance`` (device care) or ``system``."""
    rule_id: str
    rule_label: Words
    rule_version: int
    kind: str
    """What was seen."""
    explain: Words
    """One sentence: why it fired."""
    device_id: str
    device_name: str
    device_kind: str
    device_kind_label: Words
    component_code: str | None
    grid_code: str | None
    grid_name: str
    lon: float | None
    """WGS-84 degrees."""
    lat: float | None
    occurrence_no: int
    previous_alarm_id: int | None
    incident_id: int | None
    case_no: str | None
    value: float | None
    threshold: float | None
    baseline: float | None
    unit: str
    """UCUM code of value, threshold and baseline."""
    metrics: list[str]
    """What the rule is judged by, of the kind's metrics; empty for the device's own word."""
    confidence: float
    repeat_count: int
    chatter_count: int
    reopen_count: int
    flapping: bool
    fleeting: bool
    stale: bool
    data_stale: bool
    unconfirmed: bool
    clock_suspect: bool
    retroactive: bool
    started_at: Instant
    """Device time of the first breach."""
    raised_at: Instant
    received_at: Instant
    last_seen_at: Instant
    cleared_at: Instant | None
    clear_reason: str | None
    acked_at: Instant | None
    acked_by: str | None
    ack_due_at: Instant | None
    escalation_level: int
    reset_at: Instant | None
    reset_by: str | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AlarmFilter:
    """Which alarms are asked for; None: any."""

    state: str = "open"
    severity: list[int] | None = None
    audience: str | None = None
    device: str | None = None
    grid: str | None = None
    rule: str | None = None


async def list_alarms(
    look: Look, wanted: AlarmFilter, *, before: int | None, limit: int
) -> tuple[list[Row], str | None]:
    """Return a page of alarms, newest first, and the token of the next page."""
    params = {**asdict(wanted), "tenant": TENANT, "before": before, "limit": limit + 1}
    page, token = cut_page(await look.rows(_NEWEST, params), limit, lambda row: [row["alarm_id"]])
    return [show_alarm(row) for row in page], token


async def worst_alarms(look: Look, wanted: AlarmFilter, *, limit: int) -> list[Row]:
    """Return alarms as an operator works: unacknowledged first, then the gravest, then newest."""
    params = {**asdict(wanted), "tenant": TENANT, "before": None, "limit": limit}
    return [show_alarm(row) for row in await look.rows(_WORST, params)]


async def read_alarm(look: Look, alarm_id: int) -> Row | None:
    """Return one alarm."""
    row = await look.row(_ONE, {"alarm_id": alarm_id, "tenant": TENANT})
    return show_alarm(row) if row else None


async def alarms_by_id(look: Look, ids: Sequence[int]) -> list[Row]:
    """Return some alarms, in no order; those that do not exist are left out."""
    rows = await look.rows(_SOME, {"ids": list(ids), "tenant": TENANT})
    return [show_alarm(row) for row in rows]


async def alarms_of_case(look: Look, case_no: str) -> list[Row]:
    """Return the alarms of a case, oldest first."""
    rows = await look.rows(_OF_CASE, {"case_no": case_no, "tenant": TENANT})
    return [show_alarm(row) for row in rows]


async def alarms_of_incident(look: Look, incident_id: int) -> list[Row]:
    """Return the alarms of an incident, oldest first."""
    rows = await look.rows(_OF_INCIDENT, {"incident_id": incident_id, "tenant": TENANT})
    return [show_alarm(row) for row in rows]


async def count_alarms(look: Look) -> dict[int, tuple[int, int]]:
    """Return how many alarms are open, and of these unacknowledged, by level, all four of them."""
    rows = await look.rows(_COUNTS, [TENANT])
    counts = {row["severity"]: (row["open"], row["unacked"]) for row in rows}
    return {severity: counts.get(severity, (0, 0)) for severity in (4, 3, 2, 1)}


def show_alarm(row: Row) -> Row:
    """Add the words to an alarm's row."""
    state = alarm_state(row)
    return {
        **row,
        "state": state,
        "state_label": Words.of(state_label(state)),
        "severity_label": Words.of(severity_label(row["severity"])),
        "rule_label": Words.of(rule_label(row["device_kind"], row["rule_id"])),
        "device_kind_label": Words.of(kind_label(row["device_kind"])),
        "metrics": rule_metrics(row["device_kind"], row["rule_id"]),
        "explain": Words(zh=row["explain_zh"], en=row["explain_en"]),
    }
