"""Alarms in their table: found by device and rule, locked, added and changed."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final

import msgspec
from psycopg import sql
from psycopg.types.json import Jsonb

from alerts.alarm import Ack, Alarm, Condition
from alerts.facts import Facts
from alerts.rows import columns_of, insert, select, update, values_of
from alerts.track import Pending, Seen, Track
from core.db import Connection
from core.model import Severity
from devices.kind import AlarmRule

Key = tuple[int, str]
"""Device number and rule: what an open alarm is unique by."""

_KEYS: Final = """
WITH key AS (SELECT * FROM unnest(%(devices)s::int4[], %(rules)s::text[]) AS k (device_no, rule_id))
"""
_LATEST: Final = sql.SQL(
    _KEYS
    + """
SELECT max(alarm_id) AS alarm_id FROM hub.alarm JOIN key USING (device_no, rule_id)
 WHERE tenant_id = 1 GROUP BY device_no, rule_id
"""
)
_ALARMS: Final = sql.SQL(
    "SELECT {}, device_no, rule_id FROM hub.alarm WHERE alarm_id = ANY(%(ids)s)"
    " ORDER BY alarm_id FOR UPDATE"
).format(columns_of(Alarm))
_PENDING: Final = sql.SQL(
    _KEYS
    + """
SELECT p.device_no, p.rule_id, p.first_ts, p.last_ts, p.hits, p.peak, p.finding::text AS finding
  FROM hub.alarm_pending p JOIN key USING (device_no, rule_id) WHERE p.tenant_id = 1
"""
)
_KEEP_PENDING: Final = """
INSERT INTO hub.alarm_pending (device_no, rule_id, first_ts, last_ts, hits, peak, finding)
VALUES (%(device_no)s, %(rule_id)s, %(first_ts)s, %(last_ts)s, %(hits)s, %(peak)s, %(finding)s)
ON CONFLICT (tenant_id, device_no, rule_id) DO UPDATE SET first_ts = EXCLUDED.first_ts,
    last_ts = EXCLUDED.last_ts, hits = EXCLUDED.hits, peak = EXCLUDED.peak,
    finding = EXCLUDED.finding
"""
_DROP_PENDING: Final = (
    "DELETE FROM hub.alarm_pending WHERE tenant_id = 1 AND device_no = %s AND rule_id = %s"
)
_OPEN_INCIDENT: Final = """
INSERT INTO hub.incident (severity, state, opened_at, closed_at, member_count, title_zh, title_en,
    grid_codes)
VALUES (%(severity)s, %(state)s, %(at)s, %(closed_at)s, 1, %(zh)s, %(en)s, %(grids)s)
RETURNING incident_id
"""
_TURN_INCIDENT: Final = """
UPDATE hub.incident SET severity = greatest(severity, %(severity)s), state = %(state)s,
       closed_at = %(closed_at)s, version = version + 1
 WHERE incident_id = %(incident_id)s
   AND (state <> %(state)s OR severity < %(severity)s)
"""


async def lock_tracks(conn: Connection, keys: Iterable[Key]) -> dict[Key, Track]:
    """Return what there is for each key, locked to the end of the transaction.

    Alarms are locked in the order of their numbers, and before any case, by everyone.
    """
    wanted = sorted(set(keys))
    parameters = {"devices": [key[0] for key in wanted], "rules": [key[1] for key in wanted]}
    tracks = dict.fromkeys(wanted, Track())
    latest = await select(conn, _LATEST, parameters)
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


async def add_alarm(
    conn: Connection, alarm: Alarm, facts: Facts, rule: AlarmRule, *, kind: str, at: datetime
) -> Alarm:
    """Add a new occurrence with its incident, an incident of one; return it with its numbers."""
    cursor = await conn.execute(
        _OPEN_INCIDENT,
        {
            "severity": alarm.severity,
            "state": "open" if alarm.is_open else "closed",
            "at": at,
            "closed_at": None if alarm.is_open else at,
            "zh": f"{facts.called}{rule.label.zh}",
            "en": f"{facts.called}: {rule.label.en}",
            "grids": [facts.grid_code] if facts.grid_code else [],
        },
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - an insert returns its row
    alarm = replace(alarm, incident_id=row[0])
    values = values_of(alarm)
    del values["alarm_id"]
    values |= {
        "rule_id": rule.rule_id,
        "device_no": facts.device_no,
        "component_code": facts.component_code,
        "kind": kind,
        "audience": rule.audience,
        "grid_code": facts.grid_code,
        "lon": facts.lon,
        "lat": facts.lat,
    }
    return replace(alarm, alarm_id=await insert(conn, "alarm", values, "alarm_id"))


async def save_alarm(conn: Connection, before: Alarm, after: Alarm, at: datetime) -> None:
    """Write what changed of an alarm, and of its incident with it."""
    await update(conn, "alarm", "alarm_id", before, after)
    if after.version != before.version:
        await conn.execute(
            _TURN_INCIDENT,
            {
                "severity": after.severity,
                "state": "open" if after.is_open else "closed",
                "closed_at": None if after.is_open else at,
                "incident_id": after.incident_id,
            },
        )


async def save_pending(conn: Connection, key: Key, pending: Pending | None) -> None:
    """Keep a breach that has not lasted long enough, or forget it."""
    if pending is None:
        await conn.execute(_DROP_PENDING, key)
        return
    values = asdict(pending) | {"device_no": key[0], "rule_id": key[1]}
    values["finding"] = Jsonb(msgspec.to_builtins(pending.finding))
    await conn.execute(_KEEP_PENDING, values)


def _pending(row: Mapping[str, Any]) -> Pending:
    return Pending(
        first_ts=row["first_ts"],
        last_ts=row["last_ts"],
        hits=row["hits"],
        peak=row["peak"],
        finding=msgspec.json.decode(row["finding"], type=Seen),
    )


def _alarm(row: Mapping[str, Any]) -> Alarm:
    values = {name: value for name, value in row.items() if name not in {"device_no", "rule_id"}}
    return Alarm(
        **values
        | {
            "severity": Severity(row["severity"]),
            "severity_peak": Severity(row["severity_peak"]),
            "condition_state": Condition(row["condition_state"]),
            "ack_state": Ack(row["ack_state"]),
            "sources": tuple(row["sources"]),
        }
    )
