"""Incidents (事件簇) in their table: begun, and brought in line with their members.

What an incident is follows from its alarms alone, so it is reckoned anew whenever one changes:
nobody keeps a count, and none can go wrong.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import sql

from alerts.alarm import Alarm
from alerts.facts import Facts
from alerts.families import EXPLAINS, LARGE, PACES, family_of
from alerts.rows import select, write_many
from core.db import Connection
from devices.kind import AlarmRule

_NUMBERS: Final = sql.SQL("""
SELECT nextval(pg_get_serial_sequence('hub.incident', 'incident_id')) AS incident_id
  FROM generate_series(1, %(count)s)
""")
# of several members two may change at once, by different hands: the later one must see the other's
_LOCK: Final = """
SELECT 1 FROM hub.incident WHERE incident_id = ANY (%s) AND member_count <> 1
 ORDER BY incident_id FOR UPDATE
"""
_MERGED: Final = """
UPDATE hub.incident AS i SET merged_into = m.into_id
  FROM unnest(%s::int8[], %s::int8[]) AS m (incident_id, into_id)
 WHERE i.incident_id = m.incident_id AND i.state = 'closed'
"""
_TURN: Final = """
UPDATE hub.incident AS i
   SET severity = greatest(i.severity, n.severity), state = n.state,
       closed_at = CASE WHEN n.state = 'open' THEN NULL ELSE coalesce(i.closed_at, %(at)s) END,
       member_count = n.members, suppressed_count = n.suppressed, grid_codes = n.grids,
       cause_over_at = CASE WHEN n.cause_over THEN coalesce(i.cause_over_at, %(at)s) END,
       notify_at = CASE WHEN n.state = 'open' AND n.severity > greatest(i.severity, 1)
                        THEN %(at)s ELSE i.notify_at END,
       version = i.version + 1
  FROM (SELECT k.incident_id, count(a.alarm_id)::int4 AS members,
               coalesce(least(4, max(a.severity) + (count(*) > %(large)s)::int4), 1)::int2
                   AS severity,
               count(*) FILTER (WHERE a.suppression = 'suppressed' AND a.open)::int4 AS suppressed,
               CASE WHEN bool_or(a.open) THEN 'open' ELSE 'closed' END AS state,
               coalesce(array_agg(DISTINCT a.grid_code ORDER BY a.grid_code)
                        FILTER (WHERE a.grid_code IS NOT NULL), '{}') AS grids,
               coalesce(bool_and(a.condition_state = 'cleared') FILTER (WHERE a.causes), false)
                   AS cause_over
          FROM hub.incident AS k LEFT JOIN LATERAL (
            SELECT a.alarm_id, a.severity, a.suppression, a.grid_code, a.condition_state,
                   a.condition_state <> 'cleared' OR a.latched AND a.reset_at IS NULL AS open,
                   k.cause_rule IS NOT NULL AND a.rule_id = k.cause_rule AND EXISTS (
                       SELECT 1 FROM hub.device d WHERE d.device_no = a.device_no
                          AND d.device_id = k.cause_node) AS causes
              FROM hub.alarm AS a WHERE a.incident_id = k.incident_id) AS a ON true
         WHERE k.incident_id = ANY (%(ids)s) GROUP BY k.incident_id) AS n
 WHERE i.incident_id = n.incident_id
   AND (i.severity < n.severity OR i.state <> n.state OR i.member_count <> n.members
        OR i.suppressed_count <> n.suppressed OR n.cause_over <> (i.cause_over_at IS NOT NULL))
"""


async def next_incidents(conn: Connection, count: int) -> list[int]:
    """Return the numbers of so many new incidents, in order."""
    return [row["incident_id"] for row in await select(conn, _NUMBERS, {"count": count})]


async def open_incidents(
    conn: Connection, several: Sequence[tuple[Alarm, Facts, AlarmRule]], at: datetime
) -> list[int]:
    """Begin incidents, each for the first of its alarms.

    Args:
        conn: The transaction.
        several: These alarms, as they were raised, with their devices and rules.
        at: The hub's time.

    Returns:
        Their numbers, in order.
    """
    ids = await next_incidents(conn, len(several))
    rows: list[Mapping[str, Any]] = [
        {"incident_id": incident_id, **_row(alarm, facts, rule, at)}
        for incident_id, (alarm, facts, rule) in zip(ids, several, strict=True)
    ]
    await write_many(conn, "incident", rows)
    return ids


def _row(alarm: Alarm, facts: Facts, rule: AlarmRule, at: datetime) -> dict[str, Any]:
    causes = rule.rule_id in EXPLAINS and facts.is_virtual and alarm.is_open
    return {
        "severity": alarm.severity,
        "state": "open" if alarm.is_open else "closed",
        "opened_at": at,
        "closed_at": None if alarm.is_open else at,
        "member_count": 1,
        "suppressed_count": 0,
        "told_count": 0,
        "title_zh": f"{facts.called}{rule.label.zh}",
        "title_en": f"{facts.called}: {rule.label.en}",
        "grid_codes": [facts.grid_code] if facts.grid_code else [],
        "alternatives": [],
        "version": 1,
        "tenant_id": 1,
        "audience": rule.audience,
        "family": None if facts.moves else family_of(rule.rule_id),
        "started_at": alarm.started_at,
        "lon": facts.lon,
        "lat": facts.lat,
        "cause_node": facts.device_id if causes else None,
        "cause_kind": facts.kind if causes else None,
        "cause_rule": rule.rule_id if causes else None,
        "arranged": not causes,
        "notify_at": first_word(alarm, at),
    }


def first_word(alarm: Alarm, at: datetime) -> datetime | None:
    """Return when people are told of an incident that begins with an alarm; None: not by itself."""
    pace = PACES.get(alarm.severity)
    return None if pace is None or not alarm.is_open else at + timedelta(seconds=pace.wait)


async def turn_incidents(conn: Connection, ids: Iterable[int | None], at: datetime) -> None:
    """Bring incidents in line with their alarms, as these stand in the table."""
    several = sorted({incident_id for incident_id in ids if incident_id is not None})
    if several:
        await conn.execute(_LOCK, [several])
        await conn.execute(_TURN, {"ids": several, "at": at, "large": LARGE})


async def mark_merged(conn: Connection, merged: Mapping[int, int]) -> None:
    """Note where the alarms of incidents went that have none going on any more."""
    if merged:
        await conn.execute(_MERGED, [list(merged), list(merged.values())])


def incidents_of(alarms: Collection[Alarm]) -> set[int]:
    """Return the incidents of alarms."""
    return {alarm.incident_id for alarm in alarms if alarm.incident_id is not None}
