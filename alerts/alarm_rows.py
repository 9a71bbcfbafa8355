"""Alarms in their table: found by device and rule, locked, added and changed, many at a time."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

import msgspec
from psycopg import sql
from psycopg.types.json import Jsonb

from alerts.alarm import Ack, Alarm, Condition, Suppression
from alerts.facts import Facts
from alerts.incident_rows import turn_incidents
from alerts.passing import pending_due, pending_silent
from alerts.rows import columns_of, select, update, write_many
from alerts.track import Pending, Seen, Track
from core.db import Connection
from core.model import Severity
from devices.kind import AlarmRule

Key = tuple[int, str]
"""Device number and rule: what an open alarm is unique by."""

# the latest occurrence of each key, one look at an index a key, then locked in order of numbers
_LATEST: Final = sql.SQL("""
SELECT a.alarm_id
  FROM unnest(%(devices)s::int4[], %(rules)s::text[]) AS key (device_no, rule_id)
 CROSS JOIN LATERAL (
    SELECT alarm_id FROM hub.alarm
     WHERE device_no = key.device_no AND rule_id = key.rule_id AND tenant_id = 1
     ORDER BY alarm_id DESC LIMIT 1) AS a
""")
_ALARMS: Final = sql.SQL(
    "SELECT {}, device_no, rule_id FROM hub.alarm WHERE alarm_id = ANY(%(ids)s)"
    " ORDER BY alarm_id FOR UPDATE"
).format(columns_of(Alarm))
_PENDING: Final = sql.SQL("""
SELECT p.device_no, p.rule_id, p.first_ts, p.last_ts, p.hits, p.peak, p.finding::text AS finding
  FROM hub.alarm_pending p
  JOIN unnest(%(devices)s::int4[], %(rules)s::text[]) AS key (device_no, rule_id)
       USING (device_no, rule_id)
 WHERE p.tenant_id = 1
""")
_KEEP_PENDING: Final = """
INSERT INTO hub.alarm_pending (device_no, rule_id, first_ts, last_ts, hits, peak, finding, due_ts,
    silent_at)
SELECT device_no, rule_id, first_ts, last_ts, hits, peak, finding, due_ts, silent_at
  FROM jsonb_populate_recordset(NULL::hub.alarm_pending, %s)
ON CONFLICT (tenant_id, device_no, rule_id) DO UPDATE SET first_ts = EXCLUDED.first_ts,
    last_ts = EXCLUDED.last_ts, hits = EXCLUDED.hits, peak = EXCLUDED.peak,
    finding = EXCLUDED.finding, due_ts = EXCLUDED.due_ts, silent_at = EXCLUDED.silent_at
"""
_DROP_PENDING: Final = """
DELETE FROM hub.alarm_pending USING unnest(%s::int4[], %s::text[]) AS k (device_no, rule_id)
 WHERE tenant_id = 1 AND alarm_pending.device_no = k.device_no
   AND alarm_pending.rule_id = k.rule_id
"""
_NUMBERS: Final = sql.SQL("""
SELECT nextval(pg_get_serial_sequence('hub.alarm', 'alarm_id')) AS alarm_id
  FROM generate_series(1, %(count)s)
""")
_NEAR_M: Final = 30.0
"""An open work order so near is noted on a new alarm (附近有作业); ours."""
_NEARBY: Final = sql.SQL("""
SELECT p.place, array_agg(DISTINCT w.order_no ORDER BY w.order_no) AS orders
  FROM unnest(%(lon)s::float8[], %(lat)s::float8[]) WITH ORDINALITY AS p (lon, lat, place)
  JOIN hub.work_order w ON w.state IN ('issued', 'signed', 'on_site')
  JOIN hub.case c ON c.case_no = w.case_no
 WHERE c.lat BETWEEN p.lat - %(metres)s / 111195.0 AND p.lat + %(metres)s / 111195.0
   AND sqrt(((c.lat - p.lat) * 111195.0) ^ 2
            + ((c.lon - p.lon) * 111195.0 * cos(radians(p.lat))) ^ 2) <= %(metres)s
 GROUP BY p.place
""")


@dataclass(frozen=True, slots=True)
class Born:
    """A new occurrence on its way into the table.

    Attributes:
        alarm: As it stands at the end of the turn.
        facts: What is known of its device.
        rule: Its rule.
        kind: What was seen.
        work_nearby: Open work orders near it.
    """

    alarm: Alarm
    facts: Facts
    rule: AlarmRule
    kind: str
    work_nearby: Sequence[str] = ()


async def lock_tracks(conn: Connection, keys: Iterable[Key]) -> dict[Key, Track]:
    """Return what there is for each key, locked to the end of the transaction.

    Alarms are locked in the order of their numbers, and before any case, by everyone.
    """
    wanted = sorted(set(keys))
    parameters = {"devices": [key[0] for key in wanted], "rules": [key[1] for key in wanted]}
    tracks = dict.fromkeys(wanted, Track())
    latest = await select(conn, _LATEST, parameters)
    if latest:
        for row in await select(conn, _ALARMS, {"ids": [row["alarm_id"] for row in latest]}):
            tracks[row["device_no"], row["rule_id"]] = Track(alarm=_alarm(row))
    for row in await select(conn, _PENDING, parameters):
        key = row["device_no"], row["rule_id"]
        tracks[key] = replace(tracks[key], pending=_pending(row))
    return tracks


async def lock_alarms(conn: Connection, ids: Iterable[int]) -> dict[Key, Alarm]:
    """Return alarms by key, locked to the end of the transaction; missing ones are missing."""
    rows = await select(conn, _ALARMS, {"ids": sorted(set(ids))})
    return {(row["device_no"], row["rule_id"]): _alarm(row) for row in rows}


async def next_numbers(conn: Connection, count: int) -> list[int]:
    """Return the numbers of so many new alarms, in order."""
    return [row["alarm_id"] for row in await select(conn, _NUMBERS, {"count": count})]


async def add_alarms(conn: Connection, several: Collection[Born]) -> None:
    """Add new occurrences, which have their numbers and their incidents."""
    rows = [
        _values(born.alarm)
        | {
            "rule_id": born.rule.rule_id,
            "device_no": born.facts.device_no,
            "component_code": born.facts.component_code,
            "kind": born.kind,
            "audience": born.rule.audience,
            "grid_code": born.facts.grid_code,
            "lon": born.facts.lon,
            "lat": born.facts.lat,
            "detail": {"work_nearby": born.work_nearby} if born.work_nearby else {},
        }
        for born in several
    ]
    await write_many(conn, "alarm", rows)


async def save_alarms(conn: Connection, several: Collection[Alarm]) -> None:
    """Write alarms as they stand; their incidents are turned once all alarms are written."""
    await write_many(conn, "alarm", [_values(alarm) for alarm in several], key="alarm_id")


async def save_alarm(conn: Connection, before: Alarm, after: Alarm, at: datetime) -> None:
    """Write what a person changed of an alarm; the engine then sees what falls due when."""
    if after != before:
        await update(conn, "alarm", "alarm_id", before, replace(after, timer_at=at))
        await turn_incidents(conn, [after.incident_id], at)


async def save_pendings(
    conn: Connection, changed: Mapping[Key, tuple[Pending | None, AlarmRule]]
) -> None:
    """Keep breaches that have not lasted long enough, and forget those that are over."""
    dropped = [key for key, (pending, _) in changed.items() if pending is None]
    kept = [
        {
            "device_no": key[0],
            "rule_id": key[1],
            "first_ts": pending.first_ts,
            "last_ts": pending.last_ts,
            "hits": pending.hits,
            "peak": pending.peak,
            "finding": pending.finding,
            "due_ts": pending_due(pending, rule),
            "silent_at": pending_silent(pending, rule),
        }
        for key, (pending, rule) in changed.items()
        if pending is not None
    ]
    if dropped:
        parameters = [[key[0] for key in dropped], [key[1] for key in dropped]]
        await conn.execute(_DROP_PENDING, parameters)
    if kept:
        await conn.execute(_KEEP_PENDING, [Jsonb(kept, dumps=msgspec.json.encode)])


async def work_nearby(conn: Connection, several: Sequence[Facts]) -> list[Sequence[str]]:
    """Return the open work orders near each of some devices."""
    parameters = {
        "lon": [facts.lon for facts in several],
        "lat": [facts.lat for facts in several],
        "metres": _NEAR_M,
    }
    found = {row["place"]: row["orders"] for row in await select(conn, _NEARBY, parameters)}
    return [found.get(place, ()) for place in range(1, len(several) + 1)]


_NAMES: Final = tuple(item.name for item in fields(Alarm))


def _values(alarm: Alarm) -> dict[str, Any]:
    return {name: getattr(alarm, name) for name in _NAMES}


def _pending(row: Mapping[str, Any]) -> Pending:
    return Pending(
        first_ts=row["first_ts"],
        last_ts=row["last_ts"],
        hits=row["hits"],
        peak=row["peak"],
        finding=msgspec.json.decode(row["finding"], type=Seen),
    )


def _alarm(row: Mapping[str, Any]) -> Alarm:
    values = {name: row[name] for name in _NAMES}
    for name in ("severity", "severity_peak", "next_severity", "suppress_upto"):
        values[name] = None if row[name] is None else Severity(row[name])
    for name in ("sources", "turns", "raises"):
        values[name] = tuple(row[name])
    values["condition_state"] = Condition(row["condition_state"])
    values["ack_state"] = Ack(row["ack_state"])
    values["suppression"] = Suppression(row["suppression"])
    return Alarm(**values)
