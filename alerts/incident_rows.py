"""Incidents (事件簇) in their table. Each new alarm begins one of its own: an incident of one."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from psycopg import sql
from psycopg.types.json import Jsonb

from alerts.alarm import Alarm
from alerts.facts import Facts
from alerts.rows import select, write_many
from core.db import Connection
from devices.kind import AlarmRule

_NUMBERS: Final = sql.SQL("""
SELECT nextval(pg_get_serial_sequence('hub.incident', 'incident_id')) AS incident_id
  FROM generate_series(1, %(count)s)
""")
_TURN: Final = """
UPDATE hub.incident AS i SET severity = greatest(i.severity, r.severity), state = r.state,
       closed_at = r.closed_at, version = i.version + 1
  FROM jsonb_to_recordset(%s)
    AS r (incident_id int8, severity int2, state text, closed_at timestamptz)
 WHERE i.incident_id = r.incident_id AND (i.state <> r.state OR i.severity < r.severity)
"""


async def open_incidents(
    conn: Connection, several: Sequence[tuple[Alarm, Facts, AlarmRule]], at: datetime
) -> list[int]:
    """Begin an incident for each new alarm.

    Args:
        conn: The transaction.
        several: The alarms, as they were raised, with their devices and rules.
        at: The hub's time.

    Returns:
        The incident of each, in order.
    """
    numbers = await select(conn, _NUMBERS, {"count": len(several)})
    ids = [row["incident_id"] for row in numbers]
    rows: list[Mapping[str, Any]] = [
        {
            "incident_id": incident_id,
            "severity": alarm.severity,
            "state": "open" if alarm.is_open else "closed",
            "opened_at": at,
            "closed_at": None if alarm.is_open else at,
            "member_count": 1,
            "title_zh": f"{facts.called}{rule.label.zh}",
            "title_en": f"{facts.called}: {rule.label.en}",
            "grid_codes": [facts.grid_code] if facts.grid_code else [],
        }
        for incident_id, (alarm, facts, rule) in zip(ids, several, strict=True)
    ]
    await write_many(conn, "incident", rows)
    return ids


async def turn_incidents(conn: Connection, alarms: Collection[Alarm], at: datetime) -> None:
    """Bring the incidents of some alarms in line with them."""
    rows = [
        {
            "incident_id": alarm.incident_id,
            "severity": alarm.severity,
            "state": "open" if alarm.is_open else "closed",
            "closed_at": None if alarm.is_open else at,
        }
        for alarm in alarms
        if alarm.incident_id is not None
    ]
    if rows:
        await conn.execute(_TURN, [Jsonb(rows, dumps=msgspec.json.encode)])
