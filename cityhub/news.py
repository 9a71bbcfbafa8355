"""The log of events as lines for a person, in Chinese and English."""

from collections.abc import Callable
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row

from core.db import Connection, listen

LAST: Final = "SELECT coalesce(max(event_id), 0) FROM hub.event_log"
SELECT_NEWS: Final = """
SELECT e.event_id, e.at, e.actor, e.object, e.object_id, e.action, e.to_state,
       coalesce(a.severity, c.severity) AS severity, d.device_id,
       coalesce(a.explain_zh, c.description_zh, '') AS zh,
       coalesce(a.explain_en, c.description_en, '') AS en
  FROM hub.event_log e
  LEFT JOIN hub.alarm a ON a.alarm_id = CASE
            WHEN e.object = 'alarm' AND e.object_id ~ '^[0-9]{1,18}$' THEN e.object_id::bigint END
  LEFT JOIN hub.device d ON d.device_no = a.device_no
  LEFT JOIN hub.work_order w ON e.object = 'work_order' AND w.order_no = e.object_id
  LEFT JOIN hub.case c ON c.case_no = CASE e.object WHEN 'case' THEN e.object_id
                                                    WHEN 'work_order' THEN w.case_no END
 WHERE e.event_id > %s ORDER BY e.event_id LIMIT 100
"""
_OBJECTS: Final = {
    "alarm": "告警 alarm",
    "incident": "事件簇 incident",
    "case": "案件 case",
    "work_order": "任务单 work order",
    "device": "设备 device",
    "system": "系统 system",
}
_TELLING: Final = frozenset({"raised", "reopened", "recurred", "severity_raised", "reported"})
"""What opens a story: these lines carry its sentence, the later ones do not repeat it."""
_PASSING: Final = frozenset({"accepted", "filed", "clearing", "finding_ignored"})
"""Steps that nobody waits for; the API has them all."""
_SEVERITIES: Final = {1: "蓝 blue", 2: "黄 yellow", 3: "橙 orange", 4: "红 red"}


def line_of(event: dict[str, Any], zone: ZoneInfo) -> str | None:
    """Return one event as a line in the city's time, or None where it is not worth one."""
    action, state = event["action"], event["to_state"]
    if action in _PASSING:
        return None
    parts = [
        f"{event['at'].astimezone(zone):%H:%M:%S}",
        f"{_OBJECTS.get(event['object'], event['object'])} {event['object_id']}",
        action if state in (None, action) else f"{action} → {state}",
    ]
    if action in _TELLING:
        parts += [
            _SEVERITIES.get(event["severity"] or 0, ""),
            event["device_id"] or "",
            " / ".join(filter(None, (event["zh"], event["en"]))),
        ]
    else:
        parts.append(f"by {event['actor']}")
    return "  ".join(filter(None, parts))


async def tell_news(url: str, zone: ZoneInfo, tell: Callable[[str], None]) -> NoReturn:
    """Tell each event from now on, as it comes, in the city's time."""
    position: int | None = None
    conn: Connection | None = None
    try:
        async for _ in listen(url, "hub_event", every=5):
            try:
                if conn is None:
                    conn = await psycopg.AsyncConnection.connect(
                        url, autocommit=True, application_name="cityhub up"
                    )
                position = await _tell_new(conn, zone, position, tell)
            except psycopg.OperationalError:  # the database is away; listen() looks again
                if conn is not None:
                    await conn.close()
                conn = None
    finally:
        if conn is not None:
            await conn.close()
    raise AssertionError("listening never ends")


async def _tell_new(
    conn: Connection, zone: ZoneInfo, position: int | None, tell: Callable[[str], None]
) -> int:
    """Tell what came after a position and return the new one; the first time, only find it."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        if position is None:
            row = await (await cursor.execute(LAST)).fetchone()
            return int(row["coalesce"]) if row else 0
        async for event in await cursor.execute(SELECT_NEWS, [position]):
            if line := line_of(event, zone):
                tell(line)
            position = int(event["event_id"])
    return position
