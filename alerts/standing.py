"""What stands over rules and devices: shelves (搁置) and maintenance windows (检修窗口), as rows.

A shelf and a window are rows with an end; they begin and end in the transaction of their effect.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from alerts.alarm import HUB, Suppression
from alerts.alarm_rows import Key
from alerts.journal import Entry
from alerts.rows import select
from alerts.suppression import Shade
from core.db import Connection
from core.model import Severity

_SHELVES: Final = sql.SQL("""
SELECT s.device_no, s.rule_id, s.until, s.reason, s.upto, s.once FROM hub.shelf s
  JOIN unnest(%(devices)s::int4[], %(rules)s::text[]) AS k (device_no, rule_id)
       USING (device_no, rule_id)
 WHERE s.until > %(now)s
""")
_WINDOWS: Final = sql.SQL("""
SELECT d.device_no, w.window_id, w.ends_at, w.reason
  FROM hub.maintenance_window w JOIN hub.device d ON hub.covers(w, d)
 WHERE w.state = 'active' AND d.device_no = ANY(%(devices)s)
 ORDER BY w.ends_at
""")
_STAND: Final = sql.SQL("""
SELECT EXISTS (SELECT 1 FROM hub.shelf) AS shelves,
       EXISTS (SELECT 1 FROM hub.maintenance_window WHERE state = 'active') AS windows
""")
_TURN_WINDOWS: Final = sql.SQL("""
UPDATE hub.maintenance_window AS w
   SET state = n.state, version = version + 1,
       ended_at = CASE n.state WHEN 'ended' THEN %(now)s END,
       ended_by = CASE n.state WHEN 'ended' THEN %(hub)s END
  FROM (SELECT window_id, state AS before,
               CASE WHEN ends_at <= %(now)s
                      OR order_no IN (SELECT order_no FROM hub.work_order
                                       WHERE state IN ('done', 'returned', 'cancelled'))
                    THEN 'ended' ELSE 'active' END AS state
          FROM hub.maintenance_window
         WHERE state IN ('planned', 'active') AND starts_at <= %(now)s) AS n
 WHERE w.window_id = n.window_id AND n.before <> n.state
RETURNING w.window_id, n.before, w.state, w.scope, w.targets, w.reason, w.ends_at
""")
_END_SHELVES: Final = sql.SQL(
    "DELETE FROM hub.shelf WHERE until <= %(now)s RETURNING device_no, rule_id"
)
_DROP_SHELVES: Final = """
DELETE FROM hub.shelf USING unnest(%s::int4[], %s::text[]) AS k (device_no, rule_id)
 WHERE shelf.device_no = k.device_no AND shelf.rule_id = k.rule_id
"""
_PUT: Final = """
INSERT INTO hub.shelf (device_no, rule_id, until, upto, once, reason, actor, since)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (tenant_id, device_no, rule_id) DO UPDATE SET until = excluded.until,
    upto = excluded.upto, once = excluded.once, reason = excluded.reason,
    actor = excluded.actor, since = excluded.since
"""
# open alarms that may stand under something else than their marks say
_DOUBTED: Final = sql.SQL("""
SELECT device_no, rule_id FROM hub.alarm
 WHERE suppression <> 'none' AND (condition_state <> 'cleared' OR (latched AND reset_at IS NULL))
   AND (suppress_until <= %(now)s OR suppressed_by = ANY(%(ended)s))
 UNION
SELECT a.device_no, a.rule_id FROM hub.alarm a JOIN hub.device d USING (device_no)
 WHERE suppression <> 'none' AND (condition_state <> 'cleared' OR (latched AND reset_at IS NULL))
   AND a.suppressed_by = 'device' AND d.state = 'active'
 UNION
SELECT a.device_no, a.rule_id FROM hub.alarm a JOIN hub.device d USING (device_no)
 WHERE (a.condition_state <> 'cleared' OR a.latched AND a.reset_at IS NULL)
   AND (d.state = 'retired' OR d.state = 'maintenance' AND a.suppression <> 'out_of_service')
 UNION
SELECT p.device_no, p.rule_id FROM hub.alarm_pending p JOIN hub.device d USING (device_no)
 WHERE d.state = 'retired'
 UNION
SELECT a.device_no, a.rule_id FROM hub.alarm a JOIN hub.device d USING (device_no)
  JOIN hub.maintenance_window w ON w.window_id = ANY(%(begun)s) AND hub.covers(w, d)
 WHERE a.condition_state <> 'cleared' OR a.latched AND a.reset_at IS NULL
""")
_CENSUS: Final = sql.SQL("""
SELECT suppressed_by AS name, count(*) AS open,
       count(*) FILTER (WHERE condition_state <> 'cleared') AS going_on,
       coalesce(array_agg(alarm_id ORDER BY severity DESC, alarm_id)
                FILTER (WHERE condition_state <> 'cleared'), '{}') AS alarms
  FROM hub.alarm WHERE suppression <> 'none' AND suppressed_by = ANY(%(names)s)
   AND (condition_state <> 'cleared' OR latched AND reset_at IS NULL)
 GROUP BY suppressed_by
""")
_NAMED: Final = 200


def window_name(window_id: int) -> str:
    """Return what an alarm under a window names as its cause."""
    return f"window:{window_id}"


async def load_shades(
    conn: Connection, keys: Collection[Key], states: dict[int, str], now: datetime
) -> dict[Key, Shade]:
    """Return what stands over each key; a window stands above a shelf.

    Args:
        conn: The transaction.
        keys: Device and rule of each.
        states: The state of each device in the registry.
        now: The hub's time.
    """
    (stand,) = await select(conn, _STAND, {})
    shades: dict[Key, Shade] = {}
    if stand["shelves"]:
        parameters: dict[str, Any] = {
            "devices": [key[0] for key in keys],
            "rules": [key[1] for key in keys],
            "now": now,
        }
        shades = {
            (row["device_no"], row["rule_id"]): Shade(
                state=Suppression.SHELVED,
                by="shelf",
                until=row["until"],
                reason=row["reason"],
                upto=Severity(row["upto"]),
                once=row["once"],
            )
            for row in await select(conn, _SHELVES, parameters)
        }
    over: dict[int, Shade] = {
        device: Shade(state=Suppression.OUT_OF_SERVICE, by="device", reason="maintenance")
        for device, state in states.items()
        if state == "maintenance"
    }
    if stand["windows"]:
        over |= {  # of several windows the last to end
            row["device_no"]: Shade(
                state=Suppression.OUT_OF_SERVICE,
                by=window_name(row["window_id"]),
                until=row["ends_at"],
                reason=row["reason"],
            )
            for row in await select(conn, _WINDOWS, {"devices": list(states)})
        }
    return shades | {key: over[key[0]] for key in keys if key[0] in over}


async def turn_standing(conn: Connection, now: datetime) -> tuple[set[Key], list[Entry]]:
    """Begin and end what is due.

    Returns:
        The keys whose alarms must be looked at, and the lines of the log: for a window that ended a
        census of what still goes on under it.
    """
    windows = await select(conn, _TURN_WINDOWS, {"now": now, "hub": HUB})
    shelves = await select(conn, _END_SHELVES, {"now": now})
    ended = [window_name(row["window_id"]) for row in windows if row["state"] == "ended"]
    begun = [row["window_id"] for row in windows if row["state"] == "active"]
    doubted = await select(conn, _DOUBTED, {"now": now, "ended": ended, "begun": begun})
    keys = {(row["device_no"], row["rule_id"]) for row in (*shelves, *doubted)}
    return keys, await _told(conn, windows, ended)


async def end_census(conn: Connection, window: dict[str, Any], actor: str) -> Entry:
    """Return the line of the log for a window that somebody ended."""
    (entry,) = await _told(conn, [window], [window_name(window["window_id"])], actor)
    return entry


async def put_on_shelf(conn: Connection, key: Key, shade: Shade, actor: str, now: datetime) -> None:
    """Shelve a rule on a device."""
    parameters = [*key, shade.until, shade.upto, shade.once, shade.reason, actor, now]
    await conn.execute(_PUT, parameters)


async def drop_shelves(conn: Connection, keys: Iterable[Key]) -> None:
    """Take rules on devices off the shelf."""
    if several := sorted(set(keys)):
        parameters = [[key[0] for key in several], [key[1] for key in several]]
        await conn.execute(_DROP_SHELVES, parameters)


async def _told(
    conn: Connection, windows: Iterable[dict[str, Any]], ended: list[str], actor: str = HUB
) -> list[Entry]:
    counts = {}
    if ended:
        counts = {row["name"]: row for row in await select(conn, _CENSUS, {"names": ended})}
    entries = []
    for row in windows:
        detail = {key: row[key] for key in ("window_id", "scope", "targets", "reason", "ends_at")}
        if row["state"] == "ended":
            count = counts.get(window_name(row["window_id"]))
            going_on = count["alarms"] if count else []
            detail["census"] = {
                "open": count["open"] if count else 0,
                "going_on": len(going_on),
                "alarms": going_on[:_NAMED],
            }
            detail["loud"] = bool(going_on)
        entries.append(
            Entry(
                log="alarm",
                actor=actor,
                object="window",
                object_id=str(row["window_id"]),
                action="window_begun" if row["state"] == "active" else "window_ended",
                before=row["before"],
                after=row["state"],
                reason=row["reason"],
                detail=detail,
            )
        )
    return entries
