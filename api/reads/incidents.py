"""Incidents (事件簇): alarms with one cause; what the feed of the command centre shows as a row."""

from typing import Any, Final

from api.paging import cut_page
from api.shapes import Instant, Shape, Words, severity_label
from api.store import TENANT, Look, Row

_LIST: Final = """
SELECT * FROM hub.incident
 WHERE tenant_id = %(tenant)s
   AND (%(state)s = 'all' OR state = %(state)s)
   AND (%(severity)s::int2[] IS NULL OR severity = ANY (%(severity)s))
   AND (%(before)s::int8 IS NULL OR incident_id < %(before)s)
 ORDER BY incident_id DESC
 LIMIT %(limit)s
"""
_ONE: Final = "SELECT * FROM hub.incident WHERE incident_id = %s AND tenant_id = %s"


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
    member_count: int
    suppressed_count: int
    cause_node: str | None
    cause_kind: str | None
    cause_confidence: float | None
    alternatives: list[Any]
    grid_codes: list[str]


async def list_incidents(
    look: Look, *, state: str, severity: list[int] | None, before: int | None, limit: int
) -> tuple[list[Row], str | None]:
    """Return a page of incidents, newest first, and the token of the next page."""
    params = {
        "tenant": TENANT,
        "state": state,
        "severity": severity,
        "before": before,
        "limit": limit + 1,
    }
    page, token = cut_page(await look.rows(_LIST, params), limit, lambda row: [row["incident_id"]])
    return [show_incident(row) for row in page], token


async def read_incident(look: Look, incident_id: int) -> Row | None:
    """Return one incident."""
    row = await look.row(_ONE, [incident_id, TENANT])
    return show_incident(row) if row else None


def show_incident(row: Row) -> Row:
    """Add the words to an incident's row."""
    return {
        **row,
        "title": Words(zh=row["title_zh"], en=row["title_en"]),
        "severity_label": Words.of(severity_label(row["severity"])),
    }
