"""Incidents (事件簇): alarms with one cause; what the feed of the command centre shows as a row."""

from collections.abc import Sequence
from typing import Any, Final, LiteralString

from api.paging import cut_page
from api.reads.alarms import Alarm, show_alarm
from api.shapes import Instant, Shape, Words, case_state_label, severity_label
from api.store import TENANT, Look, Row

_LEAD: Final = """
SELECT a.*, d.device_id, d.name AS device_name, d.kind AS device_kind,
       coalesce(g.name, '') AS grid_name
  FROM hub.alarm a JOIN hub.device d USING (device_no)
  LEFT JOIN hub.grid_cell g ON g.grid_code = a.grid_code
"""
_SHOWN: Final = """
SELECT i.*, lead.alarm_id AS lead_id,
       n.unacked, n.open_count, n.last_at,
       c.case_no, c.state AS case_state, c.handle_due_at,
       d.name_zh AS dept_zh, coalesce(nullif(d.name_en, ''), d.name_zh) AS dept_en
  FROM hub.incident i
  LEFT JOIN LATERAL (
       SELECT alarm_id FROM hub.alarm a WHERE a.incident_id = i.incident_id
        ORDER BY (a.condition_state <> 'cleared' OR a.latched AND a.reset_at IS NULL) DESC,
                 a.severity DESC, a.alarm_id LIMIT 1) AS lead ON true
  CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE ack_state = 'unacked' AND suppression = 'none'
                                 AND NOT retroactive)::int AS unacked,
              count(*) FILTER (WHERE condition_state <> 'cleared'
                                  OR latched AND reset_at IS NULL)::int AS open_count,
              max(last_seen_at) AS last_at
         FROM hub.alarm a WHERE a.incident_id = i.incident_id) AS n
  LEFT JOIN LATERAL (
       SELECT * FROM hub.case c WHERE c.incident_id = i.incident_id
        ORDER BY c.reported_at DESC LIMIT 1) AS c ON true
  LEFT JOIN hub.department d ON d.dept_code = coalesce(c.handling_dept, c.owner_dept)
"""
_LIST: Final = (
    _SHOWN
    + """
 WHERE i.tenant_id = %(tenant)s
   AND (%(state)s = 'all' OR i.state = %(state)s)
   AND (%(severity)s::int2[] IS NULL OR i.severity = ANY (%(severity)s))
   AND (%(before)s::int8 IS NULL OR i.incident_id < %(before)s)
 ORDER BY i.incident_id DESC
 LIMIT %(limit)s
"""
)
_SOME: Final = (
    _SHOWN + " WHERE i.tenant_id = %(tenant)s AND i.incident_id = ANY (%(ids)s::bigint[])"
)
_LEADS: Final = _LEAD + " WHERE a.alarm_id = ANY (%(ids)s::bigint[])"


class Incident(Shape):
    """Alarms with one cause; a lone alarm is an incident of one."""

    incident_id: int
    version: int
    state: str
    severity: int
    severity_label: Words
    title: Words
    opened_at: Instant
    closed_at: Instant | None
    last_at: Instant | None
    """When one of its alarms was last seen, device time."""
    member_count: int
    suppressed_count: int
    unacked: int
    """How many of its alarms nobody has acknowledged."""
    open_count: int
    """How many of its alarms are not over."""
    cause_node: str | None
    cause_kind: str | None
    cause_confidence: float | None
    alternatives: list[Any]
    grid_codes: list[str]
    lead: Alarm | None
    """The gravest of its open alarms, the oldest of these."""
    case_no: str | None
    """Its newest case."""
    case_state: str | None
    case_state_label: Words | None
    dept_label: Words | None
    """Who handles the case, else who owns it."""
    handle_due_at: Instant | None


async def list_incidents(
    look: Look, *, state: str, severity: list[int] | None, before: int | None, limit: int
) -> tuple[list[Row], str | None]:
    """Return a page of incidents, newest first, and the token of the next page."""
    params = {"state": state, "severity": severity, "before": before, "limit": limit + 1}
    rows, token = cut_page(
        await _incidents(look, _LIST, params), limit, lambda row: [row["incident_id"]]
    )
    return list(rows), token


async def read_incidents(look: Look, ids: Sequence[int]) -> list[Row]:
    """Return some incidents, in no order; those that do not exist are left out."""
    return await _incidents(look, _SOME, {"ids": list(ids)}) if ids else []


async def read_incident(look: Look, incident_id: int) -> Row | None:
    """Return one incident."""
    rows = await read_incidents(look, [incident_id])
    return rows[0] if rows else None


async def _incidents(look: Look, query: LiteralString, params: dict[str, Any]) -> list[Row]:
    rows = await look.rows(query, {**params, "tenant": TENANT})
    ids = [row["lead_id"] for row in rows if row["lead_id"] is not None]
    found = await look.rows(_LEADS, {"ids": ids}) if ids else []
    leads = {row["alarm_id"]: show_alarm(row) for row in found}
    return [_show(row, leads.get(row["lead_id"])) for row in rows]


def _show(row: Row, lead: Row | None) -> Row:
    """Add the words, and the alarm that speaks for the incident."""
    state = row["case_state"]
    return {
        **row,
        "lead": lead,
        "title": Words(zh=row["title_zh"], en=row["title_en"]),
        "severity_label": Words.of(severity_label(row["severity"])),
        "case_state_label": Words.of(case_state_label(state)) if state else None,
        "dept_label": Words(zh=row["dept_zh"], en=row["dept_en"]) if row["dept_zh"] else None,
    }
