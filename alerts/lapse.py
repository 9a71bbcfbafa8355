"""What a moment of time brings to all that is open: windows, shelves, delays, ladders, silence.

Every timer is a row, or follows from one, so a restart forgets none; each fires in the transaction
of its effect.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from psycopg import sql

from alerts import vigil
from alerts.alarm import Alarm, Event, retire
from alerts.alarm_rows import Key
from alerts.passing import mark_data, mature, postpone, settle, tick
from alerts.rows import select
from alerts.standing import turn_standing
from alerts.suppression import cover
from alerts.track import Step, Track
from alerts.turn import Turn
from devices import KINDS
from devices.kind import AlarmRule

# one statement, one snapshot: how far a device's clock has come, and no finding of it is unread
_WAITING: Final = sql.SQL("""
SELECT w.device_no, w.rule_id, s.last_ts AS heard, s.last_contact_at AS contact FROM (
    SELECT device_no, rule_id, due_ts, silent_at, false AS by_contact FROM hub.alarm_pending
     UNION ALL
    SELECT device_no, rule_id, due_ts, NULL, true FROM hub.alarm WHERE due_ts IS NOT NULL
) AS w LEFT JOIN hub.device d USING (device_no) LEFT JOIN hub.device_seen AS s USING (device_no)
 WHERE (s.last_ts >= w.due_ts OR w.by_contact AND s.last_contact_at >= w.due_ts
        OR w.silent_at <= %(now)s OR w.due_ts <= %(now)s AND d.kind <> ALL (%(kinds)s))
   AND NOT EXISTS (SELECT 1 FROM hub.finding AS f
                    WHERE f.finding_id > %(position)s AND f.device_no = w.device_no)
""")
_TIMERS: Final = sql.SQL("""
SELECT device_no, rule_id FROM hub.alarm
 WHERE timer_at <= %(now)s AND (%(since)s::timestamptz IS NULL OR timer_at > %(since)s)
""")
# the alarms of a device that fell silent stay, and say so
_DATA: Final = sql.SQL("""
SELECT a.device_no, a.rule_id FROM hub.alarm AS a
 WHERE a.condition_state <> 'cleared' AND a.rule_id <> 'offline'
   AND a.data_stale <> (a.device_no IN (SELECT device_no FROM hub.alarm
                         WHERE rule_id = 'offline' AND condition_state = 'active'))
""")
_SILENT: Final = sql.SQL("""
SELECT DISTINCT device_no FROM hub.alarm
 WHERE rule_id = 'offline' AND condition_state = 'active' AND device_no = ANY (%(devices)s)
""")
_OVERDUE: Final = sql.SQL("SELECT device_no, rule_id FROM hub.alarm WHERE alarm_id = ANY (%(ids)s)")
_ALL: Final = sql.SQL("""
SELECT device_no, rule_id FROM hub.alarm
 WHERE condition_state <> 'cleared' OR latched AND reset_at IS NULL
 UNION
SELECT device_no, rule_id FROM hub.alarm_pending
""")


_Change = Callable[[Alarm], tuple[Alarm, list[Event]]]


async def lapse(
    turn: Turn, position: int, *, rules_changed: bool, further: Collection[Key] = ()
) -> None:
    """Bring all that is due up to now.

    Args:
        turn: The turn; the caller finishes it.
        position: The findings read so far: of a device with further ones nothing matures.
        further: Keys that the caller changes afterwards: they are locked with the others.
        rules_changed: A rule was changed since the last look, so all that is open is looked at.
    """
    conn, now = turn.conn, turn.now
    grace, census = await vigil.keep(conn, now)
    standing, entries = await turn_standing(conn, now)
    turn.entries += entries
    since = grace.since if grace else None
    kinds = list(KINDS)
    waiting = {
        _key(row): row
        for row in await select(conn, _WAITING, {"position": position, "now": now, "kinds": kinds})
    }
    timers = _keys(await select(conn, _TIMERS, {"now": now, "since": since}))
    data = _keys(await select(conn, _DATA, {}))
    every = _keys(await select(conn, _ALL, {})) if rules_changed else set()
    overdue: set[Key] = set()
    if census is not None:
        turn.entries.append(census.entry)
        overdue = _keys(await select(conn, _OVERDUE, {"ids": list(census.overdue)}))
    keys = standing | waiting.keys() | timers | data | every | overdue | set(further)
    await turn.take(keys)
    silent = await _silent(turn, data)
    for key in sorted(keys):
        if turn.facts.get(key[0]) is None:
            continue
        rule = turn.rule(key)
        if _retire(turn, key, rule):
            continue
        _cover(turn, key, rule)
        if key in waiting:
            _go_on(turn, key, rule, waiting[key])
        if key in overdue:
            _change(turn, key, rule, lambda alarm: (postpone(alarm, now), []))
        if key in timers:
            _change(turn, key, rule, lambda alarm: tick(alarm, turn.ladder, now))
        if key in data:
            _change(turn, key, rule, partial(mark_data, silent=key[0] in silent))
        turn.apply(key, Step(turn.tracks[key]), rule)  # when to look again


def _retire(turn: Turn, key: Key, rule: AlarmRule) -> bool:
    """End in silence what belongs to a device or a rule that is gone; return whether it is."""
    if turn.facts[key[0]].state == "retired":
        reason = "device_retired"
    elif not rule.enabled:
        reason = "rule_retired"
    else:
        return False
    track = replace(turn.tracks[key], pending=None)
    if track.alarm is None or not track.alarm.is_open:
        turn.apply(key, Step(track), rule)
        return True
    alarm, events = retire(track.alarm, turn.now, reason)
    turn.apply(key, Step(replace(track, alarm=alarm), tuple(events)), rule)
    return True


def _cover(turn: Turn, key: Key, rule: AlarmRule) -> None:
    shade = turn.shades.get(key)
    _change(turn, key, rule, lambda alarm: cover(alarm, shade, turn.now, "expired"))


def _go_on(turn: Turn, key: Key, rule: AlarmRule, row: dict[str, Any]) -> None:
    """Let a pending breach mature and a quiet alarm clear, each by its device's own clock."""
    heard: datetime | None = row["heard"]
    contact: datetime | None = row["contact"]
    if turn.facts[key[0]].is_virtual:
        heard = contact = turn.now  # it has no clock of its own: ours counts
    track = turn.tracks[key]
    step = mature(track, rule, turn.now, heard, shade=turn.shades.get(key))
    if not step.events:
        step = settle(track, rule, turn.now, heard, contact)
    turn.apply(key, step, rule, turn.kind_of(track, rule))


def _change(turn: Turn, key: Key, rule: AlarmRule, change: _Change) -> None:
    track: Track = turn.tracks[key]
    if track.alarm is not None:
        alarm, events = change(track.alarm)
        turn.apply(key, Step(replace(track, alarm=alarm), tuple(events)), rule)


async def _silent(turn: Turn, keys: set[Key]) -> set[int]:
    if not keys:
        return set()
    devices = sorted({device for device, _ in keys})
    return {row["device_no"] for row in await select(turn.conn, _SILENT, {"devices": devices})}


def _key(row: dict[str, Any]) -> Key:
    return row["device_no"], row["rule_id"]


def _keys(rows: Sequence[dict[str, Any]]) -> set[Key]:
    return {_key(row) for row in rows}
