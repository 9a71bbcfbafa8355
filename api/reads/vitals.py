"""What the strip of the page shows, and where what moves is: told each second, never queued."""

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from psycopg import sql

from api.reads.alarms import count_alarms
from api.shapes import Instant, Shape
from api.store import TENANT, Look, Row
from devices import KINDS

_CASES: Final = """
SELECT count(*) FILTER (WHERE accepted_at >= %(day)s)::int AS accepted,
       count(*) FILTER (WHERE filed_at >= %(day)s)::int AS filed,
       count(*) FILTER (WHERE closed_at >= %(day)s)::int AS closed,
       (SELECT count(*)::int FROM hub.case
         WHERE tenant_id = %(tenant)s AND handle_due_at < %(now)s AND feedback_at IS NULL
           AND state IN ('dispatched', 'in_progress')) AS overdue
  FROM hub.case
 WHERE tenant_id = %(tenant)s AND (reported_at >= %(day)s OR closed_at >= %(day)s)
"""
_DEVICES: Final = """
SELECT count(*)::int AS known,
       count(s.last_contact_at)::int AS heard,
       count(DISTINCT a.device_no)::int AS silent
  FROM hub.device d LEFT JOIN hub.device_seen s USING (device_no)
  LEFT JOIN hub.alarm a ON a.device_no = d.device_no AND a.rule_id = 'offline'
       AND a.condition_state <> 'cleared'
 WHERE d.tenant_id = 1 AND d.state <> 'retired' AND d.kind <> ALL (%s)
"""
_VIRTUAL: Final = ["gateway", "feeder", "hub"]


class Vitals(Shape):
    """How the city stands."""

    at: Instant
    unacked: dict[int, int]
    """Unacknowledged open alarms by level."""
    open: dict[int, int]
    accepted: int
    """Cases accepted today, city time."""
    filed: int
    closed: int
    overdue: int
    """Cases whose department is late now."""
    known: int
    """Devices in service."""
    online: int
    """Devices heard at least once, and not called silent."""


async def read_vitals(look: Look, zone: ZoneInfo, now: datetime) -> Row:
    """Return the figures of the strip."""
    day = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    counts = await count_alarms(look)
    cases = await look.row(_CASES, {"day": day, "now": now, "tenant": TENANT}) or {}
    devices = await look.row(_DEVICES, [_VIRTUAL]) or {}
    return {
        "at": now,
        "open": {severity: opened for severity, (opened, _) in counts.items()},
        "unacked": {severity: unacked for severity, (_, unacked) in counts.items()},
        **cases,
        "known": devices.get("known", 0),
        "online": devices.get("heard", 0) - devices.get("silent", 0),
    }


_MOVED: Final = sql.SQL("""
SELECT d.device_id, p.lon, p.lat, s.last_contact_at AS at
  FROM hub.device_seen s JOIN hub.device d USING (device_no)
 CROSS JOIN LATERAL (SELECT lon, lat FROM {table} t
       WHERE t.device_no = s.device_no AND t.ts = s.last_ts AND t.lon IS NOT NULL LIMIT 1) AS p
 WHERE d.kind = %(kind)s AND d.state <> 'retired' AND s.last_reading_at > %(since)s
 LIMIT 20000
""")


async def read_moved(look: Look, since: datetime) -> list[list[Any]]:
    """Return where moving devices are that were heard since a time: id, longitude, latitude.

    Degrees of WGS-84, rounded to about 10 cm.
    """
    moved: list[list[Any]] = []
    for kind in KINDS.values():
        if kind.moves:
            query = _MOVED.format(table=sql.Identifier("hub", f"reading_{kind.name}"))
            rows = await look.rows(query, {"kind": kind.name, "since": since})
            moved += [
                [row["device_id"], round(row["lon"], 6), round(row["lat"], 6)] for row in rows
            ]
    return moved
